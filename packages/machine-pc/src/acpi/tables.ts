import { apicAddress, facsAddress, facsSize, firmwareArea, interrupts, powerPort, timerPin } from "../layout.ts";
import { type DefinedHardware, differentiatedDefinitions } from "./dsdt.ts";

const headerSize = 36;
const oemId = "CPR";
const oemTableId = "CPRPC";
const creatorId = "CPR";

/** Sizes and revisions of ACPI 5.1 (FADT revision 5.1) and of the tables that it names. */
const fadtSize = 268;
const rsdpSize = 36;

/** FADT flags (ACPI 6.5 table 5.10). */
const fadtFlags =
  (1 << 0) | // WBINVD works.
  (1 << 2) | // C1 (HLT) works on all processors.
  (1 << 5) | // There is no sleep button in the fixed hardware; the power button is there (bit 4 clear).
  (1 << 6) | // RTC wake is not reported in the fixed hardware.
  (1 << 10); // The reset register is there.

/** IA-PC boot architecture flags (ACPI 6.5 table 5.11): legacy devices, a keyboard controller, no VGA. */
const bootArchitecture = 0x0001 | 0x0002 | 0x0004;

/** What the FADT's century field names in the CMOS memory. */
const centuryRegister = 0x32;
const resetValue = 0x0e;

/** Address space ids of a generic address structure. */
const ioSpace = 1;

/** What the tables describe. */
export interface AcpiConfiguration extends DefinedHardware {
  readonly ioapicId: number;
}

/** The tables as they lie in guest RAM. */
export interface AcpiImage {
  /** Guest-physical address of {@link bytes}. */
  readonly address: number;
  readonly bytes: Uint8Array;
  /** Guest-physical address of the RSDP. */
  readonly rootPointer: number;
  /** Single tables by their signature, for tests. */
  readonly tables: Readonly<Record<string, Uint8Array>>;
}

class Table {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** A table with the header that most have (ACPI 6.5 §5.2.6); {@link checksum} completes it. */
  static described(signature: string, revision: number, size: number): Table {
    const table = new Table(size);
    return table
      .text(0, signature, 4)
      .u32(4, size)
      .u8(8, revision)
      .text(10, oemId, 6)
      .text(16, oemTableId, 8)
      .u32(24, 1)
      .text(28, creatorId, 4)
      .u32(32, 1);
  }

  u8(at: number, value: number): this {
    this.#view.setUint8(at, value);
    return this;
  }

  u16(at: number, value: number): this {
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(at: number, value: number): this {
    this.#view.setUint32(at, value, true);
    return this;
  }

  u64(at: number, value: number): this {
    this.#view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  text(at: number, value: string, length: number): this {
    this.bytes.set(Buffer.from(value.padEnd(length), "latin1"), at);
    return this;
  }

  /** A generic address structure (ACPI 6.5 §5.2.3.2) for I/O ports. `accessSize`: 1 byte, 2 word, 3 double word. */
  ports(at: number, address: number, bits: number, accessSize: number): this {
    return this.u8(at, ioSpace)
      .u8(at + 1, bits)
      .u8(at + 2, 0)
      .u8(at + 3, accessSize)
      .u64(at + 4, address);
  }

  /** Makes the bytes from the table's start up to `length` sum up to 0 by the one at `at`. */
  checksum(at: number, length = this.bytes.length): this {
    this.bytes[at] = 0;
    const sum = this.bytes.subarray(0, length).reduce((total, byte) => total + byte, 0);
    this.bytes[at] = -sum & 0xff;
    return this;
  }
}

/** Builds all tables: RSDP, XSDT, FADT, FACS, DSDT, MADT (ACPI 6.5 §5.2). */
export function buildAcpiTables(configuration: AcpiConfiguration): AcpiImage {
  const bytes = new Uint8Array(firmwareArea.size);
  const facs = hardwareSignature();
  bytes.set(facs, facsAddress - firmwareArea.address);
  let end = facsAddress - firmwareArea.address + facsSize;
  const place = (table: Uint8Array): number => {
    const offset = Math.ceil(end / 16) * 16;
    bytes.set(table, offset);
    end = offset + table.length;
    return firmwareArea.address + offset;
  };

  const dsdt = definitionTable(configuration);
  const madt = interruptTable(configuration);
  const fadt = fixedTable(facsAddress, place(dsdt));
  const rootTable = Table.described("XSDT", 1, headerSize + 2 * 8)
    .u64(headerSize, place(fadt))
    .u64(headerSize + 8, place(madt))
    .checksum(9);
  const rsdp = rootPointer(place(rootTable.bytes));
  bytes.set(rsdp);
  return {
    address: firmwareArea.address,
    bytes: bytes.subarray(0, end),
    rootPointer: firmwareArea.address,
    tables: { "RSD PTR ": rsdp, XSDT: rootTable.bytes, FACP: fadt, FACS: facs, DSDT: dsdt, APIC: madt },
  };
}

/** ACPI 6.5 §5.2.5.3. There is no RSDT: the XSDT is enough since ACPI 2.0. */
function rootPointer(xsdt: number): Uint8Array {
  return new Table(rsdpSize)
    .text(0, "RSD PTR ", 8)
    .text(9, oemId, 6)
    .u8(15, 2)
    .u32(20, rsdpSize)
    .u64(24, xsdt)
    .checksum(8, 20)
    .checksum(32).bytes;
}

/** ACPI 6.5 §5.2.9. */
function fixedTable(facs: number, dsdt: number): Uint8Array {
  return (
    Table.described("FACP", 5, fadtSize)
      .u32(36, facs)
      .u32(40, dsdt)
      .u16(46, interrupts.systemControl)
      // SMI_CMD is 0: ACPI mode is always on.
      .u32(48, 0)
      .u32(56, powerPort.events)
      .u32(64, powerPort.control)
      .u32(76, powerPort.timer)
      .u32(80, powerPort.generalEvents)
      .u8(88, 4)
      .u8(89, 2)
      .u8(91, 4)
      .u8(92, 4)
      // More than 100 and 1000 µs: there are no C2 and C3 states.
      .u16(96, 0x0fff)
      .u16(98, 0x0fff)
      .u8(108, centuryRegister)
      .u16(109, bootArchitecture)
      .u32(112, fadtFlags)
      .ports(116, powerPort.reset, 8, 1)
      .u8(128, resetValue)
      // The minor version.
      .u8(131, 1)
      // NOTE: X_FIRMWARE_CTRL stays 0, as only one of the two may name the FACS; for the DSDT both are filled.
      .u64(140, dsdt)
      .ports(148, powerPort.events, 32, 2)
      .ports(172, powerPort.control, 16, 2)
      .ports(208, powerPort.timer, 32, 3)
      .ports(220, powerPort.generalEvents, 32, 1)
      .checksum(9).bytes
  );
}

/** ACPI 6.5 §5.2.10. It has no checksum. */
function hardwareSignature(): Uint8Array {
  return new Table(facsSize).text(0, "FACS", 4).u32(4, facsSize).u8(32, 2).bytes;
}

/** ACPI 6.5 §5.2.11.1. Revision 2: integers have 64 bits. */
function definitionTable(hardware: DefinedHardware): Uint8Array {
  const code = differentiatedDefinitions(hardware);
  const table = Table.described("DSDT", 2, headerSize + code.length);
  table.bytes.set(code, headerSize);
  return table.checksum(9).bytes;
}

/** ACPI 6.5 §5.2.12. */
function interruptTable({ processorCount, ioapicId }: AcpiConfiguration): Uint8Array {
  const localApics = Array.from({ length: processorCount }, (_, index) =>
    new Table(8).u8(0, 0).u8(1, 8).u8(2, index).u8(3, index).u32(4, 1),
  );
  const ioapic = new Table(12).u8(0, 1).u8(1, 12).u8(2, ioapicId).u32(4, apicAddress.io).u32(8, 0);
  // Flags: bits 1:0 polarity, 3:2 trigger mode; 0 is the bus's own, 0xd is active high and level-triggered.
  const override = (source: number, pin: number, flags: number): Table =>
    new Table(10).u8(0, 2).u8(1, 10).u8(2, 0).u8(3, source).u32(4, pin).u16(8, flags);
  const overrides = [
    override(interrupts.timer, timerPin, 0),
    override(interrupts.systemControl, interrupts.systemControl, 0xd),
  ];
  // LINT1 of all processors is NMI.
  const nmi = new Table(6).u8(0, 4).u8(1, 6).u8(2, 0xff).u16(3, 0).u8(5, 1);
  const entries = [...localApics, ioapic, ...overrides, nmi].map(({ bytes }) => bytes);
  const table = Table.described("APIC", 3, headerSize + 8 + entries.reduce((sum, { length }) => sum + length, 0))
    .u32(headerSize, apicAddress.local)
    // There is a pair of 8259A.
    .u32(headerSize + 4, 1);
  let at = headerSize + 8;
  for (const entry of entries) {
    table.bytes.set(entry, at);
    at += entry.length;
  }
  return table.checksum(9).bytes;
}
