import type { ApicBus, ApicMessage, LocalApic } from "@cpr/core";

/** What an IOAPIC is told by the bus. */
export interface EndOfInterruptTarget {
  endOfInterrupt(vector: number): void;
}

/** Joins the local APICs and the IOAPIC of one machine. */
export class PcApicBus implements ApicBus {
  readonly #localApics: LocalApic[] = [];
  readonly #targets: EndOfInterruptTarget[] = [];

  attachLocalApic(apic: LocalApic): void {
    this.#localApics.push(apic);
  }

  attachIoapic(ioapic: EndOfInterruptTarget): void {
    this.#targets.push(ioapic);
  }

  send(message: ApicMessage, except?: LocalApic): void {
    const targets = this.#localApics.filter((apic) => apic !== except && apic.matches(message));
    if (message.deliveryMode !== "lowest-priority") {
      for (const apic of targets) apic.receive(message);
      return;
    }
    let chosen: LocalApic | undefined;
    for (const apic of targets) {
      if (chosen === undefined || apic.processorPriority < chosen.processorPriority) chosen = apic;
    }
    chosen?.receive(message);
  }

  route(): void {
    // These local APICs need not know of a message before it is sent.
  }

  endOfInterrupt(vector: number): void {
    for (const target of this.#targets) target.endOfInterrupt(vector);
  }
}
