import type { ApicMessage } from "@cpr/core";

const allOnes = 0xffff_ffff;

/** The registers by which a local APIC knows that a message is for it. */
export interface DestinationRegisters {
  readonly x2apic: boolean;
  readonly id: number;
  readonly logicalDestination: number;
  readonly destinationFormat: number;
}

/** The logical destination register in x2APIC mode: cluster and a bit in it (Intel SDM Vol. 3A §11.12.10.2). */
export function x2apicLogicalId(id: number): number {
  return (((id >>> 4) << 16) | (1 << (id & 0xf))) >>> 0;
}

/** Whether a message's destination names a local APIC (Intel SDM Vol. 3A §11.6.2). */
export function isDestination({ destination, logical }: ApicMessage, registers: DestinationRegisters): boolean {
  const { x2apic, id, logicalDestination, destinationFormat } = registers;
  if (destination === allOnes || (destination === 0xff && !(logical && x2apic))) {
    return true;
  }
  if (!logical) {
    return destination === id;
  }
  if (x2apic) {
    const own = x2apicLogicalId(id);
    return destination >>> 16 === own >>> 16 && (destination & own & 0xffff) !== 0;
  }
  const own = logicalDestination >>> 24;
  return destinationFormat === allOnes
    ? (own & destination) !== 0
    : own >> 4 === destination >> 4 && (own & destination & 0xf) !== 0;
}
