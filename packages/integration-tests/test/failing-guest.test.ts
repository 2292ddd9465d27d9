import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { CprProcess } from "../../../tools/cpr-process.ts";
import { programHosts } from "./program-run.ts";
import { scratchMachine } from "./scratch.ts";

// Only where a guest executes on KVM: the interpreter fetches what a processor would.
describe.each(programHosts.filter(({ name }) => name === "kvm"))("a guest that cannot be executed on $name", (host) => {
  it("is in internal-error, with its registers in the log, and the monitor answers", async () => {
    const machine = scratchMachine(buildGuestProgram("lost"));
    const process = new CprProcess(machine.options(host.options));
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    await vi.waitFor(
      async () => expect(await process.command("info status")).toBe("VM status: paused (internal-error)"),
      { timeout: 20_000 },
    );
    expect(await process.command("cont")).toMatch(/^Error: Resetting the Virtual Machine is required/);
    expect(await process.command("migrate file:/dev/null/x")).toMatch(/^Error: /);
    expect(await process.command("system_reset")).toBe("");
    expect(await process.command("info status")).toBe("VM status: paused (prelaunch)");
    const { status, stderr } = await process.quit();
    expect(status).toBe(0);
    expect(stderr).toMatch(/^INTERNAL_ERROR\nKVM internal error: .*\nRIP=00000000d0000000 /);
  });
});

describe.each(programHosts)("a guest with more vCPUs than $name can give", (host) => {
  it("is refused with the number that there are", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const process = new CprProcess(machine.options([...host.options, "-smp", "99"]));
    const { status, stderr } = await process.ended;
    expect(status).toBe(3);
    expect(stderr).toMatch(/Invalid SMP CPUs 99\. The max CPUs supported by the execution backend '\w+' is \d+/);
  });
});
