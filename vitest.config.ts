import { existsSync, readdirSync } from "node:fs";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const packages = readdirSync(new URL("./packages", import.meta.url)).filter((folder) =>
  existsSync(new URL(`./packages/${folder}/package.json`, import.meta.url)),
);

const conditions = ["source", "node", "module", "import", "default"];

/** What takes longest begins first: alone at the end it would make everybody wait. */
class LabFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isOfLab = ({ moduleId }: TestSpecification): boolean => moduleId.endsWith("/lab.slow.test.ts");
    const sorted = await super.sort(files);
    return [...sorted.filter(isOfLab), ...sorted.filter((file) => !isOfLab(file))];
  }
}

/**
 * One project for each package, named like its folder (`vitest run --project transport-file`), and one for `tools/`.
 *
 * The condition `source` comes first, so that tests run on the sources of all workspace packages; nothing has to be built
 * for a unit test. Processes and worker threads that a test starts run `dist`, which is bundled first if sources have changed.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    sequence: { sequencer: LabFirst },
    globalSetup: "tools/bundle.ts",
    projects: [
      ...packages.map((folder) => ({ name: folder, root: `packages/${folder}` })),
      { name: "tools", root: "tools" },
    ].map(({ name, root }) => ({
      root,
      resolve: { conditions },
      ssr: { resolve: { conditions } },
      test: {
        name,
        include: ["test/**/*.test.ts", "src/**/*.test.ts"],
        pool: "forks",
        testTimeout: 90_000,
        hookTimeout: 90_000,
      },
    })),
  },
});
