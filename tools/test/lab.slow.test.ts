import { expect, test } from "vitest";
import { lastLines, runLab } from "../lab/lab-host.ts";
import { runScenario, type ScenarioOptions } from "../lab/run-scenario.ts";

// NOTE: what takes long and is tried by others too is not here: `npm run lab -- qemu-boot doctor`.

const task = { programs: [], interactive: false, seconds: 120 };

type Choice = Pick<ScenarioOptions, "accelerators" | "processors">;

/** Runs a scenario in a lab host, which must pass, with what it chooses itself unless something is chosen here. @returns what it said. */
async function scenario(name: string, choice: Choice = {}): Promise<string[]> {
  const lines: string[] = [];
  const output = (line: string): void => void lines.push(line);
  if (!(await runScenario(name, { output, ...choice }))) throw new Error(lines.join("\n"));
  return lines;
}

test("the lab host has a KVM that runs guests at full speed", { timeout: 180_000 }, async () => {
  expect((await scenario("probe")).join("\n")).toMatch(/^instructions_per_second \d+$/m);
});

test("cpr boots Debian's kernel with KVM in the lab host, and it goes on in a new process", {
  timeout: 1_500_000,
}, async () => {
  // Guests with one vCPU are in the scenarios with a kexec, and four take twice as long.
  expect((await scenario("kvm-boot", { processors: [2] })).join("\n")).toMatch(/-smp 2: went on in a new process/);
});

test("a checkpoint crosses between KVM and the interpreter in the lab host", { timeout: 1_500_000 }, async () => {
  expect((await scenario("cross")).join("\n")).toMatch(/booted on kvm[\s\S]*goes on on interp[\s\S]*goes on on kvm/);
});

test("a guest on device DAX goes on in the lab host under another kernel", { timeout: 3_800_000 }, async () => {
  // On the interpreter it takes minutes more; `npm run lab -- dax-kexec` does both.
  expect((await scenario("dax-kexec", { accelerators: ["kvm"] })).join("\n")).toMatch(
    /kvm: 64 MiB and an open file are whole[\s\S]*RAM on tmpfs is gone/,
  );
});

test("guest programs observe on KVM what a processor does", { timeout: 1_500_000 }, async () => {
  // What crosses between backends is in `cross` and `dax`, too.
  expect((await scenario("guest-programs", { accelerators: ["kvm"] })).join("\n")).toMatch(
    /smp-start on kvm: as expected/,
  );
});

test("RAM is on device DAX and on a file system with DAX in the lab host", { timeout: 1_500_000 }, async () => {
  expect((await scenario("dax")).join("\n")).toMatch(
    /pass the 19 cases[\s\S]*mapped synchronously[\s\S]*from kvm to interp[\s\S]*from interp to interp/,
  );
});

test("registered VMs come through systemctl kexec by themselves, and one that cannot be loaded keeps its checkpoint", {
  timeout: 1_500_000,
}, async () => {
  expect((await scenario("host-reboot")).join("\n")).toMatch(
    /3 saved[\s\S]*2 loaded, 1 failed[\s\S]*dax: from tick[\s\S]*lost: from tick[\s\S]*stood still[\s\S]*\| dax +(\| \d+ +){6}\|/,
  );
});

test("a scenario that fails in the lab host says what happened, and where its logs are", {
  timeout: 180_000,
}, async () => {
  const lines: string[] = [];
  const options = {
    accelerators: ["none-such"],
    processors: [1],
    output: (line: string): void => void lines.push(line),
  };
  expect(await runScenario("kvm-boot", options)).toBe(false);
  expect(lines.join("\n")).toMatch(
    /none-such[\s\S]*it ended with status 1[\s\S]*kvm-boot: failed after .*-output\.log/,
  );
});

test("a task's exit status and output come out of the lab host", { timeout: 180_000 }, async () => {
  const lines: string[] = [];
  const output = (line: string): void => void lines.push(line);
  const end = await runLab({
    ...task,
    name: "test-status",
    script: "echo to-output; echo to-error >&2; exit 7",
    output,
  });
  expect(end.status).toBe(7);
  expect(lines).toEqual(expect.arrayContaining(["to-output", "to-error"]));
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
