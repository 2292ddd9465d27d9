import type { CodePages } from "../code-pages.ts";
import { cr0At, cr3At, cr4At, eferAt } from "../layout.ts";
import type { CoreMemory } from "../processor-interface.ts";
import { cr0, cr4, efer } from "./architecture.ts";
import type { PhysicalMemory } from "./physical-memory.ts";

/** Bits of a page fault's error code, which also say what an access is. */
export const access = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;

const entryPresent = 1;
const entryWritable = 2;
const entryUser = 4;
const entryAccessed = 0x20;
const entryDirty = 0x40;
const entryLarge = 0x80;
const entryGlobal = 0x100;
/** In the high dword. */
const entryNoExecute = 0x8000_0000;
/** Physical address bits 51 to 40 in the high dword: reserved, see {@link physicalAddressBits}. */
const reservedHigh = 0x000f_ff00;
/** In the high dword of a PAE entry outside long mode, bits 62 to 52 are reserved too. */
const reservedHighLegacy = 0x7ff0_0000;
const pageMask = ~0xfff;

/**
 * Page table walks (Intel SDM Vol. 3A chapter 4): 32-bit with PSE-36, PAE and 4-level paging. Entries are read as
 * 32-bit halves and addresses are numbers, so that a walk allocates nothing. Results are left in the fields.
 */
export class PageWalker {
  /** Page-aligned guest-physical address that {@link walk} found. */
  physical = 0;
  /** Whether the privilege that was asked for may write without another walk: writable, and marked dirty. */
  writable = false;
  /** Whether it may execute. */
  executable = false;
  /** The translation survives a change of CR3. */
  global = false;
  /** Size of the page in units of 4 KiB pages. */
  pages = 1;
  /** Error code of the page fault when {@link walk} failed. */
  errorCode = 0;

  readonly #u32: Uint32Array;
  readonly #memory: PhysicalMemory;
  readonly #codePages: CodePages;
  /** Physical addresses of the entries that the walk used: their accessed bits are set once it has succeeded. */
  readonly #entries = [0, 0, 0, 0];
  readonly #values = [0, 0, 0, 0];

  constructor(core: CoreMemory, memory: PhysicalMemory, codePages: CodePages) {
    this.#u32 = core.u32;
    this.#memory = memory;
    this.#codePages = codePages;
  }

  /**
   * Translates a canonical linear address for an access, given by the bits `write`, `user` and `fetch` of
   * {@link access}. Sets accessed and dirty bits.
   *
   * @returns whether the access is allowed; if not, {@link errorCode} says why.
   */
  walk(high: number, low: number, wanted: number): boolean {
    const control0 = this.#u32[cr0At >> 2] as number;
    if ((control0 & cr0.paging) === 0) {
      this.physical = (low & pageMask) >>> 0;
      this.writable = true;
      this.executable = true;
      this.global = false;
      this.pages = 1;
      return true;
    }
    const control4 = this.#u32[cr4At >> 2] as number;
    return (control4 & cr4.physicalAddressExtension) === 0
      ? this.#walkLegacy(low, wanted, control0, control4)
      : this.#walkExtended(high, low, wanted, control0, control4);
  }

  #walkExtended(high: number, low: number, wanted: number, control0: number, control4: number): boolean {
    const u32 = this.#u32;
    const memory = this.#memory;
    const extended = u32[eferAt >> 2] as number;
    const long = (extended & efer.longModeActive) !== 0;
    const noExecute = (extended & efer.noExecute) !== 0;
    const fetchBit = noExecute || (control4 & cr4.supervisorExecution) !== 0 ? wanted & access.fetch : 0;
    const code = (wanted & (access.write | access.user)) | fetchBit;
    let reserved = long ? reservedHigh : reservedHigh | reservedHighLegacy;
    if (!noExecute) {
      reserved |= entryNoExecute;
    }
    let table = ((u32[cr3At >> 2] as number) & (long ? pageMask : ~0x1f)) >>> 0;
    if (long) {
      table += ((u32[(cr3At >> 2) + 1] as number) & 0xff) * 0x1_0000_0000;
    }
    let rights = entryWritable | entryUser;
    let executable = true;
    let level = long ? 3 : 2;
    let count = 0;
    for (;;) {
      let index: number;
      if (level === 3) index = (high >>> 7) & 0x1ff;
      else if (level === 2) index = long ? ((high & 0x7f) << 2) | (low >>> 30) : low >>> 30;
      else if (level === 1) index = (low >>> 21) & 0x1ff;
      else index = (low >>> 12) & 0x1ff;
      const at = table + index * 8;
      const entry = memory.readDword(at);
      if ((entry & entryPresent) === 0) {
        this.errorCode = code;
        return false;
      }
      const entryHigh = memory.readDword(at + 4);
      // NOTE: a PAE page directory pointer has no rights and no accessed bit; its reserved bits were checked by the load of CR3.
      const pointer = !long && level === 2;
      let bad = !pointer && (entryHigh & reserved) !== 0;
      if (!pointer) {
        rights &= entry;
        executable &&= (entryHigh & entryNoExecute) === 0;
        this.#entries[count] = at;
        this.#values[count] = entry;
        count += 1;
      }
      const large = level > 0 && !pointer && (entry & entryLarge) !== 0;
      bad ||= large && (level === 3 || (level === 2 ? (entry & 0x3fff_e000) !== 0 : (entry & 0x001f_e000) !== 0));
      if (bad) {
        this.errorCode = code | access.present | access.reserved;
        return false;
      }
      const base = (entryHigh & 0xff) * 0x1_0000_0000;
      if (level === 0 || large) {
        if (level === 0) {
          this.physical = base + ((entry & pageMask) >>> 0);
          this.pages = 1;
        } else if (level === 1) {
          this.physical = base + ((entry & 0xffe0_0000) >>> 0) + (low & 0x001f_f000);
          this.pages = 0x200;
        } else {
          this.physical = base + ((entry & 0xc000_0000) >>> 0) + (low & 0x3fff_f000);
          this.pages = 0x4_0000;
        }
        return this.#finish(count, rights, executable || !noExecute, wanted, code, control0, control4);
      }
      table = base + ((entry & pageMask) >>> 0);
      level -= 1;
    }
  }

  #walkLegacy(low: number, wanted: number, control0: number, control4: number): boolean {
    const fetchBit = (control4 & cr4.supervisorExecution) !== 0 ? wanted & access.fetch : 0;
    const code = (wanted & (access.write | access.user)) | fetchBit;
    const memory = this.#memory;
    const directory = (((this.#u32[cr3At >> 2] as number) & pageMask) >>> 0) + (low >>> 22) * 4;
    const entry = memory.readDword(directory);
    if ((entry & entryPresent) === 0) {
      this.errorCode = code;
      return false;
    }
    this.#entries[0] = directory;
    this.#values[0] = entry;
    if ((control4 & cr4.pageSize) !== 0 && (entry & entryLarge) !== 0) {
      if ((entry & 0x0020_0000) !== 0) {
        this.errorCode = code | access.present | access.reserved;
        return false;
      }
      // PSE-36: bits 20 to 13 of the entry are bits 39 to 32 of the address.
      this.physical = ((entry >>> 13) & 0xff) * 0x1_0000_0000 + ((entry & 0xffc0_0000) >>> 0) + (low & 0x003f_f000);
      this.pages = 0x400;
      return this.#finish(1, entry, true, wanted, code, control0, control4);
    }
    const at = ((entry & pageMask) >>> 0) + ((low >>> 12) & 0x3ff) * 4;
    const page = memory.readDword(at);
    if ((page & entryPresent) === 0) {
      this.errorCode = code;
      return false;
    }
    this.#entries[1] = at;
    this.#values[1] = page;
    this.physical = (page & pageMask) >>> 0;
    this.pages = 1;
    return this.#finish(2, entry & page, true, wanted, code, control0, control4);
  }

  /** Checks the combined rights of a walk, and marks the entries if they allow the access. */
  #finish(
    count: number,
    rights: number,
    executable: boolean,
    wanted: number,
    code: number,
    control0: number,
    control4: number,
  ): boolean {
    const userPage = (rights & entryUser) !== 0;
    let writable = (rights & entryWritable) !== 0;
    let allowed = true;
    let execute = executable;
    if ((wanted & access.user) !== 0) {
      allowed = userPage;
    } else {
      writable ||= (control0 & cr0.writeProtect) === 0;
      execute &&= !(userPage && (control4 & cr4.supervisorExecution) !== 0);
    }
    if (!allowed || ((wanted & access.write) !== 0 && !writable) || ((wanted & access.fetch) !== 0 && !execute)) {
      this.errorCode = code | access.present;
      return false;
    }
    for (let index = 0; index < count - 1; index++) {
      const value = this.#values[index] as number;
      if ((value & entryAccessed) === 0) {
        this.#mark(this.#entries[index] as number, value | entryAccessed);
      }
    }
    const leaf = this.#values[count - 1] as number;
    const marked = leaf | entryAccessed | ((wanted & access.write) === 0 ? 0 : entryDirty);
    if (marked !== leaf) {
      this.#mark(this.#entries[count - 1] as number, marked);
    }
    this.writable = writable && (marked & entryDirty) !== 0;
    this.executable = execute;
    this.global = (leaf & entryGlobal) !== 0 && (control4 & cr4.pageGlobal) !== 0;
    return true;
  }

  #mark(address: number, value: number): void {
    const within = address % 0x1000;
    const offset = this.#memory.ramOffset(address - within);
    if (offset < 0) {
      this.#memory.mmio.write(address, 4, value >>> 0);
      return;
    }
    this.#memory.ram.u32[(offset + within) / 4] = value;
    this.#codePages.written(offset / 0x1000);
  }
}
