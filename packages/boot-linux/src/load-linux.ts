import type { GuestMemory, ProcessorState } from "@cpr/core";
import { bootParametersSize, writeBootParameters, writeRandomSeed } from "./boot-parameters.ts";
import type { BzImage } from "./bz-image.ts";
import { type ElfImage, parseElf } from "./elf-image.ts";
import { bootErrors } from "./errors.ts";
import { type KernelFile, kernelEnd, parseKernel } from "./kernel-file.ts";
import { isFree, lowRamEnd, type MemoryMapEntry, place } from "./memory-map.ts";
import { unpackPayload } from "./payload.ts";
import { longModeEntry, pvhEntry, writeDescriptorTable, writeIdentityMap } from "./processor-entry.ts";
import { writePvhStartInfo } from "./pvh-start-info.ts";

const pageSize = 4096;
/** Longest command line that a kernel without a setup header gets: COMMAND_LINE_SIZE of Linux on x86, less the NUL. */
const defaultCommandLineLimit = 2047;
/** Kernels without a setup header take an initrd anywhere below this. */
const defaultInitrdLimit = 0x7fff_ffff;
/** The 64-bit entry point of a bzImage, counted from where its protected-mode part is loaded. */
const bzImageEntry = 0x200;

/** What is booted, and on what. */
export interface LinuxBoot {
  readonly memory: GuestMemory;
  /** Contents of the kernel file: a bzImage, or an ELF file. */
  readonly kernel: Uint8Array;
  /** Its path, for messages. */
  readonly kernelPath: string;
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
  /** Address of the RSDP, 0 if there is none. */
  readonly acpiRootPointer: number;
  readonly memoryMap: readonly MemoryMapEntry[];
  /** Bytes for the kernel's random number generator; a kernel entered by PVH cannot take them. */
  readonly randomSeed?: Uint8Array;
  /** State of the boot processor after reset, on which its entry state is laid. */
  readonly processor: ProcessorState;
}

/**
 * Puts a kernel, its initrd and what it must be told into guest RAM, and returns the state in which the boot processor
 * enters it.
 *
 * A bzImage's payload is unpacked here, which is far faster than letting the guest do it, and the kernel proper is
 * entered at its 64-bit entry point as its own unpacking program would do: RSI points to the boot parameters, the
 * address space is mapped one to one, the kernel lies where it was linked (no KASLR). If there is no decoder for the
 * payload, the bzImage is entered at its own 64-bit entry point and unpacks itself. An ELF file with a PVH note is
 * entered there, in 32-bit protected mode; one without, at its entry point in long mode with boot parameters.
 *
 * @throws {CprError} if the kernel is none, damaged, or does not fit into RAM with its initrd, or if the command line is
 * too long. Guest RAM is untouched then, unless the payload turns out to be damaged inside.
 */
export async function loadLinux(boot: LinuxBoot): Promise<ProcessorState> {
  const kernel = parseKernel(boot.kernel, boot.kernelPath);
  checkLinux(kernel, { ...boot, initrdSize: boot.initrd?.length ?? 0 });
  if (kernel.kind === "elf") {
    return loadElf(boot, kernel.image, undefined);
  }
  const unpacked = await unpackPayload(kernel.image.payload, boot.kernelPath);
  return unpacked === undefined
    ? loadBzImage(boot, kernel.image)
    : loadElf(boot, parseUnpacked(unpacked, boot.kernelPath), kernel.image);
}

/** Not every format has a checksum, so what was unpacked from damaged bytes may look like anything. */
function parseUnpacked(unpacked: Uint8Array, path: string): ElfImage {
  try {
    return parseElf(unpacked, path);
  } catch (cause) {
    throw bootErrors.ERR_CPR_KERNEL_DAMAGED({ path, reason: "what it unpacks to is not a kernel" }, { cause });
  }
}

/** Facts by which {@link checkLinux} judges. */
export interface LinuxBootFacts {
  readonly kernelPath: string;
  readonly initrdSize: number;
  readonly commandLine: string;
  readonly memoryMap: readonly MemoryMapEntry[];
}

/**
 * Checks, without unpacking or writing anything, that a kernel fits into RAM together with its initrd and takes the
 * command line.
 *
 * @throws {CprError} if not.
 */
export function checkLinux(kernel: KernelFile, facts: LinuxBootFacts): void {
  const bzImage = kernel.kind === "bzImage" ? kernel.image : undefined;
  const length = Buffer.byteLength(facts.commandLine, "utf8");
  const limit = commandLineLimit(bzImage);
  if (length > limit) {
    throw bootErrors.ERR_CPR_COMMAND_LINE_LENGTH({ length, limit });
  }
  placeInitrd(facts, bzImage, kernelEnd(kernel), facts.initrdSize);
}

function commandLineLimit(bzImage: BzImage | undefined): number {
  const room = place.end - place.commandLine - 1;
  return Math.min(bzImage?.commandLineLimit ?? defaultCommandLineLimit, room);
}

/** Where the initrd goes: as high as the kernel allows, so that it is out of the way of what the kernel sets up first. */
function placeInitrd(
  { kernelPath, memoryMap }: Pick<LinuxBootFacts, "kernelPath" | "memoryMap">,
  bzImage: BzImage | undefined,
  end: number,
  size: number,
): number {
  const available = lowRamEnd(memoryMap);
  const limit = Math.min(available, (bzImage?.initrdAddressMaximum ?? defaultInitrdLimit) + 1);
  const address = Math.floor((limit - size) / pageSize) * pageSize;
  if (end > available || address < end) {
    const needed = Math.ceil((end + size) / pageSize) * pageSize;
    throw bootErrors.ERR_CPR_KERNEL_RAM({ path: kernelPath, needed, available });
  }
  return address;
}

function loadElf(boot: LinuxBoot, image: ElfImage, bzImage: BzImage | undefined): ProcessorState {
  const { memory, kernelPath, memoryMap } = boot;
  const usePvh = bzImage === undefined && image.pvhEntry !== undefined;
  if (!usePvh && !image.is64Bit) {
    const reason = "it is a 32-bit ELF file without a PVH entry point";
    throw bootErrors.ERR_CPR_KERNEL_FORMAT({ path: kernelPath, reason });
  }
  for (const { physicalAddress, memorySize } of image.segments) {
    if (!isFree(memoryMap, physicalAddress, memorySize)) {
      throw bootErrors.ERR_CPR_KERNEL_PLACE({ path: kernelPath, address: physicalAddress, size: memorySize });
    }
  }
  const end = kernelEnd({ kind: "elf", image });
  const initrd = loadInitrd(
    boot,
    bzImage,
    bzImage === undefined ? end : Math.max(end, kernelEnd({ kind: "bzImage", image: bzImage })),
  );
  for (const { physicalAddress, memorySize, bytes } of image.segments) {
    const target = memory.slice(physicalAddress, memorySize);
    target.set(bytes);
    target.fill(0, bytes.length);
  }
  const commandLineAddress = writeCommandLine(boot);
  if (!usePvh) {
    return enterLongMode(boot, bzImage, initrd, image.entry);
  }
  const { acpiRootPointer } = boot;
  const address = place.startInfo;
  const view = memory.view(address, place.setupData - address);
  writePvhStartInfo(view, { address, commandLineAddress, initrd, acpiRootPointer, memoryMap });
  writeDescriptorTable(memory.view(place.descriptorTable, 40), false);
  return pvhEntry(boot.processor, image.pvhEntry ?? image.entry);
}

/** Lets the bzImage's own program unpack the kernel. */
function loadBzImage(boot: LinuxBoot, bzImage: BzImage): ProcessorState {
  const initrd = loadInitrd(boot, bzImage, bzImage.preferredAddress + bzImage.initialSize);
  boot.memory.slice(bzImage.preferredAddress, bzImage.protectedMode.length).set(bzImage.protectedMode);
  return enterLongMode(boot, bzImage, initrd, bzImage.preferredAddress + bzImageEntry);
}

function loadInitrd(
  boot: LinuxBoot,
  bzImage: BzImage | undefined,
  end: number,
): { readonly address: number; readonly size: number } | undefined {
  const { initrd } = boot;
  const address = placeInitrd(boot, bzImage, end, initrd?.length ?? 0);
  if (initrd === undefined) {
    return undefined;
  }
  boot.memory.slice(address, initrd.length).set(initrd);
  return { address, size: initrd.length };
}

function writeCommandLine({ memory, commandLine }: LinuxBoot): number {
  const bytes = Buffer.from(`${commandLine}\0`, "utf8");
  memory.slice(place.commandLine, bytes.length).set(bytes);
  return place.commandLine;
}

function enterLongMode(
  boot: LinuxBoot,
  bzImage: BzImage | undefined,
  initrd: { readonly address: number; readonly size: number } | undefined,
  entry: number,
): ProcessorState {
  const { memory, acpiRootPointer, memoryMap, randomSeed } = boot;
  const commandLineAddress = writeCommandLine(boot);
  if (randomSeed !== undefined) {
    writeRandomSeed(memory.view(place.setupData, 16 + randomSeed.length), randomSeed);
  }
  writeBootParameters(memory.view(place.bootParameters, bootParametersSize), {
    setupHeader: bzImage?.setupHeader,
    commandLineAddress,
    initrd,
    acpiRootPointer,
    memoryMap,
    setupData: randomSeed === undefined ? 0 : place.setupData,
  });
  writeIdentityMap(memory.view(place.pageTables, 6 * pageSize), place.pageTables);
  writeDescriptorTable(memory.view(place.descriptorTable, 40), true);
  return longModeEntry(boot.processor, entry);
}
