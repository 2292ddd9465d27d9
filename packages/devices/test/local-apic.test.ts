import { type ApicMessage, type Device, defaultTscFrequency, type LocalApic } from "@cpr/core";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { beforeEach, describe, expect, it } from "vitest";
import { LocalApicModel } from "../src/index.ts";
import { ManualExternalInterrupts, RecordingApicBus } from "./wiring.ts";

const enabled = 0xfee0_0800n;
const x2apic = 0xfee0_0c00n;
const bootProcessor = 0x100n;

describe("local-apic", () => {
  let context: FakeDeviceContext;
  let bus: RecordingApicBus;
  let external: ManualExternalInterrupts;
  let apic: Device & LocalApic;

  const create = (index: number): Device & LocalApic => {
    const properties = { index, apicBus: bus, ...(index === 0 ? { external } : {}) };
    const made = new LocalApicModel().create(new FakeDeviceContext({ properties, clock: context.clock }));
    bus.apics.push(made);
    return made;
  };
  const message = (vector: number, more: Partial<ApicMessage> = {}): ApicMessage => ({
    destination: 0,
    logical: false,
    deliveryMode: "fixed",
    vector,
    trigger: "edge",
    ...more,
  });

  beforeEach(() => {
    bus = new RecordingApicBus();
    external = new ManualExternalInterrupts(0x20);
    context = new FakeDeviceContext({ properties: { index: 0, apicBus: bus, external } });
    apic = new LocalApicModel().create(context);
    bus.apics.push(apic);
    apic.writeRegister(0x0f0, 0x1ff);
  });

  describe("priorities", () => {
    it("gives the highest vector first and holds off its class and lower ones until its end", () => {
      apic.receive(message(0x41));
      apic.receive(message(0x52));
      expect(apic.acknowledge()).toBe(0x52);
      apic.receive(message(0x51));
      expect(apic.pending()).toBe(false);
      expect(apic.processorPriority).toBe(0x50);
      apic.receive(message(0x61));
      expect(apic.acknowledge()).toBe(0x61);
      apic.writeRegister(0x0b0, 0);
      expect(apic.pending()).toBe(false);
      apic.writeRegister(0x0b0, 0);
      expect(apic.acknowledge()).toBe(0x51);
    });

    it("holds off what the task priority does not let through, as CR8 and as a register", () => {
      apic.receive(message(0x45));
      apic.taskPriority = 4;
      expect(apic.readRegister(0x080)).toBe(0x40);
      expect(apic.pending()).toBe(false);
      apic.writeRegister(0x080, 0x3f);
      expect(apic.taskPriority).toBe(3);
      expect(apic.pending()).toBe(true);
    });

    it("answers with the spurious vector if the interrupt has become held off meanwhile", () => {
      apic.receive(message(0x45));
      apic.taskPriority = 15;
      expect(apic.acknowledge()).toBe(0xff);
      apic.taskPriority = 0;
      expect(apic.acknowledge()).toBe(0x45);
    });

    it("tells the vCPU once when an interrupt begins to wait", () => {
      let told = 0;
      apic.onChange = () => told++;
      apic.receive(message(0x41));
      const once = told;
      expect(once).toBeGreaterThan(0);
      apic.receive(message(0x42));
      expect(told).toBe(once);
    });

    it("takes nothing while it is disabled by software, and masks the local vector table", () => {
      apic.writeRegister(0x370, 0xfe);
      apic.writeRegister(0x0f0, 0x0ff);
      apic.receive(message(0x41));
      expect(apic.pending()).toBe(false);
      expect(apic.readRegister(0x370)).toBe(0x1_00fe);
      apic.writeRegister(0x370, 0xfe);
      expect(apic.readRegister(0x370)).toBe(0x1_00fe);
    });

    it("tells the IOAPICs of the end of level-triggered interrupts only", () => {
      apic.receive(message(0x41, { trigger: "level" }));
      apic.acknowledge();
      apic.writeRegister(0x0b0, 0);
      apic.receive(message(0x41));
      apic.acknowledge();
      apic.writeRegister(0x0b0, 0);
      expect(bus.ended).toEqual([0x41]);
    });
  });

  describe("timer", () => {
    it("fires once, after the count times the divisor", () => {
      apic.writeRegister(0x3e0, 0x3); // by 16
      apic.writeRegister(0x320, 0xec);
      apic.writeRegister(0x380, 1000);
      context.advance(15_999);
      expect(apic.pending()).toBe(false);
      expect(apic.readRegister(0x390)).toBe(1);
      context.advance(1);
      expect(apic.acknowledge()).toBe(0xec);
      expect(apic.readRegister(0x390)).toBe(0);
      context.advance(1_000_000);
      expect(apic.pending()).toBe(false);
    });

    it("fires again and again in periodic mode, and loses what the vCPU was too slow for", () => {
      apic.writeRegister(0x3e0, 0xb); // by 1
      apic.writeRegister(0x320, 0x2_00ec);
      apic.writeRegister(0x380, 1_000_000);
      for (let period = 0; period < 3; period++) {
        context.advance(1_000_000);
        expect(apic.acknowledge()).toBe(0xec);
        apic.writeRegister(0x0b0, 0);
      }
      context.clock.advance(10_500_000);
      context.timers.runDue();
      expect(context.timers.nextDeadline()).toBe(14_000_000);
      apic.writeRegister(0x380, 0);
      expect(context.timers.nextDeadline()).toBeUndefined();
    });

    it("compares a TSC deadline with the guest's counter", () => {
      apic.writeRegister(0x320, 0x4_00ec);
      expect(apic.writeMsr(0x6e0, 5_000_000n)).toBe(true);
      expect(context.timers.nextDeadline()).toBe(5_000_000);
      apic.timestampCounter = { frequency: defaultTscFrequency, offset: 4_000_000n };
      expect(context.timers.nextDeadline()).toBe(1_000_000);
      expect(apic.readMsr(0x6e0)).toBe(5_000_000n);
      context.advance(1_000_000);
      expect(apic.acknowledge()).toBe(0xec);
      expect(apic.readMsr(0x6e0)).toBe(0n);
      // A deadline in the past fires at once, the greatest one never.
      apic.writeRegister(0x0b0, 0);
      apic.writeMsr(0x6e0, 1n);
      context.advance(0);
      expect(apic.acknowledge()).toBe(0xec);
      apic.writeMsr(0x6e0, 0xffff_ffff_ffff_ffffn);
      expect(context.timers.nextDeadline()).toBe(Number.MAX_SAFE_INTEGER);
    });

    it("ignores the deadline in the other modes and the count in this one", () => {
      apic.writeMsr(0x6e0, 5n);
      expect(apic.readMsr(0x6e0)).toBe(0n);
      apic.writeRegister(0x320, 0x4_00ec);
      apic.writeRegister(0x380, 100);
      expect(context.timers.nextDeadline()).toBeUndefined();
      apic.writeMsr(0x6e0, 1_000n);
      apic.writeRegister(0x320, 0x0_00ec);
      expect(context.timers.nextDeadline()).toBeUndefined();
    });
  });

  describe("interprocessor interrupts", () => {
    it("reaches others by id, by logical destination and by shorthand", () => {
      const other = create(1);
      other.writeRegister(0x0f0, 0x1ff);
      other.writeRegister(0x0d0, 0x0200_0000);
      apic.writeRegister(0x310, 0x0100_0000);
      apic.writeRegister(0x300, 0x0041);
      expect(other.acknowledge()).toBe(0x41);
      apic.writeRegister(0x310, 0x0200_0000);
      apic.writeRegister(0x300, 0x0852);
      expect(other.acknowledge()).toBe(0x52);
      expect(apic.pending()).toBe(false);
      apic.writeRegister(0x300, 0x8_0063);
      expect([apic.acknowledge(), other.acknowledge()]).toEqual([0x63, 0x63]);
      apic.writeRegister(0x300, 0xc_0074);
      expect([apic.pending(), other.acknowledge()]).toEqual([false, 0x74]);
      apic.writeRegister(0x300, 0x4_0085);
      expect([apic.acknowledge(), other.pending()]).toEqual([0x85, false]);
    });

    it("resets and starts another vCPU with INIT and start-up", () => {
      const other = create(1);
      other.writeRegister(0x0f0, 0x1ff);
      apic.writeRegister(0x310, 0x0100_0000);
      apic.writeRegister(0x300, 0xc500);
      expect(other.takeEvent()).toEqual({ kind: "init" });
      expect(other.readRegister(0x0f0)).toBe(0xff);
      apic.writeRegister(0x300, 0x8500);
      expect(other.takeEvent()).toBeUndefined();
      apic.writeRegister(0x300, 0x4699);
      expect(other.takeEvent()).toEqual({ kind: "startup", vector: 0x99 });
      apic.writeRegister(0x300, 0x4400);
      expect(other.takeEvent()).toEqual({ kind: "nmi" });
      expect(other.takeEvent()).toBeUndefined();
    });

    it("reports illegal vectors and registers in the error status register, with an interrupt", () => {
      apic.writeRegister(0x370, 0xfe);
      apic.writeRegister(0x300, 0x4_0005);
      expect(apic.acknowledge()).toBe(0xfe);
      expect(apic.readRegister(0x280)).toBe(0);
      apic.writeRegister(0x280, 0);
      expect(apic.readRegister(0x280)).toBe(0x20);
      apic.receive(message(0x05));
      apic.readRegister(0x3d0);
      apic.writeRegister(0x280, 0);
      expect(apic.readRegister(0x280)).toBe(0xc0);
    });

    it("matches cluster destinations", () => {
      apic.writeRegister(0x0e0, 0x0fff_ffff);
      apic.writeRegister(0x0d0, 0x2400_0000);
      expect(apic.matches(message(0x41, { logical: true, destination: 0x24 }))).toBe(true);
      expect(apic.matches(message(0x41, { logical: true, destination: 0x14 }))).toBe(false);
      expect(apic.matches(message(0x41, { logical: true, destination: 0x2b }))).toBe(false);
    });
  });

  describe("x2APIC", () => {
    it("is entered through the base register, whose illegal values fault", () => {
      expect(apic.readMsr(0x1b)).toBe(enabled | bootProcessor);
      expect(apic.readMsr(0x802)).toBeUndefined();
      expect(apic.writeMsr(0x808, 0n)).toBe("fault");
      expect(apic.writeMsr(0x1b, 0x1000n | enabled)).toBe("fault");
      expect(apic.writeMsr(0x1b, 0xfee0_0400n)).toBe("fault");
      expect(apic.writeMsr(0x1b, x2apic | bootProcessor)).toBe(true);
      expect(apic.writeMsr(0x1b, enabled | bootProcessor)).toBe("fault");
      expect(apic.readRegister(0x030)).toBe(0xffff_ffff);
      expect(apic.readMsr(0x803)).toBe(0x0005_0014n);
    });

    it("has ids of 32 bits, a derived logical destination and one command register", () => {
      const other = create(0x23);
      other.writeRegister(0x0f0, 0x1ff);
      other.writeMsr(0x1b, x2apic);
      expect(other.readMsr(0x802)).toBe(0x23n);
      expect(other.readMsr(0x80d)).toBe(0x0002_0008n);
      apic.writeMsr(0x1b, x2apic | bootProcessor);
      apic.writeMsr(0x830, (0x0002_0008n << 32n) | 0x0841n);
      expect(other.acknowledge()).toBe(0x41);
      apic.writeMsr(0x83f, 0x55n);
      expect(apic.acknowledge()).toBe(0x55);
    });

    it("faults on reserved and read-only registers", () => {
      apic.writeMsr(0x1b, x2apic | bootProcessor);
      expect(apic.writeMsr(0x802, 1n)).toBe("fault");
      expect(apic.writeMsr(0x80b, 1n)).toBe("fault");
      expect(apic.writeMsr(0x80e, 0n)).toBe("fault");
      expect(apic.writeMsr(0x808, 0x1_0000_0000n)).toBe("fault");
      expect(apic.readMsr(0x80b)).toBeUndefined();
      expect(apic.readMsr(0x80e)).toBeUndefined();
      expect(apic.writeMsr(0x10, 0n)).toBe(false);
    });

    it("starts anew after it was disabled", () => {
      apic.writeMsr(0x1b, x2apic | bootProcessor);
      apic.writeMsr(0x1b, 0xfee0_0000n | bootProcessor);
      expect(apic.readRegister(0x0f0)).toBe(0xffff_ffff);
      apic.writeMsr(0x1b, enabled | bootProcessor);
      expect(apic.readRegister(0x0f0)).toBe(0xff);
    });
  });

  describe("virtual wire", () => {
    it("brings the 8259A pair's interrupts to the boot processor through LINT0", () => {
      apic.reset();
      external.request(true);
      expect(apic.pending()).toBe(true);
      expect(apic.acknowledge()).toBe(0x20);
      expect(apic.pending()).toBe(false);
    });

    it("is cut by masking LINT0, and bypassed by disabling the APIC", () => {
      apic.writeRegister(0x350, 0x1_0700);
      external.request(true);
      expect(apic.pending()).toBe(false);
      apic.writeMsr(0x1b, 0xfee0_0000n | bootProcessor);
      expect(apic.acknowledge()).toBe(0x20);
    });

    it("takes an ExtINT message of the IOAPIC", () => {
      apic.writeRegister(0x350, 0x1_0700);
      apic.receive(message(0, { deliveryMode: "external" }));
      expect(apic.acknowledge()).toBe(0x20);
      expect(apic.pending()).toBe(false);
    });
  });

  it("goes on in another process: what is in service, what waits, and the timer", () => {
    apic.receive(message(0x61, { trigger: "level" }));
    apic.acknowledge();
    apic.receive(message(0x51));
    apic.receive(message(0, { deliveryMode: "nmi" }));
    apic.writeRegister(0x320, 0x4_00ec);
    apic.timestampCounter = { frequency: defaultTscFrequency, offset: 1_000n };
    apic.writeMsr(0x6e0, 9_000n);
    if (apic.checkpoint.kind !== "state") throw new Error("it has no state");
    const otherContext = new FakeDeviceContext({ properties: { index: 0, apicBus: bus }, clock: context.clock });
    const other = new LocalApicModel().create(otherContext);
    if (other.checkpoint.kind !== "state") throw new Error("it has no state");
    // The backend restores the counter before, in the state of the vCPU.
    other.timestampCounter = { frequency: defaultTscFrequency, offset: 1_000n };
    other.checkpoint.restore(apic.checkpoint.save());
    expect(otherContext.timers.nextDeadline()).toBe(8_000);
    expect(other.takeEvent()).toEqual({ kind: "nmi" });
    expect(other.pending()).toBe(false);
    other.writeRegister(0x0b0, 0);
    expect(bus.ended).toEqual([0x61]);
    expect(other.acknowledge()).toBe(0x51);
  });
});
