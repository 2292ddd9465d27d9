import { GuestMemory, layOutRam, type ProcessorState, processorState } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { type LinuxBoot, loadLinux, memoryType } from "../src/index.ts";
import { compressors, makeBzImage, makeElf, type TestBzImage } from "./kernel-images.ts";

const mebibyte = 2 ** 20;

/** A processor state that is all zero: what reset leaves is the backend's affair. */
function resetState(): ProcessorState {
  const size = processorState.size;
  const view = new DataView(new ArrayBuffer(size));
  let at = 0;
  const state: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(processorState.fields)) {
    state[name] = field.decode(view, at);
    at += field.size;
  }
  return { ...(state as ProcessorState), activity: 3 };
}

function boot(kernel: Uint8Array, more: Partial<LinuxBoot> & { ram?: number } = {}): LinuxBoot {
  const ram = more.ram ?? 16 * mebibyte;
  const memory = new GuestMemory(new Uint8Array(ram), layOutRam(ram));
  memory.bytes.fill(0xee);
  return {
    memory,
    kernel,
    kernelPath: "/boot/vmlinuz",
    initrd: undefined,
    commandLine: "console=ttyS0",
    acpiRootPointer: 0xe_0000,
    memoryMap: [
      { address: 0, size: 0x9_fc00, type: memoryType.usable },
      { address: 0x9_fc00, size: 0x6_0400, type: memoryType.reserved },
      { address: mebibyte, size: ram - mebibyte, type: memoryType.usable },
    ],
    processor: resetState(),
    ...more,
  };
}

const text = Uint8Array.from({ length: 9000 }, (_, index) => (index * 7) & 0xff);
const data = Uint8Array.of(1, 2, 3, 4);
const vmlinux = makeElf({
  segments: [
    { physicalAddress: 0x10_0000, virtualAddress: 0xffff_ffff_8010_0000n, bytes: text },
    { physicalAddress: 0x12_0000, virtualAddress: 0n, bytes: data, memorySize: 0x2000 },
  ],
  entry: 0x10_0040n,
  pvhEntry: 0x10_0080,
});
const bzImage = (more: Partial<TestBzImage> = {}): Uint8Array =>
  makeBzImage({ payload: (compressors.zstd as (bytes: Uint8Array) => Uint8Array)(vmlinux), ...more });

const zeroPage = 0x7000;

describe("loadLinux", () => {
  for (const [format, compress] of Object.entries(compressors)) {
    it(`unpacks a bzImage's payload in format ${format} and enters the kernel itself`, async () => {
      const given = boot(makeBzImage({ payload: compress(vmlinux) }));
      const state = await loadLinux(given);
      expect(given.memory.slice(0x10_0000, text.length)).toEqual(text);
      expect(given.memory.slice(0x12_0000, 4)).toEqual(data);
      // The rest of a segment is zero, and no more than that.
      expect(given.memory.slice(0x12_0004, 0x1ffc).every((byte) => byte === 0)).toBe(true);
      expect(given.memory.slice(0x12_2000, 1)[0]).toBe(0xee);
      expect(state.rip).toBe(0x10_0040n);
    });
  }

  it("lets a kernel unpack itself whose format has no decoder", async () => {
    const payload = Buffer.concat([Buffer.from("BZh9 whatever"), Buffer.alloc(100)]);
    const given = boot(makeBzImage({ payload, preferredAddress: 0x20_0000 }));
    const state = await loadLinux(given);
    expect(state.rip).toBe(0x20_0200n);
    expect(given.memory.slice(0x20_0000, 1)[0]).toBe(0xcc);
    expect(Buffer.from(given.memory.slice(0x20_0300, 4)).toString()).toBe("BZh9");
  });

  it("enters long mode as the 64-bit boot protocol asks", async () => {
    const given = boot(bzImage());
    const state = await loadLinux(given);
    expect(processorState.fields.registers.check(state.registers as never)).toBeUndefined();
    expect(state.registers[6]).toBe(BigInt(zeroPage));
    expect(state.cr0 & 0x8000_0001n).toBe(0x8000_0001n);
    expect(state.cr4 & 0x20n).toBe(0x20n);
    expect(state.efer).toBe(0x500n);
    expect(state.rflags).toBe(2n);
    expect(state.activity).toBe(0);
    const [, code, stack] = state.segments;
    expect(code).toMatchObject({ selector: 0x10, attributes: 0xa09b });
    expect(stack).toMatchObject({ selector: 0x18, attributes: 0xc093 });
    // The descriptors say the same as the hidden parts.
    const table = given.memory.view(Number(state.gdtr.base), state.gdtr.limit + 1);
    expect(table.getBigUint64(0x10, true)).toBe(0x00af_9b00_0000_ffffn);
    expect(table.getBigUint64(0x18, true)).toBe(0x00cf_9300_0000_ffffn);
  });

  it("maps the first 4 GiB one to one", async () => {
    const given = boot(bzImage());
    const state = await loadLinux(given);
    const entry = (table: bigint, index: number): bigint =>
      given.memory.view(Number(table & 0xff_ffff_f000n) + index * 8, 8).getBigUint64(0, true);
    for (const address of [0n, 0x10_0040n, 0x7fff_ffffn, 0xfee0_0000n]) {
      const directoryPointer = entry(state.cr3, Number(address >> 39n));
      const directory = entry(directoryPointer, Number((address >> 30n) & 511n));
      const page = entry(directory, Number((address >> 21n) & 511n));
      expect([directoryPointer & 3n, directory & 3n, page & 0x83n]).toEqual([3n, 3n, 0x83n]);
      expect((page & 0xff_ffe0_0000n) | (address & 0x1f_ffffn)).toBe(address);
    }
  });

  it("tells the kernel in the zero page what it was given", async () => {
    const initrd = Uint8Array.from({ length: 5000 }, (_, index) => index & 0xff);
    const randomSeed = Uint8Array.of(9, 8, 7);
    const given = boot(bzImage(), { initrd, randomSeed, commandLine: "root=ä" });
    await loadLinux(given);
    const page = given.memory.view(zeroPage, 4096);
    expect(page.getUint16(0x1fe, true)).toBe(0xaa55);
    expect(page.getUint16(0x206, true)).toBe(0x020f);
    expect(page.getUint8(0x1ef)).toBe(0);
    expect(page.getUint8(0x210)).toBe(0xff);
    expect(page.getBigUint64(0x070, true)).toBe(0xe_0000n);
    expect(page.getUint8(0x1e8)).toBe(3);
    expect([page.getBigUint64(0x2d0 + 40, true), page.getBigUint64(0x2d8 + 40, true)]).toEqual([
      0x10_0000n,
      0xf0_0000n,
    ]);
    const commandLine = given.memory.slice(page.getUint32(0x228, true), 8);
    expect(Buffer.from(commandLine).toString("utf8")).toBe("root=ä\0");
    const address = page.getUint32(0x218, true);
    expect([address % 4096, page.getUint32(0x21c, true)]).toEqual([0, 5000]);
    expect(given.memory.slice(address, 5000)).toEqual(initrd);
    const seed = Number(page.getBigUint64(0x250, true));
    expect(given.memory.view(seed, 16).getUint32(8, true)).toBe(9);
    expect(given.memory.slice(seed + 16, 3)).toEqual(randomSeed);
  });

  it("puts the initrd as high as RAM and kernel allow", async () => {
    const initrd = new Uint8Array(4096);
    const address = async (more: Partial<TestBzImage>): Promise<number> => {
      const given = boot(bzImage(more), { initrd });
      await loadLinux(given);
      return given.memory.view(zeroPage + 0x218, 4).getUint32(0, true);
    };
    expect(await address({})).toBe(16 * mebibyte - 4096);
    expect(await address({ initrdAddressMaximum: 0x7f_ffff })).toBe(8 * mebibyte - 4096);
  });

  it("enters an ELF file at its PVH entry point in 32-bit mode", async () => {
    const initrd = Uint8Array.of(5, 6, 7);
    const given = boot(vmlinux, { initrd });
    const state = await loadLinux(given);
    expect(state.rip).toBe(0x10_0080n);
    expect([state.cr0, state.cr3, state.cr4, state.efer]).toEqual([0x11n, 0n, 0n, 0n]);
    expect(state.segments[1]).toMatchObject({ base: 0n, limit: 0xffff_ffff, attributes: 0xc09b });
    const info = given.memory.view(Number(state.registers[3]), 256);
    expect([info.getUint32(0, true), info.getUint32(4, true), info.getUint32(12, true)]).toEqual([0x336e_c578, 1, 1]);
    const list = given.memory.view(Number(info.getBigUint64(16, true)), 32);
    expect(given.memory.slice(Number(list.getBigUint64(0, true)), 3)).toEqual(initrd);
    expect(list.getBigUint64(8, true)).toBe(3n);
    const commandLine = given.memory.slice(Number(info.getBigUint64(24, true)), 14);
    expect(Buffer.from(commandLine).toString()).toBe("console=ttyS0\0");
    expect(info.getBigUint64(32, true)).toBe(0xe_0000n);
    expect(info.getUint32(48, true)).toBe(3);
    const map = given.memory.view(Number(info.getBigUint64(40, true)), 72);
    expect([map.getBigUint64(48, true), map.getUint32(64, true)]).toEqual([0x10_0000n, 1]);
  });

  it("enters an ELF file without a PVH note at its entry point in long mode, a virtual one too", async () => {
    const segments = [{ physicalAddress: 0x20_0000, virtualAddress: 0xffff_8000_0020_0000n, bytes: text }];
    const physical = await loadLinux(boot(makeElf({ segments, entry: 0x20_0010n })));
    expect([physical.rip, physical.efer]).toEqual([0x20_0010n, 0x500n]);
    const virtual = await loadLinux(boot(makeElf({ segments, entry: 0xffff_8000_0020_0010n })));
    expect(virtual.rip).toBe(0x20_0010n);
  });

  it("enters a 32-bit ELF file by PVH", async () => {
    const segments = [{ physicalAddress: 0x20_0000, bytes: text }];
    const state = await loadLinux(
      boot(makeElf({ segments, entry: 0n, is64Bit: false, machine: 3, pvhEntry: 0x20_0004 })),
    );
    expect(state.rip).toBe(0x20_0004n);
  });

  describe("refuses", () => {
    const refusal = async (given: LinuxBoot): Promise<unknown> => {
      const before = Buffer.from(given.memory.bytes);
      const error = await loadLinux(given).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(before.equals(given.memory.bytes)).toBe(true);
      return error;
    };
    const code = (name: string, details: Record<string, unknown> = {}): unknown =>
      expect.objectContaining({
        code: name,
        details: expect.objectContaining(details),
        hint: expect.stringMatching(/\S/),
      });

    it("what is no kernel", async () => {
      for (const file of [new Uint8Array(0), Buffer.from("#!/bin/sh\n"), new Uint8Array(100_000)]) {
        expect(await refusal(boot(file))).toEqual(code("ERR_CPR_KERNEL_FORMAT", { path: "/boot/vmlinuz" }));
      }
    });

    it("a bzImage cut off anywhere", async () => {
      const whole = bzImage();
      for (const size of [0x210, 0x263, 600, 2048, 3000, whole.length - 16]) {
        expect(await refusal(boot(whole.subarray(0, size)))).toEqual(code("ERR_CPR_KERNEL_TRUNCATED", { size }));
      }
    });

    it("an ELF file cut off anywhere", async () => {
      for (const size of [20, 70, 300, vmlinux.length - 1]) {
        expect(await refusal(boot(vmlinux.subarray(0, size)))).toEqual(code("ERR_CPR_KERNEL_TRUNCATED", { size }));
      }
    });

    it("kernels that are too old, 32-bit, or for another processor", async () => {
      const segments = [{ physicalAddress: 0x20_0000, bytes: text }];
      for (const file of [
        bzImage({ version: 0x020b }),
        bzImage({ loadFlags: 0 }),
        bzImage({ extendedLoadFlags: 0 }),
        makeElf({ segments, entry: 0n, machine: 183 }),
        makeElf({ segments, entry: 0x20_0000n, is64Bit: false, machine: 3 }),
        makeElf({ segments: [], entry: 0n }),
      ]) {
        expect(await refusal(boot(file))).toEqual(code("ERR_CPR_KERNEL_FORMAT"));
      }
    });

    it("a payload that is damaged, in every format", async () => {
      for (const [format, compress] of Object.entries(compressors)) {
        if (format === "uncompressed") continue;
        const payload = Buffer.from(compress(vmlinux));
        payload.fill(0xff, 20, 60);
        const error = await refusal(boot(makeBzImage({ payload })));
        expect(error, format).toEqual(code("ERR_CPR_KERNEL_DAMAGED"));
      }
    });

    it("a payload whose size is impossible or wrong", async () => {
      for (const size of [0xffff_ffff, vmlinux.length + 1]) {
        const payload = Buffer.from((compressors.zstd as (bytes: Uint8Array) => Uint8Array)(vmlinux));
        payload.writeUInt32LE(size, payload.length - 4);
        expect(await refusal(boot(makeBzImage({ payload })))).toEqual(code("ERR_CPR_KERNEL_DAMAGED"));
      }
    });

    it("RAM that is too small for the kernel, or for it and the initrd", async () => {
      const needed = 0x10_0000 + 6 * mebibyte;
      const kernel = bzImage({ initialSize: 6 * mebibyte });
      const available = 4 * mebibyte;
      expect(await refusal(boot(kernel, { ram: available }))).toEqual(
        code("ERR_CPR_KERNEL_RAM", { needed, available }),
      );
      const initrd = new Uint8Array(3 * mebibyte);
      expect(await refusal(boot(kernel, { ram: 8 * mebibyte, initrd }))).toEqual(
        code("ERR_CPR_KERNEL_RAM", { needed: needed + initrd.length, available: 8 * mebibyte }),
      );
    });

    it("an ELF file that wants to lie where no free RAM is", async () => {
      for (const physicalAddress of [0x7000, 0xa_0000, 0xf_f000]) {
        const segments = [{ physicalAddress, bytes: text }];
        expect(await refusal(boot(makeElf({ segments, entry: 0n })))).toEqual(
          code("ERR_CPR_KERNEL_PLACE", { address: physicalAddress }),
        );
      }
    });

    it("a command line that is longer than the kernel takes, in bytes", async () => {
      const kernel = bzImage({ commandLineLimit: 10 });
      await loadLinux(boot(kernel, { commandLine: "0123456789" }));
      expect(await refusal(boot(kernel, { commandLine: "012345678ä" }))).toEqual(
        code("ERR_CPR_COMMAND_LINE_LENGTH", { length: 11, limit: 10 }),
      );
    });
  });
});
