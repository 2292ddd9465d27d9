import {
  createBus,
  defaultTscFrequency,
  type Execution,
  type ExecutionEvent,
  GuestMemory,
  layOutRam,
  TimerQueue,
  type VirtualClock,
} from "@cpr/core";
import { ManualInterrupts, StoppableClock } from "@cpr/testkit/fakes";
import { afterEach, describe, expect, test, vi } from "vitest";
import { InterpreterBackend } from "../src/index.ts";
import { assemble } from "./support/assemble.ts";
import { ManualClock } from "./support/guest.ts";

const ramSize = 1 << 20;
/** Where the program of a vCPU is. */
const codeOf = (index: number): number => 0x8000 + index * 0x1000;
/** A doubleword that the programs share; {@link counterOf} is one of a vCPU's own. */
const shared = 0x500;
const counterOf = (index: number): number => 0x600 + index * 4;
const reportPort = 0x80;
const interruptPort = 0x81;
const initPort = 0x82;
const startupPort = 0x83;
const pausePort = 0x84;
const interruptVector = 0x20;
const handler = 0x7000;

/** A port write, and whose it was. */
interface Report {
  readonly processor: number;
  readonly value: number;
}

/** Some vCPUs with a bus on which they can interrupt each other: the value written to a port is the target's index. */
class Machine {
  readonly ram: Uint8Array;
  readonly view: DataView;
  readonly interrupts: readonly ManualInterrupts[];
  readonly reports: Report[] = [];
  readonly events: ExecutionEvent[] = [];
  readonly execution: Execution;
  /** Called when a vCPU has written to the pause port and all of them have stopped. */
  onPaused: () => void = () => undefined;

  static async create(count: number, clock: VirtualClock): Promise<Machine> {
    const backend = new InterpreterBackend();
    const allocation = backend.allocateRam(ramSize);
    const bus = createBus();
    const timers = new TimerQueue(clock);
    const events: ExecutionEvent[] = [];
    const execution = await backend.createExecution({
      memory: new GuestMemory(allocation.bytes, layOutRam(ramSize)),
      allocation,
      bus,
      clock,
      timers,
      processorModel: "cpr64-v2",
      processorCount: count,
      tscFrequency: defaultTscFrequency,
      onEvent: (event) => events.push(event),
    });
    timers.onChange = () => execution.kick();
    const machine = new Machine(count, allocation.bytes, execution, events);
    bus.ports.claim("test", reportPort, 5, {
      read: () => 0xff,
      write: (offset, _size, value) => machine.#written(reportPort + offset, value),
    });
    return machine;
  }

  private constructor(count: number, ram: Uint8Array, execution: Execution, events: ExecutionEvent[]) {
    this.ram = ram;
    this.view = new DataView(ram.buffer, ram.byteOffset);
    this.execution = execution;
    this.events = events;
    this.interrupts = Array.from({ length: count }, (_, index) => {
      const interrupts = new ManualInterrupts();
      execution.attachInterrupts(index, interrupts);
      return interrupts;
    });
    this.view.setUint32(interruptVector * 4, handler, true);
  }

  #written(port: number, value: number): void {
    if (port === pausePort) {
      void this.execution.pause().then(() => this.onPaused());
      return;
    }
    const target = this.interrupts[value];
    if (port === interruptPort) target?.raise(interruptVector);
    else if (port === initPort) target?.send({ kind: "init" });
    else if (port === startupPort) target?.send({ kind: "startup", vector: codeOf(value) >> 12 });
    this.reports.push({ processor: this.execution.currentProcessor?.() as number, value });
  }

  /** Puts a program into RAM, and a vCPU in front of it: in real mode, with segments of base 0 and a stack of its own. */
  load(index: number, source: string): this {
    this.ram.set(assemble(16, codeOf(index), source), codeOf(index));
    const state = this.execution.saveProcessor(index);
    const segments = state.segments.map((segment) => ({ ...segment, selector: 0, base: 0n }));
    const registers = state.registers.with(4, BigInt(0x6000 + index * 0x100));
    this.execution.restoreProcessor(index, { ...state, segments, registers, rip: BigInt(codeOf(index)), activity: 0 });
    return this;
  }

  activity(index: number): number {
    return this.execution.saveProcessor(index).activity;
  }

  counter(index: number): number {
    return this.view.getUint32(counterOf(index), true);
  }
}

const machines: Machine[] = [];
afterEach(async () => {
  for (const { execution } of machines.splice(0)) await execution.close();
});

async function makeMachine(count: number, clock: VirtualClock = new ManualClock()): Promise<Machine> {
  const machine = await Machine.create(count, clock);
  machines.push(machine);
  return machine;
}

const eventually = (condition: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(condition, { timeout: 10_000, interval: 1 });

/** Everything that was put off until now has its chance. */
const turnOfTheEventLoop = () => new Promise((resolve) => setImmediate(resolve));

/** Waits, with PAUSE in the loop if it is told so, until the shared doubleword has a value. */
const waitFor = (value: number, pause: "pause" | "nop"): string =>
  `1: ${pause}\n cmp dword ptr [${shared}], ${value}\n jne 1b\n`;

describe("turns while no time passes, so that none ends by itself", () => {
  test("PAUSE gives the turn up", async () => {
    const machine = await makeMachine(2);
    const rounds = 500;
    machine.load(
      0,
      `mov cx, ${rounds}\n again: ${waitFor(0, "pause")} inc dword ptr [${shared}]\n loop again
      mov al, 7\n out ${reportPort}, al\n hlt`,
    );
    machine.load(
      1,
      `mov cx, ${rounds}\n again: ${waitFor(1, "pause")} dec dword ptr [${shared}]\n loop again
      hlt`,
    );
    machine.execution.start();
    await eventually(() => expect(machine.reports).toEqual([{ processor: 0, value: 7 }]));
  });

  test("an interrupt that ends another vCPU's halt does, at once", async () => {
    const machine = await makeMachine(3);
    machine.ram.set(assemble(16, handler, `mov dword ptr [${shared}], 1\n iret`), handler);
    machine.load(
      0,
      `mov cx, 100\n again: mov dword ptr [${shared}], 0\n mov al, 2\n out ${interruptPort}, al
      ${waitFor(1, "nop")} loop again\n mov al, 9\n out ${reportPort}, al\n hlt`,
    );
    machine.load(2, "again: sti\n hlt\n jmp again");
    machine.execution.start();
    await eventually(() => expect(machine.reports.at(-1)).toEqual({ processor: 0, value: 9 }));
    expect(machine.interrupts[2]?.acknowledged).toHaveLength(100);
  });

  test("INIT and a start-up IPI start a vCPU in the page that they name", async () => {
    const machine = await makeMachine(3);
    expect([0, 1, 2].map((index) => machine.activity(index))).toEqual([0, 1, 1]);
    const startUp = (index: number, ports: readonly number[]) =>
      ports.map((port) => `mov al, ${index}\n out ${port}, al\n`).join("");
    // A start-up IPI without an INIT before, and a second one, have no effect.
    machine.load(
      0,
      `${startUp(1, [startupPort, startupPort])} ${startUp(2, [startupPort, initPort, startupPort, startupPort])}
      ${waitFor(2, "nop")} mov al, 0xff\n out ${reportPort}, al\n hlt`,
    );
    machine.ram.set(
      assemble(
        16,
        0,
        `xor ax, ax\n mov ds, ax\n mov al, 0x22\n out ${reportPort}, al
      mov dword ptr [${shared}], 2\n hlt`,
      ),
      codeOf(2),
    );
    machine.execution.start();
    await eventually(() => expect(machine.reports.at(-1)).toEqual({ processor: 0, value: 0xff }));
    await machine.execution.pause();
    expect(machine.reports.filter(({ processor }) => processor !== 0)).toEqual([{ processor: 2, value: 0x22 }]);
    expect(machine.activity(1)).toBe(1);
    const { segments, activity } = machine.execution.saveProcessor(2);
    expect(segments[1]).toMatchObject({ selector: codeOf(2) >> 4, base: BigInt(codeOf(2)) });
    expect(activity).toBe(3);
  });

  test("INIT stops a vCPU that executes, until a start-up IPI comes", async () => {
    const machine = await makeMachine(2);
    machine.load(
      0,
      `${waitFor(1, "pause")} mov al, 1\n out ${initPort}, al
      mov cx, 100\n 2: pause\n loop 2b\n mov al, 0x33\n out ${reportPort}, al\n hlt`,
    );
    machine.load(1, `mov dword ptr [${shared}], 1\n again: pause\n jmp again`);
    machine.execution.start();
    await eventually(() => expect(machine.reports.at(-1)?.value).toBe(0x33));
    // It takes the INIT when its turn comes.
    await eventually(async () => {
      machine.execution.start();
      await turnOfTheEventLoop();
      await machine.execution.pause();
      expect(machine.execution.saveProcessor(1)).toMatchObject({ activity: 2, rip: 0xfff0n });
    });
  });
});

test("vCPUs that never wait get their turns when time passes", async () => {
  // Each look at this clock takes a while.
  const clock = new ManualClock();
  vi.spyOn(clock, "now").mockImplementation(() => (clock.time += 20_000));
  const machine = await makeMachine(3, clock);
  for (const index of [0, 1, 2]) machine.load(index, `cli\n again: inc dword ptr [${counterOf(index)}]\n jmp again`);
  machine.execution.start();
  await eventually(() => expect(Math.min(...[0, 1, 2].map((index) => machine.counter(index)))).toBeGreaterThan(10_000));
  await machine.execution.pause();
  const counters = [0, 1, 2].map((index) => machine.counter(index));
  expect(Math.max(...counters)).toBeLessThan(Math.min(...counters) * 10);
});

test("while all vCPUs halt or wait to be started, nothing happens", async () => {
  const clock = new ManualClock();
  const now = vi.spyOn(clock, "now");
  const machine = await makeMachine(4, clock);
  machine.load(0, "sti\n hlt");
  machine.load(3, "sti\n hlt");
  const { execution } = machine;
  await eventually(async () => {
    execution.start();
    await turnOfTheEventLoop();
    await execution.pause();
    expect([0, 1, 2, 3].map((index) => machine.activity(index))).toEqual([3, 1, 1, 3]);
  });
  execution.start();
  await turnOfTheEventLoop();
  const before = [execution.instructionsExecuted?.(), now.mock.calls.length];
  for (let turns = 0; turns < 20; turns++) await turnOfTheEventLoop();
  expect([execution.instructionsExecuted?.(), now.mock.calls.length]).toEqual(before);
});

test("the time-stamp counters of all vCPUs are in step", async () => {
  const clock = new ManualClock();
  const machine = await makeMachine(3, clock);
  const counters = () => [0, 1, 2].map((index) => machine.execution.saveProcessor(index).tsc);
  clock.time = 5000;
  expect(counters()).toEqual([5000n, 5000n, 5000n]);
  for (const index of [0, 1, 2]) machine.execution.resetProcessor(index);
  clock.time = 5700;
  expect(counters()).toEqual([700n, 700n, 700n]);
  expect([0, 1, 2].map((index) => machine.activity(index))).toEqual([0, 1, 1]);
});

test("a triple fault is that of the vCPU that it happened to", async () => {
  const machine = await makeMachine(2);
  machine.load(0, "again: pause\n jmp again");
  machine.load(1, `lidt [${shared}]\n int3`);
  machine.execution.start();
  await eventually(() => expect(machine.events).toHaveLength(1));
  expect(machine.events[0]).toMatchObject({ kind: "triple-fault", processor: 1 });
});

test("an error of a device is told of the vCPU that accessed it", async () => {
  const machine = await makeMachine(2);
  machine.reports.push = () => {
    throw new Error("broken on purpose");
  };
  machine.load(0, "again: pause\n jmp again");
  machine.load(1, `out ${reportPort}, al`);
  machine.execution.start();
  await eventually(() => expect(machine.events).toHaveLength(1));
  expect(machine.events[0]).toMatchObject({ kind: "internal-error", processor: 1 });
});

test("two vCPUs that count together come to the same end however often they are moved", async () => {
  const rounds = 2_000;
  // Both ask to be moved every 64 rounds, and neither gets further ahead of the other.
  const program = (index: number) => `mov ecx, ${rounds}
    again: lock inc dword ptr [${shared}]
    mov eax, 1
    lock xadd [${shared + 4}], eax
    inc dword ptr [${counterOf(index)}]
    test cl, 63
    jnz next
    out ${pausePort}, al
    meet: pause
    mov eax, [${counterOf(0)}]
    sub eax, [${counterOf(1)}]
    add eax, 64
    cmp eax, 128
    ja meet
    next: dec ecx
    jnz again
    mov al, ${index}
    out ${reportPort}, al
    out ${pausePort}, al
    cli
    hlt`;
  const clock = new StoppableClock();
  let machine = await makeMachine(2, clock);
  for (const index of [0, 1]) machine.load(index, program(index));
  const reports: Report[] = [];
  let moves = 0;
  while (reports.length < 2) {
    clock.start();
    await new Promise<void>((resolve) => {
      machine.onPaused = resolve;
      machine.execution.start();
    });
    clock.stop();
    reports.push(...machine.reports);
    const next = await makeMachine(2, clock);
    next.ram.set(machine.ram);
    for (const index of [0, 1]) {
      const state = structuredClone(machine.execution.saveProcessor(index));
      next.execution.restoreProcessor(index, state);
      expect(next.execution.saveProcessor(index)).toEqual(state);
    }
    await machines.shift()?.execution.close();
    machine = next;
    moves += 1;
  }
  expect(moves).toBeGreaterThan(rounds / 64);
  expect(reports.map(({ processor }) => processor).sort()).toEqual([0, 1]);
  expect(reports.every(({ processor, value }) => processor === value)).toBe(true);
  expect([shared, shared + 4].map((at) => machine.view.getUint32(at, true))).toEqual([2 * rounds, 2 * rounds]);
  expect([machine.counter(0), machine.counter(1)]).toEqual([rounds, rounds]);
});

test("there is no vCPU beyond the last", async () => {
  const { execution } = await makeMachine(2);
  expect(() => execution.saveProcessor(2)).toThrow(RangeError);
});
