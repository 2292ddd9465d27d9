import { describe, expect, it } from "vitest";
import {
  cpuidEntries,
  decodeState,
  encodeState,
  findProcessorModel,
  missingFeatures,
  type ProcessorFeature,
  type ProcessorModel,
  processorFeatures,
  processorModels,
  processorState,
} from "../src/index.ts";
import { zeroState } from "./fakes/fake-plugin.ts";

const model = (level: 1 | 2 | 3) => findProcessorModel(`cpr64-v${level}`) as ProcessorModel;
const entryOf = (model: ProcessorModel, leaf: number, subleaf?: number, topology = { index: 0, count: 1 }) =>
  cpuidEntries(model, topology).find((entry) => entry.leaf === leaf && entry.subleaf === subleaf);

describe("CPU models", () => {
  it("are found by name", () => {
    expect(processorModels.map(({ name }) => findProcessorModel(name)?.name)).toEqual(
      [..."213"].map((level) => `cpr64-v${level}`),
    );
    expect(findProcessorModel("v1")).toBeUndefined();
  });

  it("contain each other by level", () => {
    expect(missingFeatures(model(1), (feature) => model(2).features.has(feature))).toEqual([]);
    expect(missingFeatures(model(2), (feature) => model(3).features.has(feature))).toEqual([]);
    expect(missingFeatures(model(3), (feature) => model(2).features.has(feature))).toEqual([
      ..."fma movbe avx f16c bmi1 avx2 bmi2 abm".split(" "),
    ]);
  });

  it("answer each leaf and subleaf once", () => {
    for (const each of processorModels) {
      const places = cpuidEntries(each, { index: 0, count: 4 }).map(({ leaf, subleaf }) => `${leaf} ${subleaf}`);
      expect(new Set(places).size).toBe(places.length);
    }
  });

  it("tell of a feature exactly if they have it", () => {
    for (const each of processorModels) {
      for (const [name, [leaf, subleaf, register, bit]] of Object.entries(processorFeatures)) {
        const told = (((entryOf(each, leaf, subleaf)?.[register] ?? 0) >>> bit) & 1) === 1;
        expect([each.name, name, told]).toEqual([each.name, name, each.features.has(name as ProcessorFeature)]);
      }
    }
  });

  it("tell each vCPU which one of how many it is", () => {
    const topology = { index: 2, count: 4 };
    expect((entryOf(model(2), 1, undefined, topology)?.ebx ?? 0) >>> 16).toBe(0x0204);
    expect(entryOf(model(2), 0xb, 1, topology)).toMatchObject({ eax: 2, ebx: 4, edx: 2 });
    expect(entryOf(model(2), 0x8000_0008, undefined, topology)?.ecx).toBe(0x2003);
  });

  it("have KVM's signature, because kvmclock is KVM's", () => {
    const { ebx, ecx, edx } = entryOf(model(2), 0x4000_0000) ?? { ebx: 0, ecx: 0, edx: 0 };
    expect(Buffer.from(Uint32Array.of(ebx, ecx, edx).buffer).toString("latin1")).toBe("KVMKVMKVM\0\0\0");
  });
});

describe("the state of a vCPU", () => {
  it("of version 1 had the interpreter's time-stamp counter and no kvmclock", () => {
    const { olderFields } = processorState;
    const first = {
      ...processorState,
      version: 1,
      fields: olderFields[1] ?? {},
      size: 0,
      upgrades: {},
      olderFields: {},
    };
    const size = Object.values(first.fields).reduce((sum, field) => sum + field.size, 0);
    const state = zeroState({ ...first, size });
    const encoded = encodeState("cpu", { ...first, size }, { ...state, tsc: 77n });
    expect(decodeState("cpu", processorState, encoded)).toEqual({
      ...state,
      tsc: 77n,
      tscFrequency: 1_000_000_000n,
      systemTime: 0n,
    });
  });
});
