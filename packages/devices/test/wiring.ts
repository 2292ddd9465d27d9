import type { ApicBus, ApicMessage, ExternalInterrupts, LocalApic } from "@cpr/core";

/** An APIC bus that remembers what was sent, and brings it to the local APICs that are attached. */
export class RecordingApicBus implements ApicBus {
  readonly messages: ApicMessage[] = [];
  readonly ended: number[] = [];
  /** What each pin of the IOAPIC sends, as told last. */
  readonly routes = new Map<number, ApicMessage>();
  readonly apics: LocalApic[] = [];

  send(message: ApicMessage, except?: LocalApic): void {
    this.messages.push(message);
    for (const apic of this.apics) {
      if (apic !== except && apic.matches(message)) apic.receive(message);
    }
  }

  route(pin: number, message: ApicMessage | undefined): void {
    if (message === undefined) this.routes.delete(pin);
    else this.routes.set(pin, message);
  }

  endOfInterrupt(vector: number): void {
    this.ended.push(vector);
  }
}

/** A stand-in for the 8259A pair: it asks when it is told to and answers with one vector. */
export class ManualExternalInterrupts implements ExternalInterrupts {
  onChange: () => void = () => undefined;
  readonly vector: number;
  #requested = false;

  constructor(vector: number) {
    this.vector = vector;
  }

  request(requested: boolean): void {
    this.#requested = requested;
    this.onChange();
  }

  requested(): boolean {
    return this.#requested;
  }

  acknowledge(): number {
    this.request(false);
    return this.vector;
  }
}
