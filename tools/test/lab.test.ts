import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { checkoutEntries } from "../lab/checkout-entries.ts";
import { dependenciesOf, KernelModules } from "../lab/kernel-modules.ts";
import { beginningOfKernel } from "../lab/kexec-clock.ts";
import { channelName, labInit, labRun } from "../lab/lab-initramfs.ts";
import { type LabMachine, labMachineOptions } from "../lab/lab-machine.ts";
import { checkMemories } from "../lab/remembering-guest.ts";
import { loadScenario, scenarioNames } from "../lab/scenarios.ts";
import { librariesIn } from "../lab/system-image.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cpr-lab-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

function write(path: string, data: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), data);
}

describe("the modules of a kernel", () => {
  /** As much of a module as says what it depends on. */
  const module = (depends: string): string => `\x7fELF code depends=none\0license=GPL\0depends=${depends}\0name=x\0`;

  beforeEach(() => {
    write("modules.builtin", "kernel/fs/ext4/ext4.ko\nkernel/virt/built-in.ko\n");
    write("kernel/arch/x86/kvm/kvm-amd.ko", module("kvm,ccp"));
    write("kernel/arch/x86/kvm/kvm.ko", module("irqbypass,built-in"));
    write("kernel/virt/irqbypass.ko", module(""));
    write("kernel/drivers/ccp.ko", module("irqbypass"));
    write("kernel/drivers/unrelated.ko", module("kvm"));
    write("kernel/drivers/broken.ko", module("missing"));
  });

  test("name what they depend on, whichever way they spell it", () => {
    expect(dependenciesOf(Buffer.from(module("kvm-amd,irqbypass")))).toEqual(["kvm_amd", "irqbypass"]);
    expect(dependenciesOf(Buffer.from(module("")))).toEqual([]);
  });

  test("come after what they depend on, each once, without what is built in and what nobody needs", () => {
    const names = (wanted: string[]): string[] => new KernelModules(folder).inOrder(wanted).map(({ name }) => name);
    expect(names(["kvm-amd"])).toEqual(["irqbypass", "kvm", "ccp", "kvm_amd"]);
    expect(names(["kvm", "kvm_amd", "ext4"])).toEqual(["irqbypass", "kvm", "ccp", "kvm_amd"]);
  });

  test("that are not there are missed", () => {
    expect(() => new KernelModules(folder).inOrder(["absent"])).toThrow("The kernel has no module 'absent'.");
    expect(() => new KernelModules(folder).inOrder(["broken"])).toThrow("The kernel has no module 'missing'.");
  });
});

test("a program's libraries are read from what ldd says, and a missing one is an error", () => {
  const output = [
    "/usr/bin/program:",
    "\tlinux-vdso.so.1 (0x00007fda0e979000)",
    "\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fda0e879000)",
    "\t/lib64/ld-linux-x86-64.so.2 (0x00007fda0e97b000)",
  ].join("\n");
  expect(librariesIn(output)).toEqual(["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"]);
  expect(() => librariesIn("\tlibnone.so.1 => not found\n")).toThrow("libnone.so.1");
});

test("a checkout goes into the lab without packages by others, tests and declarations", () => {
  write("package.json", "{}");
  for (const name of ["bench", "node_modules/other", "node_modules/.pnpm", "tools"]) write(`${name}/index.ts`, "");
  for (const name of ["dist/a.js", "dist/a.d.ts", "dist/a.js.map", "build/a.node", "test/a.test.ts", "README.md"]) {
    write(`packages/a/${name}`, name);
  }
  write("packages/a/node_modules/other/index.js", "");
  for (const place of ["node_modules/@cpr", "packages/b/node_modules/@cpr"]) {
    mkdirSync(join(folder, place), { recursive: true });
    symlinkSync("../a", join(folder, place, "a"));
  }
  const entries = checkoutEntries("cpr", folder);
  expect(entries.map(({ path }) => path).sort()).toEqual([
    "cpr/bench/index.ts",
    "cpr/node_modules/@cpr/a",
    "cpr/package.json",
    "cpr/packages/a/build/a.node",
    "cpr/packages/a/dist/a.js",
    "cpr/packages/b/node_modules/@cpr/a",
    "cpr/tools/index.ts",
  ]);
  expect(entries.find(({ path }) => path === "cpr/packages/b/node_modules/@cpr/a")).toMatchObject({ target: "../a" });
});

test("the lab host's scripts are accepted by a shell", () => {
  for (const script of [labInit, labRun]) {
    write("script", script);
    execFileSync("sh", ["-n", join(folder, "script")], { stdio: "pipe" });
  }
  expect(labRun).toContain(`grep -lx ${channelName} `);
});

test("the channel is on standard output, and the console is when somebody sits there; the other one is a file", () => {
  const files = {
    kernel: "k",
    initramfs: "i",
    systemImage: "s",
    nvdimms: [],
    consoleLog: "console,log",
    channelLog: "channel",
  };
  const devices = (interactive: boolean): string[] =>
    labMachineOptions({ ...files, interactive }).filter((_word, index, words) => words[index - 1] === "-chardev");
  expect(devices(false)).toEqual(["file,path=console,,log,id=console", "stdio,signal=off,logfile=channel,id=channel"]);
  expect(devices(true)).toEqual(["stdio,signal=off,logfile=console,,log,id=console", "file,path=channel,id=channel"]);
});

test("a lab host has the NVDIMMs and the disk that it is to have, and room for them", () => {
  const files = { kernel: "k", initramfs: "i", systemImage: "s", consoleLog: "console", channelLog: "channel" };
  const words = (parts: Pick<LabMachine, "nvdimms" | "disk">): string =>
    labMachineOptions({ ...files, ...parts, interactive: false }).join(" ");
  const plain = words({ nvdimms: [] });
  expect(plain).toContain(` -m ${8 * 2 ** 30}B `);
  expect(plain).not.toMatch(/-device nvdimm|vdb|disk/);
  const whole = words({
    nvdimms: [
      { path: "first", size: "4608M" },
      { path: "second", size: "1G" },
    ],
    disk: "disk",
  });
  expect(whole).toContain(`-M q35,nvdimm=on `);
  expect(whole).toContain(` -m size=${8 * 2 ** 30}B,slots=2,maxmem=${(8192 + 4608 + 1024) * 2 ** 20}B `);
  expect(whole).toContain("id=nvdimm1,share=on,mem-path=second,size=1G -device nvdimm,memdev=nvdimm1 ");
  // The system image is /dev/vda: it comes first.
  expect(whole).toMatch(/file=s,if=virtio.* file=disk,if=virtio,format=raw/);
  expect(() => words({ nvdimms: [{ path: "first", size: "many" }] })).toThrow("'many' is no size with M or G.");
});

describe("what a guest has said tells that it", () => {
  const sums = "memory 00000000deadbeef file 00000000feedbeef";
  const before = ["[    0.1] Linux", `filled ${sums}`, "tick 0 monotonic 1.000 uptime 1.00", "tick 1 mono"].join(
    "\r\n",
  );
  const after = ["tonic 1.100 uptime 1.10", "tick 2 monotonic 1.350 uptime 1.35", `again ${sums}`, ""].join("\r\n");

  test("has all that it had, the line among it in which it stood still", () => {
    expect(checkMemories([before, after])).toBeCloseTo(0.25);
    const slow = "tick 2 mono[    1.3] hrtimer: interrupt took 9 ns\r\ntonic";
    expect(checkMemories([before, after.replace("tick 2 monotonic", slow)])).toBeCloseTo(0.25);
  });

  test.each([
    ["lost memory", "again memory 00000000deadbeef", "again memory 00000000deadbeee"],
    ["lost its file", "file 00000000feedbeef", "file 00000000feedbeee"],
    ["lost a tick", "tick 2", "tick 3"],
    ["was reset", "tick 2", "tick 0"],
    ["is earlier than it was", "monotonic 1.350", "monotonic 1.050"],
    ["has two clocks that differ", "uptime 1.35", "uptime 1.25"],
    ["noticed something", "again", "[    1.2] clocksource: tsc is unstable\r\nagain"],
  ])("%s", (_what, from, to) => {
    expect(() => checkMemories([before, after.replace(from, to)])).toThrow();
  });
});

test("the beginning of a kernel is known on the clock of the one before, by the TSC", () => {
  const before = [
    { tsc: 2_000_000, monotonic: 1_000 },
    { tsc: 12_000_000, monotonic: 6_000 },
  ] as const;
  // Four seconds later, when the new kernel has run for three.
  expect(beginningOfKernel(before, { tsc: 20_000_000, monotonic: 3_000 })).toBe(7_000);
});

test("every scenario can be loaded and says what it is for; there is no other", async () => {
  expect(scenarioNames).toContain("probe");
  for (const name of scenarioNames) expect((await loadScenario(name)).description).not.toBe("");
  await expect(loadScenario("none")).rejects.toThrow("There is no scenario 'none'.");
});
