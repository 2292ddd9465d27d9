import { describe, expect, it, onTestFinished } from "vitest";
import {
  allCells,
  cellName,
  expectedOutcome,
  matrixKernel,
  memories,
  Traveller,
  unreachableTransports,
} from "./migration-matrix.ts";
import { programHosts } from "./program-run.ts";
import { scratchFolder } from "./scratch.ts";

describe.each(programHosts)("on $name", ({ name: backend, processorModel }) => {
  it.each(Object.entries(memories))(
    "RAM '%s' moves by each mode and transport, or is refused, as their statements say",
    { timeout: 300_000 },
    async (name, memory) => {
      await using kernel = matrixKernel();
      const unreachable = await unreachableTransports(kernel);
      const newFolder = scratchFolder;
      const traveller = new Traveller({ kernel, backend, processorModel, memory, unreachable, newFolder });
      onTestFinished(() => traveller.end());
      await traveller.start();
      const supports = traveller.memorySupports;
      const cells = await allCells(kernel, name);
      const outcomes: [string, string][] = [];
      for (const cell of cells) outcomes.push([cellName(cell), await traveller.move(cell)]);
      expect(Object.fromEntries(outcomes)).toEqual(
        Object.fromEntries(cells.map((cell) => [cellName(cell), expectedOutcome(cell, supports, unreachable)])),
      );
    },
  );
});
