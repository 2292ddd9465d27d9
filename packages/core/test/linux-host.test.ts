import { constants } from "node:fs";
import { release } from "node:os";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { LinuxHost } from "../src/index.ts";

/** A host with files of a test. */
class OtherHost extends LinuxHost {
  readonly #files: Readonly<Record<string, string | Uint8Array>>;

  constructor(files: Readonly<Record<string, string | Uint8Array>>) {
    super();
    this.#files = files;
  }

  override bytes(path: string): Uint8Array | undefined {
    const file = this.#files[path];
    return typeof file === "string" ? Buffer.from(file) : file;
  }
}

describe("this machine", () => {
  const host = new LinuxHost();

  test("is read as the system tells of it", async () => {
    expect(host.kernelRelease).toBe(release());
    expect(host.names("/proc/self")).toContain("status");
    expect(host.target("/proc/self")).toBe(`/proc/${process.pid}`);
    expect(host.mounts).toContainEqual(expect.objectContaining({ folder: "/proc", type: "proc" }));
    expect(host.program("sh")).toMatch(/bin\/sh$/);
    const { kind, free = 0, total = 0 } = (await host.space("/dev/shm")) ?? {};
    expect([kind, free > 0, total >= free]).toEqual(["tmpfs", true, true]);
  });

  test("tells what is not there, and what may not be used, without an error", async () => {
    expect([host.bytes("/nowhere"), host.text("/"), host.number("/proc/version")]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect([host.names("/nowhere"), host.names("/proc/version"), host.target("/nowhere")]).toEqual([
      [],
      [],
      "/nowhere",
    ]);
    expect([host.access("/nowhere"), host.access("/proc/version/below")]).toEqual(["absent", "absent"]);
    // Nobody may execute it, not even root.
    expect([host.access("/proc/version", constants.X_OK), host.has("/proc/version")]).toEqual(["forbidden", true]);
    expect(host.nearest("/proc/self/nowhere/at/all")).toBe("/proc/self");
    expect([await host.space("/nowhere"), host.program("no-such-program")]).toEqual([undefined, undefined]);
  });
});

describe("another host", () => {
  const configuration = "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=64\n";
  const options = (files: Readonly<Record<string, string | Uint8Array>>) => {
    const host = new OtherHost({ "/proc/sys/kernel/osrelease": "6.1.0\n", ...files });
    return (["CONFIG_A", "CONFIG_B", "CONFIG_C", "CONFIG_D", "CONFIG_E"] as const).map((each) =>
      host.kernelOption(each),
    );
  };

  test("has its kernel's configuration in one of two places, or nowhere", () => {
    const known = ["n", "y", "m", "64", "n"];
    expect(options({ "/proc/config.gz": gzipSync(configuration) })).toEqual(known);
    expect(options({ "/proc/config.gz": "no gzip", "/boot/config-6.1.0": configuration })).toEqual(known);
    expect(options({ "/boot/config-5.0.0": configuration })).toEqual(Array(5).fill(undefined));
  });

  test("has numbers in files, and spaces in the names of folders", () => {
    const host = new OtherHost({
      "/a": "0x10\n",
      "/b": "12",
      "/c": "12 kB",
      "/proc/self/mounts": "none /a\\040b tmpfs rw,dax=always 0 0\n",
    });
    expect(["/a", "/b", "/c", "/d"].map((path) => host.number(path))).toEqual([16, 12, undefined, undefined]);
    expect(host.mounts).toEqual([{ device: "none", folder: "/a b", type: "tmpfs", options: ["rw", "dax=always"] }]);
  });
});
