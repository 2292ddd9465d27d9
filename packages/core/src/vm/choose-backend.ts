import { Backend, type BackendAvailability } from "../backend.ts";
import { defaultTscFrequency } from "../clock.ts";
import { machineErrors } from "../errors/machine-errors.ts";
import { isCprError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";

/** What the user asked for; undefined where the choice is left to us. */
export interface BackendWishes {
  readonly backend: string | undefined;
  readonly processorModel: string | undefined;
  /** In Hz. */
  readonly tscFrequency: number | undefined;
  readonly processorCount: number;
  /** The VM comes from a checkpoint, which says the time-stamp counter's frequency. */
  readonly incoming: boolean;
}

/** The execution backend that a VM will have, and what follows from it. */
export interface ChosenBackend {
  readonly backend: Backend;
  readonly processorModel: string;
  /** In Hz. */
  readonly tscFrequency: number;
  /** For people, one sentence, if the choice was ours: which backend, and why no better one. */
  readonly notice: string | undefined;
}

type Available = Extract<BackendAvailability, { readonly available: true }>;

/**
 * Finds the backend that was named, or else the best one that works on this host with the CPU model that was asked for.
 *
 * @throws {CprError} why the one that was named, or none at all, can be used.
 */
export async function chooseBackend(kernel: Kernel, wishes: BackendWishes): Promise<ChosenBackend> {
  if (wishes.backend !== undefined) {
    const backend = await kernel.get(Backend, wishes.backend);
    return { ...(await judge(kernel, backend, wishes)), notice: undefined };
  }
  const backends = [...(await kernel.all(Backend))].sort((a, b) => b.preference - a.preference);
  const failures: unknown[] = [];
  for (const backend of backends) {
    try {
      const { note, ...chosen } = await judge(kernel, backend, wishes);
      const others = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)));
      return { ...chosen, notice: [`execution backend '${backend.name}' (${note})`, ...others].join(". ") };
    } catch (failure) {
      failures.push(failure);
    }
  }
  // What the host lacks does not matter where the others say that the wish is wrong.
  const wrong = failures.filter((failure) => !isCprError(failure) || failure.category !== "host");
  const told = wrong.length === 0 ? failures : wrong;
  if (told.length > 0 && told.every((failure) => codeOf(failure) === codeOf(told[0]))) {
    // What is wrong is not the backends.
    throw told[0];
  }
  const reasons = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)));
  throw machineErrors.ERR_CPR_NO_BACKEND_AVAILABLE({ reasons });
}

const codeOf = (failure: unknown): string | undefined => (isCprError(failure) ? failure.code : undefined);

async function judge(kernel: Kernel, backend: Backend, wishes: BackendWishes) {
  const { name } = backend;
  const availability = await backend.probe();
  if (!availability.available) {
    const { reason, hint } = availability;
    throw machineErrors.ERR_CPR_BACKEND_UNAVAILABLE({ backend: name, reason, remedy: hint });
  }
  const model = wishes.processorModel ?? backend.processorModels[0];
  if (model === undefined || !backend.processorModels.includes(model)) {
    const known = backend.processorModels;
    throw machineErrors.ERR_CPR_PROCESSOR_MODEL({ backend: name, model: model ?? "", known });
  }
  const missing = (await backend.missingFeatures?.(model)) ?? [];
  if (missing.length > 0) {
    throw machineErrors.ERR_CPR_PROCESSOR_FEATURES({ backend: name, model, missing });
  }
  const { processorCount: count } = wishes;
  const { maximumProcessors: maximum } = backend.supports;
  if (!Number.isInteger(count) || count < 1 || count > maximum) {
    throw machineErrors.ERR_CPR_PROCESSOR_COUNT({ backend: name, count, maximum });
  }
  const tscFrequency = await chooseTscFrequency(kernel, backend, availability, wishes);
  return { backend, processorModel: model, tscFrequency, note: availability.note };
}

/**
 * Frequency of a new guest's time-stamp counter. Where the backend leaves it open, it is one that the host's other backends
 * can provide as well, so that a checkpoint can change between them.
 */
async function chooseTscFrequency(
  kernel: Kernel,
  backend: Backend,
  { tscFrequency: only }: Available,
  wishes: BackendWishes,
): Promise<number> {
  const wished = wishes.tscFrequency;
  if (wished !== undefined) {
    if (only !== undefined && only !== wished) {
      throw machineErrors.ERR_CPR_TSC_FREQUENCY({ backend: backend.name, wished, only });
    }
    return wished;
  }
  if (only !== undefined || wishes.incoming) {
    return only ?? defaultTscFrequency;
  }
  for (const other of kernel.keys(Backend)) {
    if (other === backend.name) continue;
    const availability = await probe(kernel, other);
    if (availability?.available === true && availability.tscFrequency !== undefined) {
      return availability.tscFrequency;
    }
  }
  return defaultTscFrequency;
}

/** Asks a backend that is not going to be used; one that cannot be loaded has nothing to say. */
async function probe(kernel: Kernel, name: string): Promise<BackendAvailability | undefined> {
  try {
    return await (await kernel.get(Backend, name)).probe();
  } catch {
    return undefined;
  }
}
