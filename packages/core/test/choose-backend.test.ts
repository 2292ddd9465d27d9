import { describe, expect, it } from "vitest";
import type { Backend, BackendAvailability } from "../src/backend.ts";
import type { Kernel } from "../src/kernel.ts";
import { type BackendWishes, chooseBackend } from "../src/vm/choose-backend.ts";

interface Fake {
  readonly preference?: number;
  readonly availability?: BackendAvailability;
  readonly models?: readonly string[];
  readonly missing?: Readonly<Record<string, readonly string[]>>;
  readonly maximumProcessors?: number;
}

const available: BackendAvailability = { available: true, note: "it works" };

function kernelWith(fakes: Readonly<Record<string, Fake>>): Kernel {
  const backends = Object.entries(fakes).map(
    ([
      name,
      { preference = 0, availability = available, models = ["cpr64-v2"], missing = {}, maximumProcessors = 4 },
    ]) =>
      ({
        name,
        preference,
        supports: { maximumProcessors },
        processorModels: models,
        probe: async () => availability,
        missingFeatures: async (model: string) => missing[model] ?? [],
      }) as unknown as Backend,
  );
  return {
    keys: () => backends.map(({ name }) => name),
    all: async () => backends,
    get: async (_point: unknown, name: string) => backends.find((each) => each.name === name),
  } as unknown as Kernel;
}

const wishes: BackendWishes = {
  backend: undefined,
  processorModel: undefined,
  tscFrequency: undefined,
  processorCount: 1,
  incoming: false,
};

describe("the choice of an execution backend", () => {
  const slow = { preference: 10 };
  const fast = { preference: 100 };

  it("is the best that works, with its default CPU model, and says so", async () => {
    const chosen = await chooseBackend(kernelWith({ slow, fast }), wishes);
    expect(chosen).toMatchObject({ backend: { name: "fast" }, processorModel: "cpr64-v2" });
    expect(chosen.notice).toBe("execution backend 'fast' (it works)");
  });

  it("says why it is not a better one", async () => {
    const availability = { available: false, reason: "/dev/fast is missing" } as const;
    const { notice } = await chooseBackend(kernelWith({ slow, fast: { ...fast, availability } }), wishes);
    expect(notice).toBe(
      "execution backend 'slow' (it works). The execution backend 'fast' does not work here: /dev/fast is missing",
    );
  });

  it("passes one over that lacks features of the CPU model on this host", async () => {
    const missing = { "cpr64-v2": ["ssse3", "popcnt"] };
    const { backend, notice } = await chooseBackend(kernelWith({ slow, fast: { ...fast, missing } }), wishes);
    expect(backend.name).toBe("slow");
    expect(notice).toMatch(/'fast' lacks features of CPU model 'cpr64-v2' here: ssse3, popcnt$/);
  });

  it("is the user's, without a word", async () => {
    const chosen = await chooseBackend(kernelWith({ slow, fast }), { ...wishes, backend: "slow" });
    expect(chosen).toMatchObject({ backend: { name: "slow" }, notice: undefined });
  });

  it.each([
    [{ backend: "fast", processorModel: "486" }, "ERR_CPR_PROCESSOR_MODEL"],
    [{ backend: "fast", processorCount: 5 }, "ERR_CPR_PROCESSOR_COUNT"],
    [{ backend: "fast", tscFrequency: 1_000_000 }, "ERR_CPR_TSC_FREQUENCY"],
    [{ backend: "broken" }, "ERR_CPR_BACKEND_UNAVAILABLE"],
    [{ backend: "small" }, "ERR_CPR_PROCESSOR_FEATURES"],
    [{ processorModel: "486" }, "ERR_CPR_PROCESSOR_MODEL"],
    [{ processorCount: 5 }, "ERR_CPR_PROCESSOR_COUNT"],
  ] as const)("is refused with a code: %o", async (more, code) => {
    const kernel = kernelWith({
      fast: { ...fast, availability: { ...available, tscFrequency: 2_000_000_000 } },
      broken: { availability: { available: false, reason: "no" } },
      small: { missing: { "cpr64-v2": ["avx"] } },
    });
    await expect(chooseBackend(kernel, { ...wishes, ...more })).rejects.toMatchObject({ code });
  });
});

it("is not told of the backends when all refuse for the same reason", async () => {
  const kernel = kernelWith({ slow: { preference: 10 }, fast: { preference: 100 } });
  const refused = chooseBackend(kernel, { ...wishes, processorModel: "486" });
  await expect(refused).rejects.toMatchObject({ code: "ERR_CPR_PROCESSOR_MODEL", message: /'486'/ });
});

it("is told of each backend when the host is why none can be used", async () => {
  const kernel = kernelWith({
    broken: { availability: { available: false, reason: "no" } },
    small: { missing: { "cpr64-v2": ["avx"] } },
  });
  await expect(chooseBackend(kernel, wishes)).rejects.toMatchObject({
    code: "ERR_CPR_NO_BACKEND_AVAILABLE",
    message: expect.stringMatching(/'broken' does not work here: no; .*'small' lacks features .* avx$/),
  });
});

describe("the frequency of a new guest's time-stamp counter", () => {
  const bound = { preference: 100, availability: { ...available, tscFrequency: 2_000_000_000 } as const };
  const free = { preference: 10 };

  it("is the one that the backend is bound to", async () => {
    const chosen = await chooseBackend(kernelWith({ bound, free }), wishes);
    expect(chosen.tscFrequency).toBe(2_000_000_000);
  });

  it("is one that the host's other backends can provide, too", async () => {
    const chosen = await chooseBackend(kernelWith({ bound, free }), { ...wishes, backend: "free" });
    expect(chosen.tscFrequency).toBe(2_000_000_000);
  });

  it("is 1 GHz where nothing asks for another one, and what the user asks for where that can be", async () => {
    const kernel = kernelWith({ free });
    expect((await chooseBackend(kernel, wishes)).tscFrequency).toBe(1_000_000_000);
    expect((await chooseBackend(kernel, { ...wishes, tscFrequency: 5_000_000 })).tscFrequency).toBe(5_000_000);
  });

  it("comes with the checkpoint if there is one, so no other backend is asked", async () => {
    const chosen = await chooseBackend(kernelWith({ bound, free }), { ...wishes, backend: "free", incoming: true });
    expect(chosen.tscFrequency).toBe(1_000_000_000);
  });
});
