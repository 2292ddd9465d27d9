import { rmSync } from "node:fs";
import { join } from "node:path";
import { type CheckpointPurpose, serializeError } from "@cpr/core";
import { hostErrors } from "./host-errors.ts";
import { type HostFolders, hostFolders, type VmFiles, vmFiles } from "./host-folders.ts";
import { awaitHost, lockHost } from "./host-lock.ts";
import { type HostAction, type HostReport, readReport, type VmReport, writeReport } from "./host-report.ts";
import { inOrder } from "./in-order.ts";
import { type LoadOptions, loadVm, type StartOptions, startVm } from "./load-vm.ts";
import type { RegisteredVm, VmResult } from "./registered-vm.ts";
import { saveVm } from "./save-vm.ts";
import { StoredCheckpoint } from "./stored-checkpoint.ts";
import { readVmDefinition, registeredNames, type VmDefinition, writeVmDefinition } from "./vm-definition.ts";
import { listVm, type VmListing } from "./vm-listing.ts";
import { VmProcess } from "./vm-process.ts";

/** How a command that works on many VMs is told what to do, and tells what it does. */
export interface WorkOptions {
  /** Those VMs; without names, all. */
  readonly names: readonly string[];
  /** Wait for another command that is at work, instead of giving up at once. */
  readonly wait: boolean;
  /** Gives up what can be given up, and begins nothing more. */
  readonly signal: AbortSignal;
  /** Told of each VM that is done. */
  readonly tell: (report: VmReport) => void;
}

/**
 * The VMs that are registered on this host by the user who runs this. Methods that change something work alone, also among
 * processes.
 *
 * @example
 * ```ts
 * const host = new Host();
 * for (const { name, state } of await host.list()) console.log(name, state);
 * ```
 */
export class Host {
  readonly #folders: HostFolders;

  constructor(folders: HostFolders = hostFolders()) {
    this.#folders = folders;
  }

  /** Registers a VM. The options of `cpr run` are not looked at. @throws {CprError} ERR_CPR_HOST_… */
  add(name: string, definition: VmDefinition): void {
    using _ = lockHost(this.#folders);
    writeVmDefinition(this.#folders, name, definition);
  }

  /** Forgets a VM, which has neither a process nor a checkpoint. @throws {CprError} ERR_CPR_HOST_… */
  remove(name: string): void {
    using _ = lockHost(this.#folders);
    const { folder, checkpoint: path } = this.#filesWithoutProcess(name);
    if (new StoredCheckpoint(path).state !== "none") {
      throw hostErrors.ERR_CPR_HOST_SAVED({ name, path });
    }
    rmSync(folder, { recursive: true });
  }

  /** Removes the checkpoint of a VM, which has no process. @throws {CprError} ERR_CPR_HOST_… */
  discard(name: string): void {
    using _ = lockHost(this.#folders);
    new StoredCheckpoint(this.#filesWithoutProcess(name).checkpoint).discard();
  }

  /** How the registered VMs are now, in their order. @throws {CprError} ERR_CPR_HOST_FOLDER */
  async list(): Promise<readonly VmListing[]> {
    const listings = await Promise.all(registeredNames(this.#folders).map((name) => listVm(this.#folders, name)));
    const order = ({ definition }: VmListing): number => definition?.order ?? 0;
    return listings.sort((a, b) => order(a) - order(b));
  }

  /** Saves VMs and ends their processes: those of a higher order first. @throws {CprError} as all work does */
  save({ purpose, ...options }: WorkOptions & { readonly purpose: CheckpointPurpose }): Promise<HostReport> {
    const work = (vm: RegisteredVm): Promise<VmResult> => saveVm(vm, purpose, options.signal);
    return this.#work({ action: "save", purpose }, options, work);
  }

  /** Loads VMs that have a checkpoint: those of a lower order first. @throws {CprError} as all work does */
  load(options: WorkOptions & LoadOptions): Promise<HostReport> {
    return this.#work({ action: "load" }, options, (vm) => loadVm(vm, options));
  }

  /** Starts VMs afresh: those of a lower order first. @throws {CprError} as all work does */
  start(options: WorkOptions & StartOptions): Promise<HostReport> {
    return this.#work({ action: "start" }, options, (vm) => startVm(vm, options));
  }

  /** What came of the last save and the last load of VMs, as far as there was one. */
  reports(): readonly HostReport[] {
    return (["save", "load"] as const).flatMap((action) => readReport<HostReport>(this.#reportPath(action)) ?? []);
  }

  /**
   * Does something with VMs, one after the other and side by side as their order says. What fails with one is in the report, and
   * the others go on.
   *
   * @throws {CprError} ERR_CPR_HOST_BUSY, ERR_CPR_HOST_FOLDER, ERR_CPR_HOST_UNKNOWN
   */
  async #work(
    what: Pick<HostReport, "action" | "purpose">,
    { names, wait, signal, tell }: WorkOptions,
    work: (vm: RegisteredVm) => Promise<VmResult>,
  ): Promise<HostReport> {
    using _ = wait ? await awaitHost(this.#folders, signal) : lockHost(this.#folders);
    const begun = new Date().toISOString();
    const start = performance.now();
    const vms: VmReport[] = [];
    const report = (complete: boolean): HostReport => {
      const content = { version: 1, ...what, begun, milliseconds: performance.now() - start, complete, vms } as const;
      writeReport(this.#reportPath(what.action), content);
      return content;
    };
    for (const name of names) this.#filesOf(name);
    const chosen = names.length === 0 ? registeredNames(this.#folders) : [...new Set(names)];
    report(false);
    await inOrder(
      chosen.map((name) => this.#registered(name)),
      async ({ name, vm }) => {
        const done = await reportOn(name, async () => {
          return signal.aborted ? { outcome: "skipped", note: "the command was ended" } : work(vm());
        });
        vms.push(done);
        const { last, saved } = vmFiles(this.#folders, name);
        if (done.outcome !== "skipped") {
          writeReport(last, done);
        }
        if (done.outcome === "saved") {
          writeReport(saved, done);
        }
        report(false);
        tell(done);
      },
      { reverse: what.action === "save" },
    );
    return report(true);
  }

  /** A VM, and when its turn is. One that cannot be read is none, which whoever asks for it is told. */
  #registered(name: string): { name: string; order: number; vm: () => RegisteredVm } {
    const files = vmFiles(this.#folders, name);
    const checkpoint = new StoredCheckpoint(files.checkpoint);
    try {
      const definition = readVmDefinition(this.#folders, name);
      return { name, order: definition.order, vm: () => ({ name, definition, files, checkpoint }) };
    } catch (error) {
      const vm = (): never => {
        throw error;
      };
      return { name, order: 0, vm };
    }
  }

  #filesOf(name: string): VmFiles {
    const known = registeredNames(this.#folders);
    if (!known.includes(name)) {
      throw hostErrors.ERR_CPR_HOST_UNKNOWN({ name, known });
    }
    return vmFiles(this.#folders, name);
  }

  #filesWithoutProcess(name: string): VmFiles {
    const files = this.#filesOf(name);
    const found = VmProcess.find(files);
    if (found !== undefined) {
      throw hostErrors.ERR_CPR_HOST_RUNNING({ name, pid: found.pid });
    }
    return files;
  }

  #reportPath(action: HostAction): string {
    return join(this.#folders.state, `report-${action}.json`);
  }
}

/** Works on a VM and tells what came of it, in any case. */
async function reportOn(name: string, work: () => Promise<VmResult>): Promise<VmReport> {
  const begun = new Date().toISOString();
  const start = performance.now();
  const common = (): Pick<VmReport, "name" | "begun" | "milliseconds"> => {
    return { name, begun, milliseconds: performance.now() - start };
  };
  try {
    const result = await work();
    return { ...common(), ...result };
  } catch (error) {
    const { code, category, message, hint } = serializeError(error);
    return { ...common(), outcome: "failed", error: { code, category, message, ...(hint ? { hint } : {}) } };
  }
}
