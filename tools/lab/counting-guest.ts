import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { awakeLine, firstLine, type GuestAssets, guestAssets, parseTick } from "../guest-assets.ts";
import { WatchedGuest } from "./watched-guest.ts";

/** What the guest runs on. */
export interface CountingGuestOptions {
  /** A backend, as `-accel` names it. */
  readonly accelerator: string;
  /** The number of vCPUs. */
  readonly processors: number;
  /** It suspends itself to RAM once: {@link CountingGuest.wake} must follow. */
  readonly suspends?: boolean;
}

/**
 * Debian's kernel with the counting initramfs in a `cpr`, its RAM in a file on tmpfs: the documentation's first example, with
 * checks. When it is disposed of, nothing of it is left.
 */
export class CountingGuest implements Disposable {
  readonly #assets: GuestAssets;
  readonly #options: CountingGuestOptions;
  readonly #folder = mkdtempSync("/dev/shm/cpr-lab-");
  #guest!: WatchedGuest;

  private constructor(assets: GuestAssets, options: CountingGuestOptions) {
    this.#assets = assets;
    this.#options = options;
  }

  /** Boots the guest up to its first lines, and checks that it sees as many processors as it was given. */
  static async boot(options: CountingGuestOptions): Promise<CountingGuest> {
    const guest = new CountingGuest(await guestAssets(), options);
    try {
      await guest.#start(options.accelerator, []);
      await guest.#guest.until((line) => line.includes(firstLine) || undefined);
      const processors = await guest.#guest.until((line) => (/^\d+$/.test(line) ? Number(line) : undefined));
      assert.equal(processors, options.processors, "the number of processors that the guest sees");
    } catch (error) {
      guest[Symbol.dispose]();
      throw error;
    }
    return guest;
  }

  /** Waits until the guest has suspended itself to RAM, and wakes it. */
  async wake(): Promise<void> {
    await this.#guest.untilStatus("paused (suspended)");
    await this.#guest.command("system_wakeup");
    await this.#guest.until((line) => line.includes(awakeLine) || undefined);
  }

  /** Saves the guest, ends its process, and carries it on in a new one, on another backend perhaps, where it must go on counting. */
  async carryOn(accelerator = this.#options.accelerator): Promise<void> {
    const uri = `file:${join(this.#folder, "vm.state")}`;
    const before = await this.#guest.until(parseTick);
    const begun = performance.now();
    await this.#guest.chooseReboot();
    await this.#guest.command(`migrate ${uri}`);
    const stopped = performance.now();
    await this.#guest.command("info status", "VM status: paused (postmigrate)");
    await this.quit();

    await this.#start(accelerator, ["-incoming", "defer"]);
    await this.#guest.chooseReboot();
    const continued = performance.now();
    await this.#guest.command(`migrate_incoming ${uri}`);
    await this.#guest.command("info status", "VM status: running");
    const after = await this.#guest.until(parseTick);
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
    await this.#guest.until(parseTick);
  }

  /** Ends the process, but not what the guest was: its RAM stays. */
  quit(): Promise<void> {
    return this.#guest.quit();
  }

  [Symbol.dispose](): void {
    this.#guest[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #start(accelerator: string, more: readonly string[]): Promise<void> {
    const { kernel, initramfs } = this.#assets;
    const suspend = this.#options.suspends === true ? " cpr.end=suspend" : "";
    const options = [
      ...["-accel", accelerator, "-smp", String(this.#options.processors), "-m", "512M"],
      ...["-object", `memory-backend-file,id=ram0,size=512M,mem-path=${join(this.#folder, "ram0")},share=on`],
      ...["-kernel", kernel, "-initrd", initramfs],
      ...[
        "-append",
        `console=ttyS0 loglevel=5 cryptomgr.notests panic=-1${suspend} cpr.run=nproc`,
        "-no-reboot",
        ...more,
      ],
    ];
    this.#guest = new WatchedGuest(options, join(mkdtempSync(join(this.#folder, "console-")), "log"));
    await this.#guest.ready();
  }
}
