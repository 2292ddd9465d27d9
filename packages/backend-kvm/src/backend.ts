import { accessSync, constants } from "node:fs";
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import {
  type Backend,
  type BackendAvailability,
  type BackendSupports,
  type CpuidEntry,
  type Execution,
  type ExecutionContext,
  findProcessorModel,
  missingFeatures,
  type ProcessorFeature,
  processorFeatures,
  processorModels,
  type RamAlignment,
  type RamAllocation,
} from "@cpr/core";
import { addressOf, attachMemory, reserveMemory } from "@cpr/native-mman";
import { type Addon, loadAddon } from "./addon.ts";
import { kvmErrors } from "./errors.ts";
import { capability, KvmDevice, neededExtensions } from "./kvm-device.ts";

const apiVersion = 12;
/** RAM whose end, behind the hole for devices, the 40 address bits of the CPU models can name. */
const maximumRam = 2 ** 40 - 2 ** 30;

/** What crosses to the machine thread: where the RAM is, in the same process. */
interface RamHandle {
  readonly address: bigint;
  readonly size: number;
}

/** Where things are that a test replaces. */
export interface KvmPlaces {
  /** The device; `/dev/kvm` by default. */
  readonly device?: string;
  /** The addon, relative to the module that loads it. */
  readonly addon?: string;
}

type Unavailable = Extract<BackendAvailability, { readonly available: false }>;

/** The execution backend that lets the host's processor execute the guest, through `/dev/kvm`. */
export class KvmBackend implements Backend {
  readonly name = "kvm";
  readonly preference = 100;
  readonly supports: BackendSupports = {
    kernelIrqchip: "split",
    maximumProcessors: 32,
    maximumRam,
    dirtyLog: false,
  };
  readonly processorModels: readonly string[] = processorModels.map(({ name }) => name);
  readonly #places: KvmPlaces;

  constructor(places: KvmPlaces = {}) {
    this.#places = places;
  }

  async probe(): Promise<BackendAvailability> {
    const opened = this.#open();
    if ("reason" in opened) return opened;
    const { device } = opened;
    try {
      return probeDevice(device);
    } catch (error) {
      return { available: false, reason: error instanceof Error ? error.message : String(error) };
    } finally {
      device.close();
    }
  }

  async missingFeatures(name: string): Promise<readonly string[]> {
    const model = findProcessorModel(name);
    const { device } = this.#require();
    try {
      const supported = device.supportedCpuid();
      const deadlines = device.extension(capability.tscDeadlineTimer) !== 0;
      return model === undefined ? [] : missingFeatures(model, (feature) => hasFeature(supported, feature, deadlines));
    } finally {
      device.close();
    }
  }

  allocateRam(size: number, alignment?: RamAlignment): RamAllocation {
    if (size > maximumRam) {
      throw kvmErrors.ERR_CPR_KVM_RAM({ size, limit: maximumRam });
    }
    try {
      const bytes = reserveMemory(size, alignment?.multiple);
      return { bytes, handle: { address: addressOf(bytes), size } satisfies RamHandle };
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw kvmErrors.ERR_CPR_KVM_ALLOCATE({ size, reason }, { cause });
    }
  }

  adoptRam(handle: unknown): RamAllocation {
    const { address, size } = handle as RamHandle;
    return { bytes: attachMemory(address, size), handle };
  }

  async prepare(): Promise<void> {
    await import("./execution.ts");
  }

  async createExecution(context: ExecutionContext): Promise<Execution> {
    const { KvmExecution } = await import("./execution.ts");
    const { addon, device } = this.#require();
    const model = findProcessorModel(context.processorModel);
    if (model === undefined) {
      throw kvmErrors.ERR_CPR_KVM_UNAVAILABLE({ reason: `there is no CPU model '${context.processorModel}'` });
    }
    try {
      return new KvmExecution(context, { addon, device, model });
    } finally {
      device.close();
    }
  }

  /** @throws {CprError} ERR_CPR_KVM_UNAVAILABLE */
  #require(): { addon: Addon; device: KvmDevice } {
    const opened = this.#open();
    if ("reason" in opened) {
      throw kvmErrors.ERR_CPR_KVM_UNAVAILABLE({ reason: opened.reason, remedy: opened.hint });
    }
    return opened;
  }

  #open(): { addon: Addon; device: KvmDevice } | Unavailable {
    const { device: path = "/dev/kvm" } = this.#places;
    const refused = deviceProblem(path);
    if (refused !== undefined) return refused;
    let addon: Addon;
    try {
      addon = loadAddon(this.#places.addon);
    } catch {
      return {
        available: false,
        reason: "its native addon was not compiled or does not load",
        hint: "Install g++, make and python3 (Debian: apt-get install g++ make python3) and run `pnpm install` again.",
      };
    }
    const descriptor = addon.open(path);
    return descriptor < 0
      ? openProblem(path, getSystemErrorName(descriptor), descriptor)
      : { addon, device: new KvmDevice(addon, descriptor) };
  }
}

/** Why a device cannot be used, seen before the addon is needed for it. */
function deviceProblem(path: string): Unavailable | undefined {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    const { code = "", errno = 0 } = error as NodeJS.ErrnoException;
    return openProblem(path, code, errno);
  }
}

function openProblem(path: string, code: string, errno: number): Unavailable {
  switch (code) {
    case "ENOENT":
      return {
        available: false,
        reason: `${path} is missing`,
        hint: "Load the kernel module (modprobe kvm_amd or kvm_intel), and see that virtualization is enabled in the firmware.",
      };
    case "EACCES":
    case "EPERM":
      return {
        available: false,
        reason: `there is no permission to open ${path}`,
        hint: "Add the user to the group that owns it (usermod -aG kvm USER), and log in again.",
      };
    default:
      return { available: false, reason: `${path} cannot be opened: ${code}: ${getSystemErrorMessage(errno)}` };
  }
}

function probeDevice(device: KvmDevice): BackendAvailability {
  const version = device.apiVersion();
  if (version !== apiVersion) {
    return { available: false, reason: `the kernel's KVM has API version ${version}, not ${apiVersion}` };
  }
  const missing = Object.entries(neededExtensions).filter(([, number]) => device.extension(number) === 0);
  if (missing.length > 0) {
    return {
      available: false,
      reason: `the kernel's KVM lacks ${missing.map(([name]) => name).join(", ")}`,
      hint: "Use Linux 4.12 or later.",
    };
  }
  const note = "the host's processor executes the guest";
  return device.extension(capability.tscControl) === 0
    ? { available: true, note, tscFrequency: hostTscFrequency(device) }
    : { available: true, note };
}

/** Frequency in Hz at which all guests' counters run where they cannot be scaled: that of a vCPU that is made to ask it. */
function hostTscFrequency(device: KvmDevice): number {
  const vm = device.createVm();
  const vcpu = vm.createVcpu(0);
  try {
    return vcpu.tscKhz() * 1000;
  } finally {
    vcpu.close();
    vm.close();
  }
}

/** Whether the host can give a guest a feature. */
function hasFeature(supported: readonly CpuidEntry[], feature: ProcessorFeature, tscDeadlines: boolean): boolean {
  // NOTE: kernels before 6.16 tell of this one as an extension alone.
  if (feature === "tsc-deadline") return tscDeadlines;
  const [leaf, subleaf, register, bit] = processorFeatures[feature];
  const entry = supported.find((each) => each.leaf === leaf && (each.subleaf ?? 0) === (subleaf ?? 0));
  return (((entry?.[register] ?? 0) >>> bit) & 1) === 1;
}
