import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { ExecutionEvent } from "../backend.ts";
import type { DescriptorRegistry } from "../descriptor-registry.ts";
import type { MachineRequest } from "../device.ts";
import { machineErrors } from "../errors/machine-errors.ts";
import { migrationErrors } from "../errors/migration-errors.ts";
import { deserializeError, isCprError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import type {
  BlockDeviceDescription,
  BlockFailure,
  DeviceDescription,
  MachineControl,
  MachineEvent,
} from "../machine-thread/machine-control.ts";
import { StoredSettings } from "../migration/settings.ts";
import type { MigrationSubject } from "../migration/subject.ts";
import type { MigrationBlocker } from "../migration-blocker.ts";
import { MigrationMode } from "../migration-mode.ts";
import { isLive, type RunState, validTransition } from "../runstate.ts";
import type { SavedRunState } from "../stream/global-state.ts";
import type {
  IncomingOptions,
  MigrationForecast,
  MigrationInformation,
  MigrationStatus,
  OutgoingOptions,
  VirtualMachine,
  VirtualMachineEnd,
  VirtualMachineEvent,
} from "../virtual-machine.ts";
import type { CharacterBackend } from "../virtual-machine-configuration.ts";
import { ChangeTeller } from "./change-teller.ts";
import { CharacterConnection } from "./character-connection.ts";
import { Exclusive } from "./exclusive.ts";
import type { GuestRam } from "./guest-ram.ts";
import { Migrations } from "./migrations.ts";

/** The unit in which stat(2) tells how much room a file takes. */
const statBlock = 512;

/** What a VM is put together from; all of it is the VM's from then on. */
export interface VirtualMachineParts {
  readonly kernel: Kernel;
  readonly name: string;
  readonly uuid: string | undefined;
  /** The boot of the host. */
  readonly bootId: string;
  readonly machine: string;
  readonly backend: string;
  readonly processor: { readonly model: string; readonly count: number };
  readonly notices: readonly string[];
  readonly noReboot: boolean;
  /** The VM waits for an incoming migration. */
  readonly incoming: boolean;
  readonly control: MachineControl;
  readonly ram: GuestRam;
  readonly devices: readonly DeviceDescription[];
  readonly blockDevices: readonly BlockDeviceDescription[];
  readonly descriptors: DescriptorRegistry;
  /** What plugins say may keep the VM from being saved. */
  readonly blockers: readonly MigrationBlocker[];
  readonly characterDevices: ReadonlyMap<string, CharacterBackend>;
}

/**
 * A VM as the control plane drives it: its runstate, what the monitor asks of it, and what the guest asks for. The
 * machine itself is behind {@link MachineControl}.
 */
export class HostedVirtualMachine implements VirtualMachine, MigrationSubject {
  readonly name: string;
  readonly uuid: string | undefined;
  readonly bootId: string;
  readonly settings: StoredSettings;
  readonly ended: VirtualMachine["ended"];
  readonly machine: string;
  readonly processor: VirtualMachineParts["processor"];
  readonly notices: readonly string[];
  readonly control: MachineControl;
  readonly ram: GuestRam;
  readonly devices: readonly DeviceDescription[];
  readonly blockDevices: readonly BlockDeviceDescription[];
  readonly descriptors: DescriptorRegistry;
  readonly blockers: readonly MigrationBlocker[];
  readonly #parts: VirtualMachineParts;
  readonly #exclusive = new Exclusive();
  readonly #listeners: ((event: VirtualMachineEvent) => void)[] = [];
  readonly #resolveEnded: (end: VirtualMachineEnd) => void;
  readonly #migrations: Migrations;
  readonly #balloonChanges = new ChangeTeller(0, (actual) => this.#emit({ event: "BALLOON_CHANGE", actual }));
  /** By the ids of devices that are ports. */
  readonly #portChanges = new Map<string, ChangeTeller<boolean>>();
  readonly #characterConnections: ReadonlyMap<string, CharacterConnection>;
  #runState: RunState;
  /** The guest was suspended when the VM was stopped. */
  #wasSuspended = false;
  /** Whether the VM runs on by itself after an incoming migration. */
  #autostart = true;
  #closing: Promise<void> | undefined;
  #shutdownTold = false;

  constructor(parts: VirtualMachineParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.uuid = parts.uuid;
    this.bootId = parts.bootId;
    this.machine = parts.machine;
    this.processor = parts.processor;
    this.notices = parts.notices;
    this.control = parts.control;
    this.ram = parts.ram;
    this.devices = parts.devices;
    this.blockDevices = parts.blockDevices;
    this.descriptors = parts.descriptors;
    this.blockers = parts.blockers;
    this.#runState = parts.incoming ? "inmigrate" : "prelaunch";
    this.#characterConnections = new Map(
      [...parts.characterDevices].map(([id, backend]) => [id, new CharacterConnection(id, backend, parts.control)]),
    );
    this.settings = new StoredSettings({
      modes: parts.kernel.keys(MigrationMode),
      active: () => this.#migrations.active,
    });
    this.#migrations = new Migrations({
      kernel: parts.kernel,
      subject: this,
      settings: this.settings,
      observer: {
        status: (status) => this.#emitIfWanted({ event: "MIGRATION", status }),
        pass: (pass) => this.#emitIfWanted({ event: "MIGRATION_PASS", pass }),
      },
      incoming: parts.incoming,
    });
    const { promise, resolve } = Promise.withResolvers<VirtualMachineEnd>();
    this.ended = promise;
    this.#resolveEnded = resolve;
  }

  get runState(): RunState {
    return this.#runState;
  }

  get migrationActive(): boolean {
    return this.#migrations.active;
  }

  on(listener: (event: VirtualMachineEvent) => void): void {
    this.#listeners.push(listener);
  }

  async stop(): Promise<void> {
    await this.#operate(async () => {
      if (this.#runState === "inmigrate") {
        this.#autostart = false;
      } else if (isLive(this.#runState)) {
        await this.#halt("paused");
      }
    });
  }

  async cont(): Promise<void> {
    await this.#operate(async () => {
      switch (this.#runState) {
        case "finish-migrate":
          throw migrationErrors.ERR_CPR_MIGRATION_NOT_FINAL({});
        case "inmigrate":
          this.#autostart = true;
          return;
        case "running":
        case "suspended":
          return;
        case "shutdown":
        case "internal-error":
          throw machineErrors.ERR_CPR_RESET_REQUIRED({ runState: this.#runState });
        default:
          await this.#go();
      }
    });
  }

  async reset(): Promise<void> {
    await this.#operate(async () => {
      if (this.#runState === "finish-migrate") {
        throw migrationErrors.ERR_CPR_MIGRATION_NOT_FINAL({});
      }
      if (this.#runState === "inmigrate") {
        throw migrationErrors.ERR_CPR_MIGRATE_IN_INMIGRATE({});
      }
      await this.#reset(false);
    });
  }

  async setBalloon(target: number): Promise<void> {
    await this.#operate(() => this.control.setBalloon(target));
  }

  async setLink(name: string, up: boolean): Promise<void> {
    await this.#operate(() => this.control.setLink(name, up));
  }

  queryBalloon(): Promise<number> {
    return this.control.queryBalloon();
  }

  async powerDown(): Promise<void> {
    await this.#operate(async () => {
      await this.control.powerDown();
      this.#emit({ event: "POWERDOWN" });
    });
  }

  async wakeUp(): Promise<void> {
    await this.#operate(async () => {
      if (this.#runState !== "suspended") {
        throw machineErrors.ERR_CPR_NOT_SUSPENDED({ runState: this.#runState });
      }
      await this.#wake();
    });
  }

  async input(characterDevice: string, bytes: Uint8Array): Promise<void> {
    const connection = this.#characterConnections.get(characterDevice);
    if (connection === undefined) {
      const known = [...this.#characterConnections.keys()];
      throw machineErrors.ERR_CPR_CHARACTER_DEVICE({ id: characterDevice, known });
    }
    await connection.input(bytes);
  }

  async migrate(uri: string, options: OutgoingOptions = {}): Promise<void> {
    await this.#operate(() => this.#migrations.begin(uri, options));
  }

  async migrationDone(): Promise<MigrationInformation> {
    await this.#migrations.done;
    return this.queryMigrate();
  }

  async migrateCancel(): Promise<void> {
    this.#migrations.cancel();
  }

  async migrateContinue(state: MigrationStatus): Promise<void> {
    this.#migrations.continue(state);
  }

  async planMigration(uri: string): Promise<MigrationForecast> {
    return this.#migrations.forecast(uri);
  }

  async migrateIncoming(uri: string, { exitOnError = false, ...overrides }: IncomingOptions = {}): Promise<void> {
    await this.#operate(async () => this.#migrations.claimLoad());
    try {
      await this.#migrations.load(uri, overrides, (saved) => this.#operate(() => this.#resumeLoaded(saved)));
    } catch (error) {
      if (exitOnError && error instanceof Error) {
        await this.#close({ reason: "not-loaded", error });
      }
      throw error;
    }
  }

  queryMigrate(): MigrationInformation {
    return this.#migrations.information;
  }

  queryMemory(): ReturnType<VirtualMachine["queryMemory"]> {
    return this.ram.blocks.map(({ id, bytes, backing, preallocated }) => ({
      id,
      size: bytes.length,
      share: backing.supports.shared,
      prealloc: preallocated,
      location: backing.location,
    }));
  }

  async queryBlock(): ReturnType<VirtualMachine["queryBlock"]> {
    return Promise.all(
      this.blockDevices.map(async (device) => {
        const facts = await stat(device.path).catch(() => undefined);
        return { ...device, actualSize: facts === undefined ? undefined : facts.blocks * statBlock };
      }),
    );
  }

  queryCharacterDevices(): ReturnType<VirtualMachine["queryCharacterDevices"]> {
    return [...this.#characterConnections.values()].map(({ id, filename, listening }) => ({ id, filename, listening }));
  }

  async queryExecution(): ReturnType<VirtualMachine["queryExecution"]> {
    const { instructions } = await this.control.statistics();
    return { backend: this.#parts.backend, processors: this.processor.count, instructions };
  }

  async quit(reason: Parameters<VirtualMachine["quit"]>[0] = "host-qmp-quit"): Promise<void> {
    this.#emitOnce({ event: "SHUTDOWN", guest: false, reason });
    await this.#close({ reason: "quit" });
  }

  /** Takes what the machine tells. */
  receive(event: MachineEvent): void {
    switch (event.kind) {
      case "output":
        this.#characterConnections.get(event.characterDevice)?.output(event.bytes);
        break;
      case "balloon":
        this.#balloonChanges.change(event.actual);
        break;
      case "listening":
        this.#characterConnections.get(event.characterDevice)?.setListening(event.listening);
        this.#portChanged(event.device, event.listening);
        break;
      case "request":
        this.#later(() => this.#fulfil(event.request));
        break;
      case "execution":
        this.#later(() => this.#executionFailed(event.event));
        break;
      case "block-failure":
        this.#emit(describeBlockFailure(event.failure));
        break;
      case "needs-reset": {
        const { device, reason } = event;
        const report = `the guest's driver of the device '${device}' has broken a rule, and has to reset it: ${reason}`;
        this.#emit({ event: "DEVICE_NEEDS_RESET", device, reason, report });
        break;
      }
      case "failed":
        this.#later(async () => {
          const { message } = deserializeError(event.error);
          this.#emit({ event: "INTERNAL_ERROR", report: message });
          this.#setRunState("internal-error");
          void this.#close({ reason: "internal-error" });
        });
        break;
    }
  }

  #portChanged(id: string, open: boolean): void {
    const known = this.#portChanges.get(id);
    const changes = known ?? new ChangeTeller(false, (now) => this.#emit({ event: "VSERPORT_CHANGE", id, open: now }));
    this.#portChanges.set(id, changes);
    changes.change(open);
  }

  async stopForMigration(): Promise<SavedRunState> {
    return this.#operate(async () => {
      const before = { runState: this.#runState, wasSuspended: this.#wasSuspended };
      await this.#halt("finish-migrate");
      return before;
    });
  }

  async resumeAfterMigration({ runState, wasSuspended }: SavedRunState): Promise<void> {
    await this.#operate(async () => {
      this.#wasSuspended = wasSuspended;
      if (isLive(runState)) {
        this.#wasSuspended = runState === "suspended";
        await this.#go().catch((error: unknown) => {
          // It stands still, and `cont` can be tried when the reason is gone.
          this.#setRunState("paused");
          throw error;
        });
      } else {
        this.#setRunState(runState);
      }
    });
  }

  /** The outgoing migration is complete: the VM stands still until the process ends, or `cont`. */
  migrationCompleted(): void {
    this.#setRunState("postmigrate");
  }

  async #resumeLoaded(saved: SavedRunState): Promise<void> {
    this.#wasSuspended = saved.wasSuspended;
    if (!isLive(saved.runState)) {
      this.#setRunState(saved.runState);
    } else if (this.#autostart) {
      await this.#go();
    } else {
      this.#setRunState("paused");
    }
  }

  /** Stops the guest if it runs. */
  async #halt(state: RunState): Promise<void> {
    const live = isLive(this.#runState);
    this.#wasSuspended ||= this.#runState === "suspended";
    if (this.#runState === "running") {
      try {
        await this.control.pause();
      } catch (error) {
        // A device that could not stop must not leave a guest behind that stands still and counts as running.
        await this.control.start().catch(() => undefined);
        throw error;
      }
    }
    this.#setRunState(state);
    if (live) {
      this.#emit({ event: "STOP" });
    }
  }

  /** Lets the guest run, or sleep on if it was suspended. */
  async #go(): Promise<void> {
    if (this.#wasSuspended) {
      this.#wasSuspended = false;
      this.#setRunState("suspended");
      this.#emit({ event: "RESUME" });
      return;
    }
    await this.#releaseRam();
    this.#setRunState("running");
    try {
      await this.control.start();
    } catch (error) {
      // It stands still, and `cont` can be tried when the reason is gone.
      this.#setRunState("paused");
      throw error;
    }
    this.#emit({ event: "RESUME" });
  }

  /**
   * RAM moves on: it does not belong to the checkpoint any more that it was left in place for.
   *
   * @throws {CprError} ERR_CPR_MEMORY_BUSY or ERR_CPR_RAM_MOVED_ON if it was handed over to another VM.
   */
  async #releaseRam(): Promise<void> {
    await this.ram.takeBack();
    this.ram.unbind();
    await this.#migrations.guestGoesOn();
  }

  async #wake(): Promise<void> {
    await this.#releaseRam();
    const problem = await this.control.wakeUp();
    this.#setRunState("running");
    this.#emit({ event: "WAKEUP" });
    if (problem === undefined) {
      await this.control.start();
    } else {
      // As firmware does that finds nothing to go on with.
      await this.#guestReset(problem);
    }
  }

  async #reset(guest: boolean, report?: string): Promise<void> {
    const live = isLive(this.#runState);
    if (live) {
      await this.control.pause();
    }
    await this.#releaseRam();
    await this.control.reset();
    this.#wasSuspended = false;
    this.#emit({ event: "RESET", guest, ...(report === undefined ? {} : { report }) });
    if (live) {
      if (this.#runState !== "running") {
        this.#setRunState("running");
      }
      await this.control.start();
    } else if (this.#runState !== "prelaunch") {
      this.#setRunState("prelaunch");
    }
  }

  /** Does what the guest has asked for. If the VM was stopped meanwhile, the machine asks again when it goes on. */
  async #fulfil(request: MachineRequest): Promise<void> {
    if (!isLive(this.#runState)) {
      return;
    }
    switch (request) {
      case "reset":
        await this.#guestReset();
        break;
      case "shutdown":
        await this.#shutDown("guest-shutdown", "shutdown");
        break;
      case "suspend":
        await this.control.pause();
        await this.control.acknowledge();
        this.#setRunState("suspended");
        this.#emit({ event: "SUSPEND" });
        break;
      case "wakeup":
        if (this.#runState === "suspended") {
          await this.#wake();
        }
        break;
      case "guest-panic":
        await this.control.pause();
        this.#setRunState("guest-panicked");
        this.#emit({ event: "GUEST_PANICKED", report: "the guest says that it has panicked" });
        await this.#shutDown("guest-panic", "shutdown");
        break;
    }
  }

  async #executionFailed(event: ExecutionEvent): Promise<void> {
    if (!isLive(this.#runState)) {
      return;
    }
    if (event.kind === "triple-fault") {
      // A PC is wired so that the processor's shutdown state resets it.
      await this.#guestReset(event.report);
      return;
    }
    await this.control.pause();
    this.#setRunState("internal-error");
    this.#emit({ event: "INTERNAL_ERROR", report: event.report });
  }

  async #guestReset(report?: string): Promise<void> {
    if (this.#parts.noReboot) {
      await this.#shutDown("guest-reset", "reset", report);
    } else {
      await this.#reset(true, report);
    }
  }

  async #shutDown(reason: string, end: "shutdown" | "reset", report?: string): Promise<void> {
    await this.control.pause();
    this.#setRunState("shutdown");
    this.#emitOnce({ event: "SHUTDOWN", guest: true, reason, ...(report === undefined ? {} : { report }) });
    void this.#close({ reason: end });
  }

  #close(end: VirtualMachineEnd): Promise<void> {
    this.#closing ??= this.#closeAll(end);
    return this.#closing;
  }

  async #closeAll(end: VirtualMachineEnd): Promise<void> {
    this.#migrations.cancel();
    // A migration that hangs in the machine ends with it.
    await Promise.race([this.#migrations.done, delay(5000, undefined, { ref: false })]);
    await this.control.close().catch(() => undefined);
    await (this.#runState === "inmigrate" ? this.ram.discard() : this.ram.close()).catch(() => undefined);
    for (const connection of this.#characterConnections.values()) {
      await connection.close();
    }
    this.#resolveEnded(end);
  }

  /** Runs an operation on its own, unless the VM has ended. */
  #operate<T>(operation: () => Promise<T>): Promise<T> {
    return this.#exclusive.run(() => {
      if (this.#closing !== undefined && !this.#migrations.active) {
        throw machineErrors.ERR_CPR_ENDED({});
      }
      return operation();
    });
  }

  /** The same for what nobody waits for: a failure is one of the VM. */
  #later(operation: () => Promise<void>): void {
    this.#exclusive
      .run(async () => {
        if (this.#closing === undefined) {
          await operation();
        }
      })
      .catch((error: unknown) => {
        const report = isCprError(error) || error instanceof Error ? error.message : String(error);
        this.#setRunState("internal-error");
        this.#emit({ event: "INTERNAL_ERROR", report });
      });
  }

  #setRunState(state: RunState): void {
    if (state === this.#runState) {
      return;
    }
    if (state !== "internal-error" && !validTransition(this.#runState, state)) {
      throw new TypeError(`invalid runstate transition: '${this.#runState}' -> '${state}'`);
    }
    this.#runState = state;
  }

  #emitIfWanted(event: VirtualMachineEvent): void {
    if (this.settings.capabilities().get("events") === true) {
      this.#emit(event);
    }
  }

  #emitOnce(event: VirtualMachineEvent): void {
    if (!this.#shutdownTold) {
      this.#shutdownTold = true;
      this.#emit(event);
    }
  }

  #emit(event: VirtualMachineEvent): void {
    for (const listener of this.#listeners) {
      listener(event);
    }
  }
}

function describeBlockFailure({ id, path, operation, noSpace, reason }: BlockFailure): VirtualMachineEvent {
  const report = `the host could not ${operation} the disk '${id}' (${path}): ${reason}; the guest was told`;
  return { event: "BLOCK_IO_ERROR", device: id, operation, noSpace, reason, report };
}
