import { openSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { planRun } from "../src/configuration.ts";
import { acceptSingleDash } from "../src/qemu-spelling.ts";
import { createRunCommand, type RunOptions } from "../src/run-options.ts";

/** What a command line means. */
function plan(...words: readonly string[]) {
  const command = createRunCommand();
  const options = command.parse(acceptSingleDash(command, words), { from: "user" }).opts<RunOptions>();
  return planRun(options).configuration;
}

describe("cpr run", () => {
  it("takes settings of migration in QEMU's spelling", () => {
    expect(plan("-global", "migration.mode=cpr-reboot", "-global", "migration.x-ignore-shared=on").migration).toEqual({
      properties: [
        { name: "mode", value: "cpr-reboot" },
        { name: "x-ignore-shared", value: "on" },
      ],
      modes: [],
    });
    expect(plan("-migrate-mode-enable", "cpr-reboot", "-migrate-mode-enable", "normal").migration).toEqual({
      properties: [],
      modes: ["cpr-reboot", "normal"],
    });
    expect(plan().migration).toEqual({ properties: [], modes: [] });
  });

  it.each(["migration.mode", "mode=cpr-reboot", "virtio-blk.x=y", "migration.=on"])("refuses -global %s", (text) => {
    expect(() => plan("-global", text)).toThrow(`Invalid value '${text}' for -global`);
  });

  it("refuses to record and to replay, and to count instructions", () => {
    for (const value of ["shift=auto,rr=record,rrfile=replay.bin", "rr=replay"]) {
      expect(() => plan("-icount", value)).toThrow("Record/replay is not supported");
    }
    expect(() => plan("-icount", "shift=auto")).toThrow("Invalid value 'shift=auto' for -icount");
  });

  it("puts descriptors that it was started with into sets", () => {
    const [first, second] = [openSync("/dev/null", "w"), openSync("/dev/null", "r")];
    const { descriptors } = plan("-add-fd", `fd=${first},set=2,opaque=a=b`, "-add-fd", `fd=${second},set=2`);
    expect(descriptors?.sets()).toEqual([
      { id: 2, descriptors: [{ descriptor: first, opaque: "a=b" }, { descriptor: second }] },
    ]);
    expect(() => plan("-add-fd", `fd=${first},set=1`, "-add-fd", `fd=${first},set=2`)).toThrow("already in use");
    expect(() => plan("-add-fd", `fd=${first},set=1,colour=red`)).toThrow("Invalid parameter 'colour'");
    descriptors?.remove(2);
  });

  it.each([
    ["set=1", "fd option is required and must be non-negative"],
    ["fd=-1,set=1", "fd option is required and must be non-negative"],
    ["fd=2,set=1", "fd cannot be a standard I/O stream"],
    ["fd=9999,set=1", "fd is not valid or already in use"],
    [`fd=${openSync("/dev/null", "r")}`, "set option is required and must be non-negative"],
  ])("refuses -add-fd %s", (text, message) => {
    expect(() => plan("-add-fd", text)).toThrow(message);
  });
});
