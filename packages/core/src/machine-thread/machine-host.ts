import { Backend, type Execution, type ExecutionEvent } from "../backend.ts";
import type { Balloon } from "../balloon.ts";
import { createBus } from "../bus.ts";
import { type Device, DeviceModel, type MachineRequest } from "../device.ts";
import { machineErrors } from "../errors/machine-errors.ts";
import { pluginErrors } from "../errors/plugin-errors.ts";
import { streamErrors } from "../errors/stream-errors.ts";
import { serializeError } from "../errors.ts";
import { GuestMemory } from "../guest-memory.ts";
import type { Kernel } from "../kernel.ts";
import { type Machine, MachineModel } from "../machine.ts";
import { type ProcessorState, processorState } from "../processor-state.ts";
import { decodeState, encodeState } from "../state/codec.ts";
import type { StateOf, StateSchema } from "../state/schema.ts";
import type { DeviceSection } from "../stream/description-section.ts";
import { isStreamName, ramSectionName } from "../stream/format.ts";
import { globalStateName } from "../stream/global-state.ts";
import { TimerQueue } from "../timer-queue.ts";
import { BlockDevices } from "./block-devices.ts";
import { CharacterChannel } from "./character-channel.ts";
import { advanceState, elapsedTime, type GuestTime } from "./guest-time.ts";
import { MachineClock } from "./machine-clock.ts";
import type {
  CharacterDeviceDescription,
  DeviceDescription,
  ExecutionStatistics,
  MachineBlueprint,
  MachineControl,
  MachineDescription,
  MachineEvent,
} from "./machine-control.ts";
import { MachineNetworks } from "./machine-networks.ts";
import {
  type HaltingRequest,
  machineRequests,
  machineSection,
  machineState,
  processorSection,
} from "./machine-state.ts";
import { QuietTime } from "./quiet-time.ts";
import { enableReclaim } from "./ram-reclaim.ts";

interface BuiltMachine {
  readonly machine: Machine;
  readonly execution: Execution;
  readonly processorCount: number;
  readonly disks: BlockDevices;
}

/** A part of the machine that has a state: the machine itself, a vCPU or a device. */
interface StatefulPart {
  readonly id: string;
  readonly instance: number;
  readonly schema: StateSchema;
  save(): Readonly<Record<string, unknown>>;
  /** What can be said of a state before anything is changed: throws what {@link restore} would. */
  check?(state: Readonly<Record<string, unknown>>): void;
  restore(state: Readonly<Record<string, unknown>>): void;
}

/** A state that was checked, and the part that will take it. */
interface PreparedState {
  readonly part: StatefulPart;
  readonly state: Readonly<Record<string, unknown>>;
}

/** Ids that sections of the stream have which are no devices. */
const reservedIds: readonly string[] = [machineSection, processorSection, ramSectionName, globalStateName];

/**
 * The machine with all that moves it: bus, clock, timers, vCPUs and devices. It lives on the machine thread, or on
 * the main one in a test of a device or a backend.
 */
export class MachineHost implements MachineControl {
  readonly #kernel: Kernel;
  readonly #onEvent: (event: MachineEvent) => void;
  readonly #clock = new MachineClock();
  readonly #timers = new TimerQueue(this.#clock);
  readonly #characterChannels = new Map<string, CharacterChannel>();
  /** The devices that character devices belong to. */
  readonly #characterDeviceUsers = new Map<string, string>();
  readonly #networks = new MachineNetworks();
  readonly #quiet = new QuietTime();
  #built: BuiltMachine | undefined;
  #started = false;
  #request: HaltingRequest | undefined;
  #prepared: readonly PreparedState[] | undefined;

  constructor(kernel: Kernel, onEvent: (event: MachineEvent) => void) {
    this.#kernel = kernel;
    this.#onEvent = onEvent;
  }

  async build({ options, characterDevices, ram, regions, reclaim }: MachineBlueprint): Promise<MachineDescription> {
    for (const description of characterDevices) this.#addCharacterDevice(description);
    const [backend, machineModel, deviceModels] = await Promise.all([
      this.#kernel.get(Backend, options.backend),
      this.#kernel.get(MachineModel, options.machine),
      this.#kernel.all(DeviceModel),
    ]);
    const allocation = backend.adoptRam(ram);
    const memory = new GuestMemory(allocation.bytes, regions);
    const bus = createBus();
    const execution = await backend.createExecution({
      memory,
      allocation,
      bus,
      clock: this.#clock,
      timers: this.#timers,
      processorModel: options.processorModel,
      processorCount: options.processorCount,
      tscFrequency: options.tscFrequency,
      onEvent: (event) => this.#executionEvent(event),
    });
    this.#timers.onChange = () => execution.kick();
    let disks: BlockDevices | undefined;
    try {
      const opened = await BlockDevices.open(this.#kernel, options.blockDevices ?? [], (failure) =>
        this.#onEvent({ kind: "block-failure", failure }),
      );
      disks = opened;
      if (!options.incoming) {
        await disks.lock();
      }
      await this.#networks.open(this.#kernel, options.networks ?? [], options);
      const machine = await machineModel.build({
        options,
        backend,
        execution,
        memory,
        bus,
        clock: this.#clock,
        timers: this.#timers,
        characterDevice: (id, user) => this.#useCharacterDevice(id, user),
        blockDevice: (id, user) => opened.take(id, user),
        network: (id, device) => this.#networks.take(id, device),
        deviceModel: (name) => {
          const model = deviceModels.find((each) => each.name === name);
          if (model === undefined) {
            throw pluginErrors.ERR_CPR_NO_DEVICE_MODEL({ name, known: deviceModels.map((each) => each.name) });
          }
          return model;
        },
        request: (request) => this.#requested(request),
        needsReset: (device, reason) => this.#driverFailed(device, reason),
      });
      checkIds(machine.devices);
      const { balloon } = machine.devices.find((device) => device.balloon !== undefined) ?? {};
      if (balloon !== undefined) {
        balloon.onChange = (actual) => this.#onEvent({ kind: "balloon", actual });
        await enableReclaim(memory, reclaim);
      }
      this.#built = { machine, execution, processorCount: options.processorCount, disks };
      return { devices: machine.devices.map(describeDevice), blockDevices: disks.descriptions };
    } catch (error) {
      await disks?.close();
      this.#networks.close();
      await execution.close();
      throw error;
    }
  }

  async boot(): Promise<void> {
    await this.#machine.machine.loadBoot();
  }

  async start(): Promise<void> {
    const { machine, execution, disks } = this.#machine;
    if (this.#started) {
      return;
    }
    if (this.#request !== undefined) {
      // Asked for before the machine was stopped and not fulfilled since: perhaps in another process.
      this.#onEvent({ kind: "request", request: this.#request });
      return;
    }
    try {
      await disks.lock();
      await this.#networks.start();
      for (const device of machine.devices) {
        device.resume?.();
      }
    } catch (error) {
      // What has begun stands still again, as the guest does.
      await this.#quiesce();
      throw error;
    }
    this.#started = true;
    this.#clock.start();
    execution.start();
  }

  async pause(): Promise<void> {
    const { execution, disks } = this.#machine;
    await execution.pause();
    this.#clock.stop();
    this.#started = false;
    await this.#quiesce();
    await disks.flush();
    this.#flushOutput();
  }

  async reset(): Promise<void> {
    this.#resetAll();
    await this.#machine.machine.loadBoot();
  }

  async acknowledge(): Promise<void> {
    this.#request = undefined;
  }

  async wakeUp(): Promise<string | undefined> {
    const { machine } = this.#machine;
    this.#request = undefined;
    if (machine.sleepDepth === "standby") {
      return undefined;
    }
    this.#resetAll();
    return machine.wakeFromMemory();
  }

  async releaseDisks(): Promise<void> {
    await this.#machine.disks.release();
  }

  async claimDisks(): Promise<void> {
    await this.#machine.disks.lock();
  }

  async save(): Promise<readonly DeviceSection[]> {
    return this.#statefulParts().map(({ id, instance, schema, save }) => {
      const { version, data, description } = encodeState(id, schema, save());
      return { id, instance, version, data, description };
    });
  }

  async prepareLoad(sections: readonly DeviceSection[]): Promise<void> {
    const byName = new Map(sections.map((section) => [`${section.id} ${section.instance}`, section]));
    const prepared: PreparedState[] = [];
    for (const part of this.#statefulParts()) {
      const { id, instance, schema } = part;
      const section = byName.get(`${id} ${instance}`);
      if (section === undefined) {
        throw streamErrors.ERR_CPR_STREAM_SECTION_MISSING({ device: id, instance });
      }
      byName.delete(`${id} ${instance}`);
      const state = decodeState(id, schema, section);
      part.check?.(state);
      prepared.push({ part, state });
    }
    const [unknown] = byName.values();
    if (unknown !== undefined) {
      throw streamErrors.ERR_CPR_STREAM_SECTION_UNKNOWN({ device: unknown.id, instance: unknown.instance });
    }
    this.#prepared = prepared;
  }

  async load(guestTime: GuestTime): Promise<void> {
    const prepared = this.#prepared;
    if (prepared === undefined) {
      throw new TypeError("load() was called without prepareLoad()");
    }
    this.#prepared = undefined;
    this.#resetAll();
    try {
      const machine = prepared.find(({ part }) => part.id === machineSection)?.state as StateOf<typeof machineState>;
      const elapsed = elapsedTime(guestTime, machine.savedAt, this.#clock.wallClock());
      for (const { part, state } of prepared) {
        part.restore(advanceState(part.id, state, elapsed));
      }
    } catch (error) {
      this.#resetAll();
      throw error;
    }
  }

  async branch(): Promise<void> {
    for (const device of this.#machine.machine.devices) {
      device.branched?.();
    }
  }

  async powerDown(): Promise<void> {
    this.#machine.machine.powerDown();
  }

  async setBalloon(target: number): Promise<void> {
    this.#balloon.setTarget(target);
    this.#machine.execution.kick();
  }

  async queryBalloon(): Promise<number> {
    return this.#balloon.actual;
  }

  async setLink(name: string, up: boolean): Promise<void> {
    this.#networks.setLink(name, up);
    this.#machine.execution.kick();
  }

  async input(characterDevice: string, bytes: Uint8Array): Promise<void> {
    const room = this.#channel(characterDevice).push(bytes);
    this.#machine.execution.kick();
    await room;
  }

  async outputTaken(characterDevice: string, length: number): Promise<void> {
    this.#channel(characterDevice).outputTaken(length);
    this.#built?.execution.kick();
  }

  async setOpened(characterDevice: string, opened: boolean): Promise<void> {
    this.#channel(characterDevice).setOpened(opened);
    this.#built?.execution.kick();
  }

  async statistics(): Promise<ExecutionStatistics> {
    return { instructions: this.#machine.execution.instructionsExecuted?.() };
  }

  async close(): Promise<void> {
    const built = this.#built;
    this.#built = undefined;
    if (built === undefined) {
      return;
    }
    await built.execution.close();
    for (const device of [...built.machine.devices].reverse()) {
      device.close?.();
    }
    await built.disks.close();
    this.#networks.close();
    this.#flushOutput();
  }

  get #balloon(): Balloon {
    const { balloon } = this.#machine.machine.devices.find((device) => device.balloon !== undefined) ?? {};
    if (balloon === undefined) {
      throw machineErrors.ERR_CPR_NO_BALLOON({});
    }
    return balloon;
  }

  get #machine(): BuiltMachine {
    if (this.#built === undefined) {
      throw machineErrors.ERR_CPR_ENDED({});
    }
    return this.#built;
  }

  /** Everything that is saved, in the order in which it is restored: timers need the clock first. */
  #statefulParts(): readonly StatefulPart[] {
    const { machine, execution, processorCount } = this.#machine;
    const parts: StatefulPart[] = [
      {
        id: machineSection,
        instance: 0,
        schema: machineState,
        save: () => ({
          clock: BigInt(this.#clock.now()),
          request: this.#request === undefined ? 0 : 1 + machineRequests.indexOf(this.#request),
          savedAt: this.#clock.wallClock(),
        }),
        restore: (state) => this.#restoreMachine(state as StateOf<typeof machineState>),
      },
    ];
    for (let processor = 0; processor < processorCount; processor++) {
      parts.push({
        id: processorSection,
        instance: processor,
        schema: processorState,
        save: () => execution.saveProcessor(processor),
        check: (state) => execution.checkProcessor(processor, state as ProcessorState),
        restore: (state) => execution.restoreProcessor(processor, state as ProcessorState),
      });
    }
    for (const { id, checkpoint } of machine.devices) {
      if (checkpoint.kind === "state") {
        parts.push({
          id,
          instance: 0,
          schema: checkpoint.schema,
          save: () => checkpoint.save(),
          restore: (state) => checkpoint.restore(state),
        });
      }
    }
    return parts;
  }

  /** Lets devices and networks end what they do. */
  async #quiesce(): Promise<void> {
    for (const device of this.#machine.machine.devices) {
      await device.pause?.();
    }
    this.#networks.stop();
  }

  #restoreMachine({ clock, request }: StateOf<typeof machineState>): void {
    if (request > machineRequests.length || clock > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw streamErrors.ERR_CPR_STATE_VALUE({
        device: machineSection,
        schema: machineState.name,
        problem: `has the impossible values clock=${clock}, request=${request}`,
      });
    }
    this.#clock.set(Number(clock));
    this.#request = request === 0 ? undefined : machineRequests[request - 1];
  }

  #resetAll(): void {
    const { machine, execution, processorCount } = this.#machine;
    this.#request = undefined;
    for (const device of machine.devices) {
      device.reset();
    }
    for (let processor = 0; processor < processorCount; processor++) {
      execution.resetProcessor(processor);
    }
  }

  #driverFailed(device: string, reason: string): void {
    if (this.#quiet.mayTell(device)) this.#onEvent({ kind: "needs-reset", device, reason });
  }

  #requested(request: MachineRequest): void {
    this.#onEvent({ kind: "request", request });
    if (request !== "wakeup") {
      this.#request = request;
      this.#haltExecution();
    }
  }

  #executionEvent(event: ExecutionEvent): void {
    this.#onEvent({ kind: "execution", event });
    this.#haltExecution();
  }

  /** Keeps the guest from going on until the control plane has decided what becomes of it. */
  #haltExecution(): void {
    this.#built?.execution.pause().catch((error: unknown) => {
      this.#onEvent({ kind: "failed", error: serializeError(error) });
    });
  }

  #addCharacterDevice({ id, opened }: CharacterDeviceDescription): void {
    const channel = new CharacterChannel({
      opened,
      send: (bytes) => this.#onEvent({ kind: "output", characterDevice: id, bytes }),
      listening: (listening) => {
        const device = this.#characterDeviceUsers.get(id) as string;
        this.#onEvent({ kind: "listening", characterDevice: id, device, listening });
      },
    });
    this.#characterChannels.set(id, channel);
  }

  #channel(id: string): CharacterChannel {
    const channel = this.#characterChannels.get(id);
    if (channel === undefined) {
      throw machineErrors.ERR_CPR_CHARACTER_DEVICE({ id, known: [...this.#characterChannels.keys()] });
    }
    return channel;
  }

  /** Gives a character device to a device. */
  #useCharacterDevice(id: string, user: string): CharacterChannel {
    const channel = this.#channel(id);
    if (this.#characterDeviceUsers.has(id)) {
      throw machineErrors.ERR_CPR_CHARACTER_DEVICE_BUSY({ id });
    }
    this.#characterDeviceUsers.set(id, user);
    return channel;
  }

  #flushOutput(): void {
    for (const channel of this.#characterChannels.values()) {
      channel.flush();
    }
  }
}

function checkIds(devices: readonly Device[]): void {
  const seen = new Set(reservedIds);
  for (const { id } of devices) {
    if (seen.has(id) || !isStreamName(id)) {
      throw machineErrors.ERR_CPR_DEVICE_DUPLICATE({ id });
    }
    seen.add(id);
  }
  const files = devices.flatMap(({ hostFiles = [] }) => hostFiles.map(({ id }) => id));
  const wrong = files.find((id, index) => files.indexOf(id) !== index || id === "" || id.includes(","));
  if (wrong !== undefined) {
    throw new TypeError(`'${wrong}' is not a possible id of a host file, or there are two of it`);
  }
}

function describeDevice({ id, checkpoint, hostFiles = [], branched }: Device): DeviceDescription {
  const description = {
    id,
    checkpoint: checkpoint.kind,
    hostFiles: hostFiles.map((file) => ({ ...file })),
    noticesBranch: branched !== undefined,
  };
  if (checkpoint.kind !== "blocked") {
    return description;
  }
  const { modes, reason = `State blocked by non-migratable device '${id}'` } = checkpoint;
  return { ...description, blocked: { modes, reason } };
}
