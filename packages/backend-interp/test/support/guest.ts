import { type Bus, createBus, layOutRam } from "@cpr/core";
import { ManualInterrupts } from "@cpr/testkit/fakes";
import { CodePages } from "../../src/code-pages.ts";
import { coreInstantiator } from "../../src/core-instance.ts";
import { Processor } from "../../src/system/processor.ts";

const instantiate = await coreInstantiator("i32");

/** A clock that moves only when it is told. */
export class ManualClock {
  time = 0;
  now(): number {
    return this.time;
  }
  wallClock(): bigint {
    return 0n;
  }
}

/** A processor with a little RAM, a bus, interrupts and a clock. */
export interface Guest {
  readonly processor: Processor;
  readonly ram: Uint8Array;
  readonly view: DataView;
  readonly bus: Bus;
  readonly clock: ManualClock;
  readonly interrupts: ManualInterrupts;
}

/** Where RAM begins in its memory, so that every test sees whether this is heeded. */
const ramStart = 0x3000;

/** Makes a guest whose processor has just been reset. */
export function makeGuest(size?: number): Guest {
  return makeGuests(1, size)[0] as Guest;
}

/** Makes the processors of one machine, each with interrupts of its own; all else is the same for all of them. */
export function makeGuests(count: number, size = 4 * 1024 * 1024): Guest[] {
  const pages = size / 0x1_0000 + 1;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const bus = createBus();
  const clock = new ManualClock();
  const codePages = new CodePages();
  const ram = new Uint8Array(memory.buffer, ramStart, size);
  const view = new DataView(memory.buffer, ramStart, size);
  return Array.from({ length: count }, (_, index) => {
    const interrupts = new ManualInterrupts();
    const regions = layOutRam(size);
    const processor = new Processor({
      index,
      processorCount: count,
      ram: memory,
      ramSize: size,
      ramStart,
      regions,
      bus,
      clock,
      codePages,
      instantiate,
    });
    processor.attachInterrupts(interrupts, () => undefined);
    return { processor, ram, view, bus, clock, interrupts };
  });
}
