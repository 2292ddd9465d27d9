import { describe, expect, it, onTestFinished } from "vitest";
import { allCells, cellName, expectedOutcome, matrixKernel, memories, Traveller } from "./migration-matrix.ts";
import { programHosts } from "./program-run.ts";
import { scratchFolder } from "./scratch.ts";

describe.each(programHosts)("on $name", ({ name: backend, processorModel }) => {
  it.each(Object.entries(memories))(
    "RAM '%s' moves by each mode and transport, or is refused, as their statements say",
    { timeout: 120_000 },
    async (_, memory) => {
      await using kernel = matrixKernel();
      const traveller = new Traveller({ kernel, backend, processorModel, memory, newFolder: scratchFolder });
      onTestFinished(() => traveller.end());
      await traveller.start();
      const supports = traveller.memorySupports;
      const cells = await allCells(kernel);
      const outcomes: [string, string][] = [];
      for (const cell of cells) outcomes.push([cellName(cell), await traveller.move(cell)]);
      expect(Object.fromEntries(outcomes)).toEqual(
        Object.fromEntries(cells.map((cell) => [cellName(cell), expectedOutcome(cell, supports)])),
      );
    },
  );
});
