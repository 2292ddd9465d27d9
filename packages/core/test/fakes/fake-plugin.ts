/**
 * A whole machine in one plugin: a backend whose "guest" counts in RAM, a board with one device, memory that is private
 * or outlives the "process", a transport into this process's memory, two migration modes. It is loaded by tests and by
 * the machine thread alike.
 *
 * @packageDocumentation
 */
import { once } from "node:events";
import { existsSync } from "node:fs";
import {
  Backend,
  type BackendAvailability,
  type BackendSupports,
  type BlockableMachine,
  type BlockDevice,
  type BlockDeviceOptions,
  BlockDriver,
  blockErrors,
  CprError,
  type Device,
  type DeviceContext,
  DeviceModel,
  definePlugin,
  defineState,
  type Execution,
  type ExecutionContext,
  type HostFile,
  type Machine,
  type MachineContext,
  MachineModel,
  type MachineOptions,
  type MemoryBacking,
  type MemoryObjectOptions,
  MemoryProvider,
  type MemorySupports,
  type MigrationBlock,
  MigrationBlocker,
  MigrationMode,
  type MigrationPlan,
  type PlaceReport,
  type ProcessorState,
  processorState,
  type RamAllocation,
  type Refusal,
  type StateSchema,
  Transport,
  type TransportSink,
  type TransportSource,
  type TransportUri,
  u32,
} from "@cpr/core";

/** Where the guest counts, in RAM. */
export const counterAddress = 0;
/** 1: the guest triple-faults at its next step. 2: the backend gives up. */
export const faultAddress = 16;

/** A state in which everything is zero. */
export function zeroState(schema: StateSchema): Record<string, unknown> {
  const view = new DataView(new ArrayBuffer(schema.size));
  let offset = 0;
  const state: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(schema.fields)) {
    state[name] = field.decode(view, offset);
    offset += field.size;
  }
  return state;
}

class CountingExecution implements Execution {
  readonly #context: ExecutionContext;
  #count = 0n;
  #timer: NodeJS.Immediate | undefined;

  constructor(context: ExecutionContext) {
    this.#context = context;
  }

  attachInterrupts(): void {}

  start(): void {
    this.#timer ??= setImmediate(() => this.#step());
  }

  async pause(): Promise<void> {
    clearImmediate(this.#timer);
    this.#timer = undefined;
  }

  kick(): void {}

  #step(): void {
    this.#timer = undefined;
    const { memory, onEvent } = this.#context;
    this.start();
    this.#count += 1n;
    memory.view(counterAddress, 8).setBigUint64(0, this.#count);
    const fault = memory.bytes[faultAddress];
    if (fault === 1) {
      onEvent({ kind: "triple-fault", processor: 0, report: "three faults" });
    } else if (fault === 2) {
      onEvent({ kind: "internal-error", processor: 0, report: "an odd instruction" });
    }
  }

  saveProcessor(): ProcessorState {
    const state = zeroState(processorState) as ProcessorState;
    state.registers[0] = this.#count;
    return state;
  }

  checkProcessor(): void {}

  restoreProcessor(_processor: number, state: ProcessorState): void {
    this.#count = state.registers[0] as bigint;
  }

  resetProcessor(): void {
    this.#count = 0n;
  }

  instructionsExecuted(): number {
    return Number(this.#count);
  }

  async close(): Promise<void> {
    await this.pause();
  }
}

export class CountingBackend implements Backend {
  readonly name = "counting";
  readonly preference = 1;
  readonly supports: BackendSupports = {
    kernelIrqchip: "off",
    maximumProcessors: 4,
    maximumRam: 1 << 30,
    dirtyLog: false,
  };
  readonly processorModels = ["counter", "other"];

  async probe(): Promise<BackendAvailability> {
    return { available: true, note: "it counts" };
  }

  allocateRam(size: number): RamAllocation {
    return this.adoptRam(new SharedArrayBuffer(size));
  }

  adoptRam(handle: unknown): RamAllocation {
    return { bytes: new Uint8Array(handle as SharedArrayBuffer), handle };
  }

  async createExecution(context: ExecutionContext): Promise<Execution> {
    return new CountingExecution(context);
  }
}

export const echoState = defineState("echo", 1, { received: u32, last: u32 });

/** Echoes its input to its output, and does what certain letters say. */
class EchoDevice implements Device {
  readonly id: string;
  readonly checkpoint: Device["checkpoint"];
  readonly hostFiles: readonly HostFile[];
  readonly branched?: () => void;
  readonly #context: DeviceContext;
  #received = 0;
  #last = 0;
  #unstoppable = false;
  readonly #disk: BlockDevice | undefined;

  constructor(context: DeviceContext) {
    this.#context = context;
    this.id = context.id;
    const { properties } = context;
    this.hostFiles = String(properties["files"] ?? "")
      .split(",")
      .flatMap((path, index) => (path === "" ? [] : [{ id: `disk${index}`, path }]));
    if (properties["sameFile"] !== undefined) {
      this.hostFiles = [...this.hostFiles, ...this.hostFiles];
    }
    this.checkpoint =
      properties["blocks"] === undefined
        ? {
            kind: "state",
            schema: echoState,
            save: () => ({ received: this.#received, last: this.#last }),
            restore: (state) => {
              if (state["last"] === 0xbad) {
                throw new CprError("ERR_CPR_ECHO", "checkpoint", "the echo is bad");
              }
              this.#received = state["received"] as number;
              this.#last = state["last"] as number;
            },
          }
        : properties["blocks"] === "all"
          ? { kind: "blocked", modes: "all" }
          : { kind: "blocked", modes: [String(properties["blocks"])], reason: "the echo cannot be moved" };
    this.#disk = properties["disk"] === undefined ? undefined : context.blockDevice(String(properties["disk"]));
    const terminal = context.characterDevice("serial0");
    if (properties["branches"] !== undefined) {
      this.branched = () => terminal.write(Uint8Array.of("!".charCodeAt(0)));
    }
    terminal.onOpened = () => terminal.write(Buffer.from(terminal.opened ? "(opened)" : "(closed)"));
    // Told while the machine is built.
    if (properties["deaf"] !== undefined) terminal.setListening(false);
    terminal.onInput = () => {
      terminal.setListening(true);
      for (const byte of terminal.read(terminal.waiting)) {
        this.#take(byte);
        terminal.write(Uint8Array.of(byte));
      }
    };
  }

  #take(byte: number): void {
    this.#received += 1;
    this.#last = byte;
    const { memory } = this.#context;
    switch (String.fromCharCode(byte)) {
      case "R":
        this.#context.request("reset");
        break;
      case "S":
        this.#context.request("shutdown");
        break;
      case "P":
        this.#context.request("guest-panic");
        break;
      case "Z":
        this.#context.request("suspend");
        break;
      case "W":
        this.#context.request("wakeup");
        break;
      case "V":
        this.#context.needsReset("an odd request");
        break;
      case "T":
        memory.bytes[faultAddress] = 1;
        break;
      case "I":
        memory.bytes[faultAddress] = 2;
        break;
      case "B":
        this.#last = 0xbad;
        break;
      case "U":
        this.#unstoppable = true;
        break;
      case "D":
        // Who reads a disk is told of a failure, and does not fail itself.
        this.#disk?.read(0, [memory.bytes.subarray(0, 512)]).catch(() => undefined);
        break;
      case "X":
        // Nobody waits for this.
        setImmediate(() => {
          throw new Error("a plugin with a fault");
        });
        break;
    }
  }

  /** Fails once. */
  async pause(): Promise<void> {
    if (this.#unstoppable) {
      this.#unstoppable = false;
      throw new CprError("ERR_CPR_ECHO", "host", "the echo does not stop");
    }
  }

  reset(): void {
    this.#received = 0;
    this.#last = 0;
  }
}

class EchoModel implements DeviceModel {
  readonly name = "echo";

  create(context: DeviceContext): Device {
    return new EchoDevice(context);
  }
}

export class FakeMachineModel implements MachineModel {
  readonly name: string = "fake";

  async check(options: MachineOptions): Promise<void> {
    if (options.kernel === "missing") {
      throw new CprError("ERR_CPR_FAKE_KERNEL", "input", "there is no such kernel");
    }
  }

  async build(context: MachineContext): Promise<Machine> {
    const { options, bus, memory, clock, timers } = context;
    if (options.kernel === "unbuildable") {
      throw new CprError("ERR_CPR_FAKE_BUILD", "input", "the machine cannot be built");
    }
    const echo = context.deviceModel("echo").create({
      id: "echo0",
      bus,
      memory,
      clock,
      timers,
      interrupt: () => ({ set: () => undefined }),
      request: (request) => context.request(request),
      needsReset: (reason) => context.needsReset("echo0", reason),
      characterDevice: (id) => context.characterDevice(id, "echo0"),
      blockDevice: (id) => context.blockDevice(id, "fake"),
      network: (id) => context.network(id, "echo"),
      properties: Object.fromEntries((options.commandLine ?? "").split(" ").map((word) => word.split("="))),
    });
    return {
      devices: [echo],
      loadBoot: async () => {
        if (options.kernel === "unloadable") {
          throw new CprError("ERR_CPR_FAKE_BOOT", "input", "the kernel cannot be loaded");
        }
        memory.bytes.set(new TextEncoder().encode(`boot ${options.kernel ?? ""}`), 0x1000);
        memory.bytes[faultAddress] = 0;
      },
      powerDown: () => context.request("shutdown"),
      sleepDepth: options.commandLine?.includes("deep") ? "memory" : "standby",
      wakeFromMemory: async () => (options.commandLine?.includes("lost") ? "the guest is lost" : undefined),
    };
  }
}

class OtherMachineModel extends FakeMachineModel {
  override readonly name = "other";
}

/** What lives on when a VM has gone, by location; and which of it is in use. */
export const keptMemory = new Map<string, Uint8Array>();
export const openMemory = new Set<string>();
/** What was discarded. */
export const discardedMemory: string[] = [];
/** Locations that cannot be opened. */
export const brokenMemory = new Set<string>();

class FakeBacking implements MemoryBacking {
  readonly id: string;
  readonly size: number;
  readonly supports: MemorySupports;
  readonly location: string;
  readonly identity: string | undefined;
  readonly created: boolean;
  #target: Uint8Array = new Uint8Array(0);

  constructor(options: MemoryObjectOptions, supports: MemorySupports) {
    this.id = options.id;
    this.size = options.size;
    this.supports = supports;
    const kept = supports.survivesProcessExit;
    this.location = kept ? (options["mem-path"] as string) : "private";
    this.identity = kept ? this.location : undefined;
    this.created = !kept || !keptMemory.has(this.location);
    openMemory.add(this.id);
  }

  mapInto(target: Uint8Array): void {
    this.#target = target;
    const kept = keptMemory.get(this.location);
    if (kept !== undefined && this.supports.survivesProcessExit) {
      target.set(kept);
    }
  }

  discard(): void {
    discardedMemory.push(this.id);
  }

  async flush(): Promise<void> {}

  dataRanges(): readonly (readonly [number, number])[] {
    return [[0, this.size]];
  }

  async close(): Promise<void> {
    openMemory.delete(this.id);
    if (this.supports.survivesProcessExit) {
      keptMemory.set(this.location, this.#target.slice());
    }
  }
}

class FakeMemoryProvider implements MemoryProvider {
  readonly name: string;
  readonly objectTypes: readonly string[];
  readonly supports: MemorySupports;

  constructor(name: string, type: string, supports: MemorySupports) {
    this.name = name;
    this.objectTypes = [type];
    this.supports = supports;
  }

  async accepts(): Promise<boolean> {
    return true;
  }

  async open(options: MemoryObjectOptions): Promise<MemoryBacking> {
    if (brokenMemory.has(options.id)) {
      throw new CprError("ERR_CPR_FAKE_MEMORY", "busy", "the memory is in use");
    }
    // What is called so is as a device that outlives the host's kernel.
    const survivesReboot = this.supports.survivesReboot && options["mem-path"]?.includes("persistent") === true;
    return new FakeBacking(options, { ...this.supports, survivesReboot });
  }
}

class PrivateMemory extends FakeMemoryProvider {
  constructor() {
    super("private", "memory-backend-ram", { shared: false, survivesProcessExit: false, survivesReboot: false });
  }
}

class KeptMemory extends FakeMemoryProvider {
  constructor() {
    super("kept", "memory-backend-file", { shared: true, survivesProcessExit: true, survivesReboot: true });
  }
}

class FleetingMemory extends FakeMemoryProvider {
  constructor() {
    super("fleeting", "memory-backend-memfd", { shared: true, survivesProcessExit: false, survivesReboot: false });
  }
}

/** What was sent to `store:` and `pipe:` URIs, by what follows the colon. */
export const streams = new Map<string, Uint8Array>();

/** How transports misbehave. */
export const transportFaults: {
  writesUntilFailure?: number;
  hangs?: boolean;
  opensNever?: boolean;
  failCommit?: boolean;
  failClose?: boolean;
} = {};

/** Streams that were sent to nowhere, for tests. */
export const rehearsals: Uint8Array[] = [];

class StoreTransport implements Transport {
  readonly scheme: string = "store";
  readonly supports: Transport["supports"] = {
    stores: true,
    seekable: true,
    parallel: false,
    passesDescriptors: false,
  };

  get nowhere(): string {
    return `${this.scheme}:nowhere`;
  }

  async examine({ rest, text: uri }: TransportUri): Promise<PlaceReport> {
    if (rest.includes(" ")) {
      throw new CprError("ERR_CPR_FAKE_URI", "usage", "a place has no spaces", { details: { uri } });
    }
    if (rest === "unwritable") {
      return { problem: unwritable(uri) };
    }
    if (rest.startsWith("memory-of-the-kernel")) {
      return { survivesReboot: false };
    }
    return rest === "small" ? { free: 1000 } : { identity: rest };
  }

  async openSink(uri: TransportUri, options: { signal?: AbortSignal } = {}): Promise<TransportSink> {
    options.signal?.throwIfAborted();
    if (transportFaults.opensNever === true) {
      await once(options.signal as AbortSignal, "abort");
      options.signal?.throwIfAborted();
    }
    if (uri.rest === "unwritable") {
      throw unwritable(uri.text);
    }
    const pieces: Uint8Array[] = [];
    let writes = 0;
    return {
      write: async (bytes) => {
        if (transportFaults.hangs === true) {
          await new Promise(() => undefined);
        }
        if (writes++ >= (transportFaults.writesUntilFailure ?? Number.POSITIVE_INFINITY)) {
          throw new CprError("ERR_CPR_FAKE_WRITE", "host", "No space left on device");
        }
        pieces.push(bytes.slice());
      },
      commit: async () => {
        if (transportFaults.failCommit === true) {
          throw new CprError("ERR_CPR_FAKE_COMMIT", "host", "Input/output error");
        }
        const stream = new Uint8Array(Buffer.concat(pieces));
        if (uri.rest === "nowhere") rehearsals.push(stream);
        else streams.set(uri.rest, stream);
      },
      abort: async () => undefined,
    };
  }

  async openSource(uri: TransportUri): Promise<TransportSource> {
    const bytes = streams.get(uri.rest);
    if (bytes === undefined) {
      throw new CprError("ERR_CPR_FAKE_OPEN", "input", "there is nothing", { details: { uri: uri.text } });
    }
    let position = 0;
    const readAt = async (from: number, buffer: Uint8Array): Promise<number> => {
      const piece = bytes.subarray(from, from + buffer.length);
      buffer.set(piece);
      return piece.length;
    };
    return {
      read: async (buffer) => {
        const count = await readAt(position, buffer);
        position += count;
        return count;
      },
      ...(this.supports.seekable ? { readAt } : {}),
      close: async () => {
        if (transportFaults.failClose === true) {
          throw new CprError("ERR_CPR_FAKE_CLOSE", "input", "the command failed");
        }
      },
    };
  }
}

/** Keeps streams, but they can be read only from start to end. */
class PipeTransport extends StoreTransport {
  override readonly scheme = "pipe";
  override readonly supports = { stores: true, seekable: false, parallel: false, passesDescriptors: false };
}

class KeepingMode implements MigrationMode {
  readonly name: string = "keeping";
  readonly summary: string = "leaves in place what survives";

  judgeOutgoing({ capabilities }: MigrationPlan): readonly Refusal[] {
    return capabilities.has("x-colo") ? [{ code: "ERR_CPR_FAKE_COLO", message: "Cannot use COLO with CPR" }] : [];
  }

  judgeIncoming(): readonly Refusal[] {
    return [];
  }

  keepsInPlace({ shared, survivesProcessExit }: MemorySupports): boolean {
    return shared && survivesProcessExit;
  }
}

class NormalMode extends KeepingMode {
  override readonly name = "normal";
  override readonly summary = "moves everything";

  override keepsInPlace(): boolean {
    return false;
  }
}

/** What becomes of the disks that {@link FakeBlockDriver} opens, by path. */
export interface FakeDisk {
  /** Who has the lock: an opening, or another process. */
  lockedBy: object | undefined;
  /** What was done, in the order of time. */
  readonly log: string[];
  /** The code of the error that requests end with. */
  failure?: string | undefined;
}
export const disks = new Map<string, FakeDisk>();

class FakeBlockDriver implements BlockDriver {
  readonly name = "fake";
  readonly supports = { discard: true, locking: true };

  async open({ id, driver, path, readOnly }: BlockDeviceOptions): Promise<BlockDevice> {
    const disk = disks.get(path);
    if (disk === undefined) {
      throw new CprError("ERR_CPR_FAKE_DISK", "input", "there is no such disk");
    }
    const request = async (name: string): Promise<void> => {
      disk.log.push(name);
      if (disk.failure !== undefined) {
        throw Object.assign(new Error(disk.failure), { code: disk.failure });
      }
    };
    const device: BlockDevice = {
      ...{ id, driver, path, readOnly, size: 1 << 20, logicalBlockSize: 512, supports: this.supports },
      hostFile: existsSync(path) ? { id, path } : undefined,
      read: () => request("read"),
      write: () => request("write"),
      flush: () => request("flush"),
      discard: () => request("discard"),
      writeZeroes: () => request("write-zeroes"),
      lock: async () => {
        if (disk.lockedBy !== undefined && disk.lockedBy !== device) {
          throw blockErrors.ERR_CPR_BLOCK_LOCKED({ path, lock: '"write"' });
        }
        disk.lockedBy = device;
      },
      unlock: () => {
        disk.lockedBy = disk.lockedBy === device ? undefined : disk.lockedBy;
      },
      close: async () => {
        device.unlock();
        disk.log.push("close");
      },
    };
    return device;
  }
}

/** What the plugin's blocker says; an error is thrown. */
export const blocks: (MigrationBlock | Error)[] = [];

class FakeBlocker implements MigrationBlocker {
  readonly name = "fake";
  readonly summary = "blocks what a test says";

  blocks({ name, memory }: BlockableMachine): readonly MigrationBlock[] {
    return blocks.map((block) => {
      if (block instanceof Error) {
        throw block;
      }
      return { ...block, reason: block.reason.replace("VM", `${name} with ${memory[0]?.location}`) };
    });
  }
}

/** What the manifest of this plugin says. */
export const fakeManifest = {
  api: 1,
  plugin: "./plugin",
  provides: {
    backend: ["counting"],
    machine: ["fake", "other"],
    "device-model": ["echo"],
    "block-driver": ["fake"],
    "memory-provider": ["private", "kept", "fleeting"],
    transport: ["store", "pipe"],
    "migration-mode": ["normal", "keeping"],
    "migration-blocker": ["fake"],
  },
};

export default definePlugin({
  name: "fake-plugin",
  setup(context) {
    context.contribute(Backend, CountingBackend);
    context.contribute(MachineModel, FakeMachineModel);
    context.contribute(MachineModel, OtherMachineModel);
    context.contribute(DeviceModel, EchoModel);
    context.contribute(BlockDriver, FakeBlockDriver);
    context.contribute(MemoryProvider, PrivateMemory);
    context.contribute(MemoryProvider, KeptMemory);
    context.contribute(MemoryProvider, FleetingMemory);
    context.contribute(Transport, StoreTransport);
    context.contribute(Transport, PipeTransport);
    context.contribute(MigrationMode, NormalMode);
    context.contribute(MigrationMode, KeepingMode);
    context.contribute(MigrationBlocker, FakeBlocker);
  },
});

function unwritable(uri: string): CprError {
  return new CprError("ERR_CPR_FAKE_OPEN", "input", "it cannot be written", { details: { uri } });
}
