import { describe, expect, it } from "vitest";
import { acceptSingleDash } from "../src/qemu-spelling.ts";
import { createRunCommand, type RunOptions } from "../src/run-options.ts";

function parse(...words: string[]): RunOptions {
  const command = createRunCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  return command.parse(acceptSingleDash(command, words), { from: "user" }).opts<RunOptions>();
}

describe("QEMU's spelling of options", () => {
  it("takes long options with one dash and with two", () => {
    expect(parse("-kernel", "vmlinuz", "--initrd", "initrd.gz")).toMatchObject({
      kernel: "vmlinuz",
      initrd: "initrd.gz",
    });
  });

  it("takes -m and -M and -S as they are", () => {
    expect(parse("-m", "1G", "-M", "pc", "-S")).toMatchObject({ memory: "1G", machine: "pc", stopped: true });
  });

  it("takes a value that begins with a dash", () => {
    expect(parse("-append", "-x console=ttyS0").append).toBe("-x console=ttyS0");
  });

  it("takes a value with an equals sign whole", () => {
    expect(parse("-append", "console=ttyS0 root=/dev/ram0").append).toBe("console=ttyS0 root=/dev/ram0");
  });

  it("collects what may be repeated", () => {
    expect(parse("-serial", "file:a", "-serial", "null").serial).toEqual(["file:a", "null"]);
  });

  it("knows -no-reboot and what QEMU's users write out of habit", () => {
    expect(parse("-no-reboot", "-nographic", "-display", "none", "-migrate-mode-enable", "cpr-reboot").reboot).toBe(
      false,
    );
  });

  it("refuses an unknown option", () => {
    expect(() => parse("-vga", "std")).toThrow(/unknown option/);
  });

  it("refuses an option without its value", () => {
    expect(() => parse("-kernel")).toThrow(/argument missing/);
  });
});
