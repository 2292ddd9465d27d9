import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CprProcess, FileLines } from "../cpr-process.ts";
import { firstLine, type GuestAssets, guestAssets, parseTick } from "../guest-assets.ts";

/** What the guest runs on. */
export interface CountingGuestOptions {
  /** A backend, as `-accel` names it. */
  readonly accelerator: string;
  /** The number of vCPUs. */
  readonly processors: number;
}

/** A complaint of the guest's kernel about the machine it is on. */
const complaint = /BUG:|Call Trace|Oops|unchecked MSR|invalid opcode|general protection|lockup|rcu.*stall/;

/** How long a step of a guest may take that is emulated by an emulated processor, in seconds. */
const patience = 240;

/**
 * Debian's kernel with the counting initramfs in a `cpr`, its RAM in a file on tmpfs: the documentation's first example, with
 * checks. A process that ends before it should, and a guest whose kernel complains, are errors. When it is disposed of, nothing
 * of it is left.
 */
export class CountingGuest implements Disposable {
  readonly #assets: GuestAssets;
  readonly #options: CountingGuestOptions;
  readonly #folder = mkdtempSync("/dev/shm/cpr-lab-");
  #process!: CprProcess;
  #console!: string;
  #lines!: FileLines;

  private constructor(assets: GuestAssets, options: CountingGuestOptions) {
    this.#assets = assets;
    this.#options = options;
  }

  /** Boots the guest up to its first lines, and checks that it sees as many processors as it was given. */
  static async boot(options: CountingGuestOptions): Promise<CountingGuest> {
    const guest = new CountingGuest(await guestAssets(), options);
    try {
      await guest.#start(options.accelerator, []);
      await guest.#until((line) => line.includes(firstLine) || undefined);
      const processors = await guest.#until((line) => (/^\d+$/.test(line) ? Number(line) : undefined));
      assert.equal(processors, options.processors, "the number of processors that the guest sees");
    } catch (error) {
      guest[Symbol.dispose]();
      throw error;
    }
    return guest;
  }

  /** Saves the guest, ends its process, and carries it on in a new one, on another backend perhaps, where it must go on counting. */
  async carryOn(accelerator = this.#options.accelerator): Promise<void> {
    const uri = `file:${join(this.#folder, "vm.state")}`;
    const before = await this.#tick();
    const begun = performance.now();
    await this.#process.chooseReboot();
    await this.#command(`migrate ${uri}`);
    const stopped = performance.now();
    await this.#command("info status", "VM status: paused (postmigrate)");
    await this.quit();

    await this.#start(accelerator, ["-incoming", "defer"]);
    await this.#process.chooseReboot();
    const continued = performance.now();
    await this.#command(`migrate_incoming ${uri}`);
    await this.#command("info status", "VM status: running");
    const after = await this.#tick();
    // The guest counted on before it was stopped, but not while it stood still.
    const ran = (performance.now() - continued + stopped - begun) / 1000;
    const elapsed = after.uptime - before.uptime;
    assert.ok(
      elapsed > 0 && elapsed < ran + 1,
      `the guest's clock went on by ${elapsed} s in the ${ran} s that it ran`,
    );
    assert.ok(
      after.tick > before.tick && after.tick - before.tick <= elapsed + 1,
      `${after.tick} after ${before.tick}`,
    );
    await this.#tick();
  }

  /** Ends the process, but not what the guest was: its RAM stays. */
  async quit(): Promise<void> {
    const { status, stderr } = await this.#process.quit();
    assert.equal(status, 0, `the exit status of cpr: ${stderr}`);
  }

  [Symbol.dispose](): void {
    this.#process.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #start(accelerator: string, more: readonly string[]): Promise<void> {
    const { kernel, initramfs } = this.#assets;
    this.#console = join(mkdtempSync(join(this.#folder, "console-")), "log");
    this.#process = new CprProcess([
      ...["-accel", accelerator, "-smp", String(this.#options.processors), "-m", "512M"],
      ...["-object", `memory-backend-file,id=ram0,size=512M,mem-path=${join(this.#folder, "ram0")},share=on`],
      ...["-kernel", kernel, "-initrd", initramfs],
      ...["-append", "console=ttyS0 cryptomgr.notests panic=-1 cpr.run=nproc", "-no-reboot"],
      ...["-serial", `file:${this.#console}`, ...more],
    ]);
    this.#lines = new FileLines(this.#console);
    await this.#process.ready();
  }

  async #command(line: string, answer = ""): Promise<void> {
    assert.equal(await this.#process.command(line), answer, `the answer to '${line}'`);
  }

  /** The guest's next tick. */
  async #tick(): Promise<{ readonly tick: number; readonly uptime: number }> {
    const tick = await this.#until(parseTick);
    assert.doesNotMatch(readFileSync(this.#console, "latin1"), complaint, "what the guest's kernel says");
    return tick;
  }

  async #until<T>(accept: (line: string) => T | undefined): Promise<T> {
    const accepted = this.#lines.until(accept, patience).catch((cause: unknown) => {
      throw new Error(`The guest does not get on. ${this.#end()}`, { cause });
    });
    const ended = this.#process.ended.then(({ status, signal, stderr }) => {
      throw new Error(`cpr ended (${signal ?? `status ${status}`}): ${stderr}. ${this.#end()}`);
    });
    return Promise.race([accepted, ended]);
  }

  #end(): string {
    return `The end of its console:\n${readFileSync(this.#console, "latin1").trimEnd().split("\n").slice(-20).join("\n")}`;
  }
}
