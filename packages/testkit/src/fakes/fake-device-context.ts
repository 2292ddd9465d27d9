import { type DeviceContext, GuestMemory, layOutRam, type MachineRequest, type Timer, TimerQueue } from "@cpr/core";
import { FakeBlockDevice } from "./fake-block-device.ts";
import { ManualClock } from "./manual-clock.ts";
import { RecordingBus } from "./recording-bus.ts";
import { RecordingCharacterDevice } from "./recording-character-device.ts";
import { RecordingInterruptLine } from "./recording-interrupt-line.ts";
import { RecordingNetworkLink } from "./recording-network-link.ts";

/** What a test may choose of a {@link FakeDeviceContext}. */
export interface FakeDeviceContextOptions {
  /** `device0` by default. */
  readonly id?: string;
  readonly properties?: Readonly<Record<string, unknown>>;
  /** Bytes of guest RAM; 1 MiB by default. */
  readonly ramSize?: number;
  readonly clock?: ManualClock;
  /** Disks that the device may ask for; others are made when it does. */
  readonly blockDevices?: readonly FakeBlockDevice[];
}

/** Timers that give up on a callback which arms its timer for the past again and again. */
class FiniteTimerQueue extends TimerQueue {
  fired = 0;

  override create(name: string, callback: (deadline: number) => void): Timer {
    return super.create(name, (deadline) => {
      this.fired++;
      if (this.fired === 100_000) {
        throw new Error(`the timer '${name}' fires without end`);
      }
      callback(deadline);
    });
  }
}

/** All that a device model is given, on a clock that stands still, and open for a test to look at. */
export class FakeDeviceContext implements DeviceContext {
  readonly id: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly bus = new RecordingBus();
  readonly memory: GuestMemory;
  readonly clock: ManualClock;
  readonly timers: FiniteTimerQueue;
  /** What the device asked of the machine, in the order of time. */
  readonly requests: MachineRequest[] = [];
  /** Why the device needs a reset by its driver, in the order of time. */
  readonly driverFailures: string[] = [];
  /** The interrupt lines that the device has asked for, by number. */
  readonly interrupts = new Map<number, RecordingInterruptLine>();
  /** The character devices that the device has asked for, by id. */
  readonly characterDevices = new Map<string, RecordingCharacterDevice>();
  /** The disks that the device has asked for or may ask for, by id. */
  readonly blockDevices = new Map<string, FakeBlockDevice>();
  /** The networks that the device has asked for, by id; a test may put one there before. */
  readonly networks = new Map<string, RecordingNetworkLink>();

  constructor(options: FakeDeviceContextOptions = {}) {
    const ramSize = options.ramSize ?? 1 << 20;
    this.id = options.id ?? "device0";
    this.properties = options.properties ?? {};
    this.memory = new GuestMemory(new Uint8Array(ramSize), layOutRam(ramSize));
    this.clock = options.clock ?? new ManualClock();
    this.timers = new FiniteTimerQueue(this.clock);
    for (const device of options.blockDevices ?? []) {
      this.blockDevices.set(device.id, device);
    }
  }

  interrupt(number: number): RecordingInterruptLine {
    const line = this.interrupts.get(number) ?? new RecordingInterruptLine();
    this.interrupts.set(number, line);
    return line;
  }

  characterDevice(id: string): RecordingCharacterDevice {
    const device = this.characterDevices.get(id) ?? new RecordingCharacterDevice();
    this.characterDevices.set(id, device);
    return device;
  }

  blockDevice(id: string): FakeBlockDevice {
    const device = this.blockDevices.get(id) ?? new FakeBlockDevice({ id });
    this.blockDevices.set(id, device);
    return device;
  }

  network(id: string): RecordingNetworkLink {
    const link = this.networks.get(id) ?? new RecordingNetworkLink();
    this.networks.set(id, link);
    return link;
  }

  needsReset(reason: string): void {
    this.driverFailures.push(reason);
  }

  request(request: MachineRequest): void {
    this.requests.push(request);
  }

  /**
   * Lets virtual time pass; every timer fires at its own deadline, in order.
   *
   * @throws {Error} if timers fire a hundred thousand times: such a device would keep the host busy for ever.
   */
  advance(nanoseconds: number): void {
    const end = this.clock.now() + nanoseconds;
    this.timers.fired = 0;
    for (;;) {
      const deadline = this.timers.nextDeadline();
      if (deadline === undefined || deadline > end) {
        break;
      }
      this.clock.moveTo(Math.max(deadline, this.clock.now()));
      this.timers.runDue();
    }
    this.clock.moveTo(end);
  }

  /** The level of every line that the device has asked for, by number. */
  levels(): Readonly<Record<number, boolean>> {
    return Object.fromEntries([...this.interrupts].map(([number, line]) => [number, line.level]));
  }
}
