import { observingPrograms } from "@cpr/guest-programs";
import { beforeAll, describe, expect, test } from "vitest";
import { lastLines, runLab } from "../lab/lab-host.ts";
import { runScenarios, type ScenarioChoice } from "../lab/run-scenario.ts";

// NOTE: what takes long and is tried by others too is not here: `npm run lab -- qemu-boot doctor kvm-boot`.

const task = { programs: [], interactive: false, seconds: 120 };

/** Runs scenarios in a lab host, which must pass. @returns what they said */
async function passing(...choices: readonly ScenarioChoice[]): Promise<string> {
  const lines: string[] = [];
  const output = (line: string): void => void lines.push(line);
  if (!(await runScenarios(choices, { output }))) throw new Error(lines.join("\n"));
  return lines.join("\n");
}

// One boot serves all of them.
describe("in a lab host", () => {
  let said: string;
  beforeAll(async () => {
    said = await passing(
      { name: "probe" },
      // What crosses is saved and carried on on each backend, with as many vCPUs as the lab host has.
      { name: "cross", processors: [2] },
      { name: "dax" },
      // From one backend to the other it is for `npm run lab`.
      { name: "virtio", accelerators: ["kvm"] },
      // What crosses between backends is in the two before.
      { name: "guest-programs", accelerators: ["kvm"] },
    );
  }, 3_600_000);

  test("KVM runs guests at full speed", () => {
    expect(said).toMatch(/^instructions_per_second \d+$/m);
  });

  test("Debian's kernel boots on KVM, and its checkpoint crosses to the interpreter and back", () => {
    expect(said).toMatch(/-smp 2: booted on kvm[\s\S]*-smp 2: goes on on interp[\s\S]*-smp 2: goes on on kvm/);
  });

  test("RAM is on device DAX and on a file system with DAX", () => {
    expect(said).toMatch(
      /pass the [1-9]\d+ cases[\s\S]*mapped synchronously[\s\S]*goes on in new processes.*: kvm, kvm, interp, interp$/m,
    );
  });

  test("a guest on KVM uses devices of virtio, before and after a checkpoint", () => {
    expect(said).toMatch(/network, console and entropy work on kvm[\s\S]*all of them go on on kvm/);
  });

  test("guest programs observe on KVM what a processor does", () => {
    for (const name of observingPrograms) expect(said).toContain(`${name} on kvm: as expected`);
  });
});

test("a guest on device DAX goes on in the lab host under another kernel", { timeout: 3_800_000 }, async () => {
  // On the interpreter it takes minutes more; `npm run lab -- dax-kexec` does both.
  expect(await passing({ name: "dax-kexec", accelerators: ["kvm"] })).toMatch(
    /kvm: 64 MiB and an open file are whole[\s\S]*RAM on tmpfs is gone/,
  );
});

test("registered VMs come through systemctl kexec by themselves, and one that cannot be loaded keeps its checkpoint", {
  timeout: 3_800_000,
}, async () => {
  expect(await passing({ name: "host-reboot" })).toMatch(
    /3 saved[\s\S]*2 loaded, 1 failed[\s\S]*dax: from tick[\s\S]*lost: from tick[\s\S]*stood still[\s\S]*\| dax +(\| \d+ +){6}\|/,
  );
});

test("a scenario that fails in the lab host says what happened, and where its logs are", {
  timeout: 240_000,
}, async () => {
  const lines: string[] = [];
  const output = (line: string): void => void lines.push(line);
  // The one after it is not begun.
  const choices = [{ name: "kvm-boot", accelerators: ["none-such"], processors: [1] }, { name: "probe" }];
  expect(await runScenarios(choices, { output })).toBe(false);
  expect(lines.join("\n")).toMatch(
    /none-such[\s\S]*it ended with status 1[\s\S]*kvm-boot\+probe: failed after .*-output\.log/,
  );
  expect(lines.join("\n")).not.toContain("instructions_per_second");
});

test("a lab host that ends, or does not end, is a failure that tells why", { timeout: 240_000 }, async () => {
  const output = (): void => undefined;
  const crash = "echo c >/proc/sysrq-trigger";
  const crashed = await runLab({ ...task, name: "test-crash", script: crash, output });
  expect(crashed.status).toBeUndefined();
  expect(lastLines(crashed.consoleLog, 100).join("\n")).toContain("Kernel panic");
  expect(crashed.hung).toBe(false);
  const stuck = "echo 'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:' >/dev/kmsg; sleep 1000";
  const hung = await runLab({ ...task, name: "test-hang", script: stuck, output });
  expect(hung).toMatchObject({ status: undefined, hung: true, reason: "A processor of the lab host hangs." });
  const late = await runLab({ ...task, name: "test-late", script: "sleep 1000", output, seconds: 8 });
  expect(late).toMatchObject({ status: undefined, reason: "It took longer than 8 s." });
});
