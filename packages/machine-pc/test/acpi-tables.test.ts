import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { cachedDebianPackages, DebianArchiveError } from "../../../tools/debian-archive.ts";
import { buildAcpiTables } from "../src/acpi/tables.ts";
import { scratchFolder } from "./test-machine.ts";

const configuration = { processorCount: 3, serialCount: 2, ioapicId: 3 };
const added = { panicPort: true, generationIdentifier: true, pciBus: true };

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function sum(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => total + byte, 0) & 0xff;
}

/** Path of ACPICA's compiler: the system's, or one from Debian's archive. */
async function findCompiler(): Promise<string> {
  const installed = ["/usr/bin/iasl", "/usr/local/bin/iasl"].find((path) => existsSync(path));
  if (installed !== undefined) {
    return installed;
  }
  const folder = fileURLToPath(new URL("../../../.cache/acpica-tools", import.meta.url));
  return join(await cachedDebianPackages(folder, ["acpica-tools"]), "usr/bin/iasl");
}

describe("ACPI tables", () => {
  const image = buildAcpiTables(configuration);
  const { tables } = image;
  const at = (address: number, length: number): Uint8Array =>
    image.bytes.subarray(address - image.address, address - image.address + length);

  it("have correct checksums and lengths", () => {
    for (const [signature, table] of Object.entries(tables)) {
      expect(Buffer.from(table.subarray(0, signature.length)).toString()).toBe(signature);
      if (signature === "RSD PTR ") {
        expect([sum(table), sum(table.subarray(0, 20))]).toEqual([0, 0]);
      } else {
        expect(viewOf(table).getUint32(4, true)).toBe(table.length);
        if (signature !== "FACS") expect(sum(table), signature).toBe(0);
      }
    }
  });

  it("lead from the RSDP to every table", () => {
    const rsdp = viewOf(at(image.rootPointer, 36));
    const xsdt = at(Number(rsdp.getBigUint64(24, true)), 52);
    expect(xsdt).toEqual(tables.XSDT);
    const [fadt, madt] = [36, 44].map((offset) => Number(viewOf(xsdt).getBigUint64(offset, true)));
    expect(at(fadt as number, 268)).toEqual(tables.FACP);
    expect(at(madt as number, tables.APIC?.length ?? 0)).toEqual(tables.APIC);
    const fadtView = viewOf(tables.FACP as Uint8Array);
    const facs = fadtView.getUint32(36, true);
    expect(facs % 64).toBe(0);
    expect(at(facs, 64)).toEqual(tables.FACS);
    expect(at(fadtView.getUint32(40, true), tables.DSDT?.length ?? 0)).toEqual(tables.DSDT);
    expect(fadtView.getBigUint64(140, true)).toBe(BigInt(fadtView.getUint32(40, true)));
  });

  it("describe the fixed hardware where the machine has it", () => {
    const fadt = viewOf(tables.FACP as Uint8Array);
    expect(fadt.getUint16(46, true)).toBe(9);
    expect([56, 64, 76, 80].map((offset) => fadt.getUint32(offset, true))).toEqual([0x600, 0x604, 0x608, 0x620]);
    expect([148, 172, 208, 220].map((offset) => Number(fadt.getBigUint64(offset + 4, true)))).toEqual([
      0x600, 0x604, 0x608, 0x620,
    ]);
    // The reset register: an I/O port, a byte wide, and what to write.
    expect([fadt.getUint8(116), fadt.getUint8(117), Number(fadt.getBigUint64(120, true)), fadt.getUint8(128)]).toEqual([
      1, 8, 0xcf9, 0x0e,
    ]);
    const flags = fadt.getUint32(112, true);
    // Reset register there, power button in the fixed hardware, not hardware-reduced, the timer 24 bits wide.
    expect([flags & (1 << 10), flags & (1 << 4), flags & (1 << 20), flags & (1 << 8)]).toEqual([1 << 10, 0, 0, 0]);
  });

  it("list processors, IOAPIC, overrides and NMI", () => {
    const madt = viewOf(tables.APIC as Uint8Array);
    const entries: number[][] = [];
    for (let offset = 44; offset < madt.byteLength; offset += madt.getUint8(offset + 1)) {
      entries.push(Array.from({ length: madt.getUint8(offset + 1) }, (_, index) => madt.getUint8(offset + index)));
    }
    expect(madt.getUint32(36, true)).toBe(0xfee0_0000);
    expect(entries).toEqual([
      [0, 8, 0, 0, 1, 0, 0, 0],
      [0, 8, 1, 1, 1, 0, 0, 0],
      [0, 8, 2, 2, 1, 0, 0, 0],
      [1, 12, 3, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
      [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
      [2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
      [4, 6, 0xff, 0, 0, 1],
    ]);
  });

  it("are what ACPICA's compiler makes of their own disassembly, without a complaint", async ({ skip }) => {
    const iasl = await findCompiler().catch((error: unknown) => {
      if (error instanceof DebianArchiveError) return skip(error.message);
      throw error;
    });
    const folder = scratchFolder();
    const full = buildAcpiTables({ ...configuration, ...added, processorCount: 300, serialCount: 4 }).tables;
    const cases = [
      ...["DSDT", "FACP", "APIC", "XSDT", "FACS"].map((signature) => ({ signature, table: tables[signature] })),
      { signature: "DSDT", table: full["DSDT"] },
    ];
    for (const [index, each] of cases.entries()) {
      const { signature } = each;
      const table = each.table as Uint8Array;
      const name = `${signature.toLowerCase()}${index}`;
      const binary = join(folder, `${name}.dat`);
      writeFileSync(binary, table);
      execFileSync(iasl, ["-d", binary], { cwd: folder, stdio: "pipe" });
      const source = readFileSync(join(folder, `${name}.dsl`), "latin1");
      expect(source, signature).not.toMatch(/Incorrect checksum|Invalid|Error|Warning/i);
      const output = execFileSync(iasl, ["-w1", "-p", join(folder, `${name}-again`), join(folder, `${name}.dsl`)], {
        cwd: folder,
        encoding: "latin1",
      });
      expect(output, signature).toMatch(/^Compilation successful\. 0 Errors, 0 Warnings, 0 Remarks/m);
      const again = readFileSync(join(folder, `${name}-again.aml`));
      // The compiler puts its own name and version into the header, and so another checksum.
      const body = (bytes: Uint8Array): Buffer => Buffer.from(bytes.subarray(signature === "FACS" ? 0 : 36));
      expect(body(again).equals(body(table)), signature).toBe(true);
    }
    const plain = readFileSync(join(folder, "dsdt0.dsl"), "latin1");
    const source = readFileSync(join(folder, `dsdt${cases.length - 1}.dsl`), "latin1");
    // What nobody asked for is not there.
    expect(plain).not.toMatch(/PEVT|VGEN|_GPE|PCI0/);
    for (const expected of [
      "_S1",
      "_S3",
      "_S5",
      'EisaId ("PNP0501")',
      'EisaId ("PNP0B00")',
      'EisaId ("PNP0303")',
      "ACPI0007",
      "COM2",
      "QEMU0001",
      'EisaId ("PNP0A03")',
      "0x0505",
      "VM_Gen_Counter",
      "0x000FF000",
      "Method (_E05, 0, NotSerialized)",
      "Notify (\\_SB.VGEN, 0x80)",
    ]) {
      expect(source).toContain(expected);
    }
  });
});
