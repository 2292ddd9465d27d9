import { randomUUID } from "node:crypto";
import type { Device, DeviceContext, DeviceModel, GeneralEvents, GenerationIdentifier } from "@cpr/core";
import { Properties } from "../properties.ts";
import { stateCheckpoint } from "../state-checkpoint.ts";
import { type VmgenidState, vmgenidState } from "./state.ts";

const size = 16;

/**
 * The virtual machine generation identifier (Microsoft, Virtual Machine Generation ID; QEMU docs/specs/vmgenid.rst): 16 bytes in RAM that
 * are others when the guest goes on for the second time from the same state, so that it makes new secrets and random numbers. An event
 * tells it to look.
 */
class Vmgenid implements Device, GenerationIdentifier {
  readonly id: string;
  readonly checkpoint = stateCheckpoint(
    vmgenidState,
    () => ({ guid: this.#guid.slice(), changed: this.#changed }),
    (state) => this.#restore(state),
  );

  readonly #context: DeviceContext;
  readonly #events: GeneralEvents;
  readonly #address: number;
  readonly #event: number;
  /** What the user wants it to be, always. */
  readonly #given: Uint8Array | undefined;
  #guid: Uint8Array;
  #changed = false;

  constructor(context: DeviceContext) {
    const properties = new Properties(context);
    this.id = context.id;
    this.#context = context;
    this.#events = properties.part<GeneralEvents>("generalEvents", "raiseGeneralEvent");
    this.#address = properties.integer("address", 0xffff_fff0);
    this.#event = properties.integer("event", 15);
    const given = properties.uuid("guid", "auto");
    this.#given = given === "auto" ? undefined : guidOf(given);
    this.#guid = this.#given ?? guidOf(randomUUID());
  }

  /** The identifier outlives a reset of the guest. */
  reset(): void {
    // It has no other state.
  }

  publish(): void {
    this.#write();
    this.#changed = false;
  }

  branched(): void {
    if (this.#given === undefined) {
      this.#guid = guidOf(randomUUID());
      this.#changed = true;
    }
  }

  /** RAM changes no sooner than the guest runs: until then it may belong to a checkpoint. */
  resume(): void {
    if (this.#changed) {
      this.#write();
      this.#changed = false;
      this.#events.raiseGeneralEvent(this.#event);
    }
  }

  #write(): void {
    this.#context.memory.slice(this.#address, size).set(this.#guid);
  }

  #restore({ guid, changed }: VmgenidState): void {
    const other = this.#given !== undefined && !Buffer.from(guid).equals(this.#given);
    this.#guid = this.#given ?? guid.slice();
    this.#changed = changed || other;
  }
}

/** The bytes of a GUID, of whose text the first three fields are numbers. */
function guidOf(text: string): Uint8Array {
  const bytes = Buffer.from(text.replaceAll("-", ""), "hex");
  bytes.subarray(0, 4).swap32();
  bytes.subarray(4, 8).swap16();
  return bytes;
}

/**
 * Makes the generation identifier. Properties: `guid`, a UUID or `auto`, the default: a random one. The board gives `address`, where it is
 * in RAM, and `generalEvents` with the number `event` by which the guest is told of a change.
 */
export class VmgenidModel implements DeviceModel {
  readonly name = "vmgenid";
  readonly plugsInto = "board";
  readonly properties = { guid: "a UUID, or auto for a random one" };

  create(context: DeviceContext): Device & GenerationIdentifier {
    return new Vmgenid(context);
  }
}
