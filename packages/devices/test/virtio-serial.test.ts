import type { Device } from "@cpr/core";
import { deviceCompliance } from "@cpr/testkit/device";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { describe, expect, it } from "vitest";
import { VirtConsoleModel, VirtioSerialPciModel, VirtSerialPortModel } from "../src/index.ts";
import { DriverQueue } from "./virtio-driver.ts";
import { VirtioPciDriver } from "./virtio-pci-driver.ts";
import { contextFor, makeHost } from "./virtio-pci-echo.ts";

const multiport = 1n << 1n;
const event = { ready: 0, add: 1, portReady: 3, console: 4, open: 6, name: 7 } as const;

/** A serial device with a console, port 0, and two further ports, each with a character device of its own. */
function make(context: FakeDeviceContext): Device {
  const device = new VirtioSerialPciModel().create(
    contextFor(context, context.id, { bus: makeHost(context).host, max_ports: "3" }),
  );
  const bus = device.buses?.["virtio-serial"];
  const plug = (id: string, properties: Readonly<Record<string, unknown>>) =>
    contextFor(context, id, { bus, ...properties });
  new VirtSerialPortModel().create(plug("port1", { chardev: "agent", name: "org.qemu.guest_agent.0" }));
  new VirtConsoleModel().create(plug("port0", { chardev: "console" }));
  return device;
}

/** A driver as Linux's: it has told that it is ready, and given buffers to all queues. */
class SerialDriver {
  readonly pci: VirtioPciDriver;
  readonly queues: DriverQueue[] = [];

  constructor(context: FakeDeviceContext, features = multiport) {
    this.pci = new VirtioPciDriver(context.bus, 1);
    expect(this.pci.negotiate(features)).toBe(true);
    for (let index = 0; index < 6; index++) {
      const queue = new DriverQueue(context.memory, 0x4000 + 0x4000 * index, 16);
      this.queues.push(queue);
      this.pci.setUpQueue(index, queue);
    }
    this.pci.ready();
  }

  /** Gives buffers for what comes from the device. */
  give(queue: number, ...lengths: readonly number[]): void {
    for (const length of lengths) this.queue(queue).offer({ writable: [length] });
    this.pci.notify(queue);
  }

  /** Sends bytes in one chain of several buffers. */
  send(queue: number, ...parts: readonly Uint8Array[]): void {
    this.queue(queue).offer({ readable: parts });
    this.pci.notify(queue);
  }

  control(port: number, what: number, value: number): void {
    const message = Buffer.alloc(8);
    message.writeUInt32LE(port, 0);
    message.writeUInt16LE(what, 4);
    message.writeUInt16LE(value, 6);
    this.send(3, message);
  }

  /** The control messages that have come: port, event, value, and a name. */
  messages(): readonly (readonly unknown[])[] {
    return this.received(2).map((bytes) => {
      const message = Buffer.from(bytes);
      const name = message.toString("latin1", 8);
      const head = [message.readUInt32LE(0), message.readUInt16LE(4), message.readUInt16LE(6)];
      return name === "" ? head : [...head, name];
    });
  }

  /** What has come in a queue, a piece for each buffer. */
  received(queue: number): readonly Buffer[] {
    return this.queue(queue)
      .takeUsed()
      .map(({ length, written }) => Buffer.from(written[0] ?? []).subarray(0, length));
  }

  text(queue: number): string {
    return Buffer.concat(this.received(queue)).toString("latin1");
  }

  queue(index: number): DriverQueue {
    return this.queues[index] as DriverQueue;
  }
}

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

/** A device that runs, with a driver that has the port of the agent open. */
function begin() {
  const context = new FakeDeviceContext();
  const device = make(context);
  device.resume?.();
  const driver = new SerialDriver(context);
  driver.give(2, 64, 64, 64, 64, 64, 64);
  driver.control(0xffff_ffff, event.ready, 1);
  driver.control(1, event.portReady, 1);
  driver.control(0, event.portReady, 1);
  driver.control(1, event.open, 1);
  return {
    context,
    device,
    driver,
    agent: context.characterDevice("agent"),
    console: context.characterDevice("console"),
  };
}

deviceCompliance({
  name: "virtio-serial-pci",
  create: make,
  disturb: (device, context) => {
    device.resume?.();
    if (new VirtioPciDriver(context.bus, 1).status !== 0) {
      context.characterDevice("agent").type("more");
      return;
    }
    const driver = new SerialDriver(context);
    driver.control(0xffff_ffff, event.ready, 1);
    driver.control(1, event.portReady, 1);
    driver.give(2, 64, 64);
    driver.control(1, event.open, 1);
    driver.give(4, 3, 64);
    context.characterDevice("agent").type("some input");
    driver.send(5, bytes("first "));
    context.characterDevice("agent").setWritable(false);
    driver.send(5, bytes("waits"));
    context.characterDevice("agent").setWritable(true);
  },
});

describe("virtio-serial-pci", () => {
  it("tells which ports there are, what they are called, and which is a console", () => {
    const context = new FakeDeviceContext();
    make(context).resume?.();
    const driver = new SerialDriver(context);
    expect(driver.pci.configuration(0, 4)).toBe(0x1043_1af4);
    expect(driver.pci.read(4, 4, 4)).toBe(3);
    // Messages wait for buffers.
    driver.control(0xffff_ffff, event.ready, 1);
    driver.give(2, 8);
    expect(driver.messages()).toEqual([[0, event.add, 1]]);
    driver.give(2, 64, 64, 64, 64, 64);
    expect(driver.messages()).toEqual([[1, event.add, 1]]);
    driver.control(1, event.portReady, 1);
    driver.control(0, event.portReady, 1);
    expect(driver.messages()).toEqual([
      [1, event.name, 1, "org.qemu.guest_agent.0"],
      [1, event.open, 1],
      [0, event.console, 1],
      [0, event.open, 1],
    ]);
  });

  it("keeps input with the host while the guest has the port closed, or no buffers", () => {
    const { driver, agent } = begin();
    driver.control(1, event.open, 0);
    expect(agent.listening).toBe(false);
    driver.give(4, 4, 4);
    agent.type("hello guest");
    expect(agent.waiting).toBe(11);
    driver.control(1, event.open, 1);
    expect(agent.listening).toBe(true);
    expect(driver.text(4)).toBe("hello gu");
    expect(agent.waiting).toBe(3);
    driver.give(4, 64);
    expect(driver.text(4)).toBe("est");
    agent.type("!");
    driver.give(4, 64);
    expect(driver.text(4)).toBe("!");
  });

  it("carries output of ports and of the console", () => {
    const { driver, agent, console } = begin();
    driver.send(5, bytes("from "), bytes("the agent"));
    driver.send(1, bytes("from the console"));
    expect(agent.text).toBe("from the agent");
    expect(console.text).toBe("from the console");
    expect(driver.queue(5).takeUsed()).toMatchObject([{ length: 0 }]);
    driver.give(0, 64);
    console.type("typed");
    expect(driver.text(0)).toBe("");
    driver.control(0, event.open, 1);
    expect(driver.text(0)).toBe("typed");
  });

  it("leaves output with the guest while the host does not take it, except that of a console", () => {
    const { driver, agent, console } = begin();
    const large = Buffer.alloc(200_000, "0123456789");
    const take = agent.write.bind(agent);
    // It has had enough after the first piece.
    agent.write = (piece) => {
      take(piece);
      agent.setWritable(false);
    };
    driver.send(5, large.subarray(0, 150_000), large.subarray(150_000));
    expect(agent.output).toHaveLength(65_536);
    expect(driver.queue(5).takeUsed()).toEqual([]);
    while (agent.output.length < large.length) agent.setWritable(true);
    expect(agent.text).toBe(large.toString());
    expect(driver.queue(5).takeUsed()).toHaveLength(1);
    console.setWritable(false);
    driver.send(1, bytes("x"));
    expect(driver.queue(1).takeUsed()).toHaveLength(1);
  });

  it("serves a guest in parts that sends without end", async () => {
    const { driver, agent } = begin();
    const take = agent.write.bind(agent);
    let more = 100;
    agent.write = (piece) => {
      take(piece);
      // Another vCPU sends meanwhile.
      if (more-- > 0) driver.queue(5).offer({ readable: [bytes("x")] });
    };
    driver.send(5, bytes("x"));
    expect(agent.output).toHaveLength(16);
    while (agent.output.length < 101) await new Promise((resolve) => setImmediate(resolve));
    expect(more).toBe(-1);
  });

  it("drops output to nobody, and tells the guest who comes and goes", () => {
    const { driver, agent, console } = begin();
    driver.messages();
    driver.give(2, 64, 64, 64);
    agent.setOpened(false);
    driver.send(5, bytes("to nobody"));
    expect(agent.text).toBe("");
    expect(driver.queue(5).takeUsed()).toHaveLength(1);
    agent.setOpened(true);
    // The guest is not told of a console's.
    console.setOpened(false);
    driver.send(1, bytes("kept"));
    expect(console.text).toBe("kept");
    expect(driver.messages()).toEqual([
      [1, event.open, 0],
      [1, event.open, 1],
    ]);
  });

  it("drops what waits when the host's end closes", () => {
    const { driver, agent } = begin();
    agent.setWritable(false);
    driver.send(5, bytes("never read"));
    expect(driver.queue(5).takeUsed()).toEqual([]);
    agent.setOpened(false);
    expect(driver.queue(5).takeUsed()).toHaveLength(1);
    expect(agent.text).toBe("");
  });

  it("has a console only, always open, for a driver without control queues", () => {
    const context = new FakeDeviceContext();
    make(context).resume?.();
    const driver = new SerialDriver(context, 0n);
    driver.give(0, 64);
    context.characterDevice("console").type("typed");
    context.characterDevice("agent").type("nobody there");
    driver.give(4, 64);
    driver.send(1, bytes("shown"));
    expect(driver.text(0)).toBe("typed");
    expect(driver.text(4)).toBe("");
    expect(context.characterDevice("console").text).toBe("shown");
    expect(context.characterDevice("console").listening).toBe(true);
  });

  it("does nothing while the VM is stopped, and all of it afterwards", async () => {
    const { device, driver, agent } = begin();
    driver.messages();
    driver.give(2, 64, 64);
    driver.give(4, 64);
    await device.pause?.();
    agent.type("while stopped");
    agent.setOpened(false);
    driver.send(5, bytes("too"));
    expect([driver.text(4), agent.text, driver.messages()]).toEqual(["", "", []]);
    agent.setOpened(true);
    device.resume?.();
    expect([driver.text(4), agent.text, driver.messages()]).toEqual(["while stopped", "too", []]);
  });

  it("goes on in another process, half a chain sent, and tells that another client is or is not there", () => {
    const { context, device, driver, agent } = begin();
    const large = Buffer.alloc(100_000, "abcdefg");
    const take = agent.write.bind(agent);
    agent.write = (piece) => {
      take(piece);
      agent.setWritable(false);
    };
    driver.messages();
    driver.give(2, 64);
    driver.send(5, large);
    const { checkpoint } = device;
    if (checkpoint.kind !== "state") throw new TypeError("it has a state");
    const state = structuredClone(checkpoint.save());
    for (const opened of [true, false]) {
      const copyContext = new FakeDeviceContext();
      copyContext.memory.bytes.set(context.memory.bytes);
      const copy = make(copyContext);
      const other = copyContext.characterDevice("agent");
      other.setOpened(opened);
      if (copy.checkpoint.kind === "state") copy.checkpoint.restore(state);
      expect(other.listening).toBe(true);
      copy.resume?.();
      const rest = large.subarray(65_536).toString();
      expect(other.text).toBe(opened ? rest : "");
      // The buffers that the original's driver gave are in RAM; what is written there can be seen.
      const before = Buffer.from(context.memory.bytes);
      const told = Buffer.compare(
        before.subarray(0xc000, 0x1_0000),
        copyContext.memory.bytes.subarray(0xc000, 0x1_0000),
      );
      expect(told === 0).toBe(opened);
    }
  });

  it("ignores what makes no sense", () => {
    const { driver, agent } = begin();
    driver.messages();
    driver.control(2, event.open, 1);
    driver.control(99, event.portReady, 1);
    driver.control(1, 77, 1);
    driver.control(1, event.portReady, 0);
    driver.control(0, event.ready, 0);
    driver.send(3, bytes("short"));
    driver.give(4, 0);
    driver.queue(4).offer({ readable: [bytes("no room")] });
    driver.pci.notify(4);
    agent.type("input");
    driver.give(4, 64);
    expect(driver.messages()).toEqual([]);
    expect(driver.text(4)).toBe("input");
    expect(driver.pci.status & 0x40).toBe(0);
  });

  it("needs a reset after a chain that leads nowhere", () => {
    const { driver, agent } = begin();
    driver.queue(5).writeDescriptor(0, { address: 0xffff_ffff_ffffn, length: 16, flags: 0, next: 0 });
    driver.queue(5).makeAvailable(0);
    driver.pci.notify(5);
    expect(driver.pci.status & 0x40).toBe(0x40);
    agent.type("x");
    expect(agent.text).toBe("");
  });
});

describe("the bus of virtio-serial-pci", () => {
  it.each([
    [{ chardev: "a", nr: "0" }, "Port number 0 on virtio-serial devices reserved for virtconsole devices"],
    [{ chardev: "a", nr: "1" }, "A port already exists at id 1"],
    [{ chardev: "a", nr: "9" }, "Out-of-range port id specified, max. allowed: 2"],
    [{ chardev: "a", name: "org.qemu.guest_agent.0" }, "A port already exists by name org.qemu.guest_agent.0"],
    [{}, "chardev"],
  ])("refuses a port with %j", (properties, message) => {
    const context = new FakeDeviceContext();
    const bus = make(context).buses?.["virtio-serial"];
    expect(() => new VirtSerialPortModel().create(contextFor(context, "port9", { bus, ...properties }))).toThrow(
      message,
    );
  });

  it("takes no more ports than there can be", () => {
    const context = new FakeDeviceContext();
    const bus = make(context).buses?.["virtio-serial"];
    const plug = (chardev: string) => new VirtConsoleModel().create(contextFor(context, chardev, { bus, chardev }));
    expect(plug("b").checkpoint).toEqual({ kind: "stateless" });
    expect(() => plug("c")).toThrow("Out-of-range port id specified");
  });
});
