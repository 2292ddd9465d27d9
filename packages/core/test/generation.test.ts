import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GenerationMark, newGeneration } from "../src/migration/generation.ts";

let folder = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-core-"));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const markOf = (path: string | undefined, identity?: string, memory = new Uint8Array(new SharedArrayBuffer(2 ** 20))) =>
  GenerationMark.of(
    {
      type: "memory-backend-file",
      id: "ram0",
      size: memory.length,
      ...(path === undefined ? {} : { "mem-path": path }),
    },
    { identity, memory },
  );

describe("the mark of RAM in place", () => {
  it("stands beside a file, with a line for each generation, until it is removed", async () => {
    const path = join(folder, "ram0");
    await writeFile(path, "");
    const mark = markOf(path) as GenerationMark;
    expect(mark.read()).toEqual([]);
    const [first, second] = [newGeneration(), newGeneration()];
    mark.write([first, second]);
    expect(await readFile(`${path}.cpr`, "latin1")).toMatch(
      new RegExp(`^cpr generation ${first}\ncpr generation ${second}\ncpr file size=0 written=\\d+\n$`),
    );
    expect(markOf(path)?.read()).toEqual([first, second]);
    expect(await readdir(folder)).toEqual(["ram0", "ram0.cpr"]);
    mark.remove();
    mark.remove();
    expect(mark.read()).toEqual([]);
    mark.write([first]);
    mark.write([]);
    expect(await readdir(folder)).toEqual(["ram0"]);
  });

  it("belongs to a file as it was when it was written, or when the process found it, and an older one to any", async () => {
    const path = join(folder, "ram0");
    await writeFile(path, "RAM");
    const generation = newGeneration();
    markOf(path)?.write([generation]);
    const found = markOf(path) as GenerationMark;
    await utimes(path, 1, 1);
    expect(found.read()).toEqual([generation]);
    expect(markOf(path)?.read()).toEqual([]);
    await writeFile(`${path}.cpr`, `cpr generation ${generation}\n`);
    expect(markOf(path)?.read()).toEqual([generation]);
    await writeFile(`${path}.cpr`, `cpr generation ${generation}\nsomething else\n`);
    expect(markOf(path)?.read()).toEqual([]);
  });

  it("is not written for a file that was removed or replaced since it was opened", async () => {
    const path = join(folder, "ram0");
    await writeFile(path, "RAM");
    const mark = markOf(path) as GenerationMark;
    await rename(path, join(folder, "elsewhere"));
    const lost = expect.objectContaining({ code: "ERR_CPR_RAM_FILE_LOST" }) as Error;
    expect(() => mark.write([newGeneration()])).toThrow(lost);
    await writeFile(path, "RAM");
    expect(() => mark.write([newGeneration()])).toThrow(lost);
    mark.write([]);
    expect(await readdir(folder)).toEqual(["elsewhere", "ram0"]);
  });

  it("is in a folder that outlives a reboot for a device, by whatever name the device is called", async () => {
    const marks = join(folder, "state", "cpr");
    vi.stubEnv("CPR_STATE_DIRECTORY", marks);
    const name = join(folder, "dax0.0");
    await symlink("/dev/null", name);
    expect(markOf(name)).toBeUndefined();
    const mark = markOf(name, "nvdimm/1") as GenerationMark;
    expect(mark.read()).toEqual([]);
    mark.remove();
    const generation = newGeneration();
    mark.write([generation]);
    expect(await readdir(marks)).toEqual(["nvdimm%2F1.cpr"]);
    expect(markOf("/dev/zero", "nvdimm/1")?.read()).toEqual([generation]);
    expect(markOf("/dev/null", "nvdimm/2")?.read()).toEqual([]);
  });

  it("is none of a device whose memory has lost what was in it", () => {
    vi.stubEnv("CPR_STATE_DIRECTORY", folder);
    const memory = new Uint8Array(new SharedArrayBuffer(2 ** 20)).fill(0x5a);
    const mark = markOf("/dev/null", "dax0.0", memory) as GenerationMark;
    const generation = newGeneration();
    mark.write([generation]);
    expect(readFileSync(mark.path, "latin1")).toMatch(
      new RegExp(`^cpr generation ${generation}\ncpr memory samples=[0-9a-f]{8}\n$`),
    );
    expect(markOf("/dev/null", "dax0.0", memory)?.read()).toEqual([generation]);
    expect(markOf("/dev/null", "dax0.0")?.read()).toEqual([]);
    memory.fill(0, 2 ** 19);
    expect(mark.read()).toEqual([]);
  });

  it("cannot be where nothing can be written, which is told", () => {
    vi.stubEnv("CPR_STATE_DIRECTORY", "/dev/null/nowhere");
    const mark = markOf("/dev/null", "dax0.0") as GenerationMark;
    expect(() => mark.write([newGeneration()])).toThrow(
      expect.objectContaining({
        code: "ERR_CPR_BINDING_WRITE",
        message: expect.stringContaining("/dev/null/nowhere/dax0.0.cpr"),
      }) as Error,
    );
  });

  it("is none for RAM without a name, and for what is no file", () => {
    expect(markOf(undefined)).toBeUndefined();
    expect(markOf(join(folder, "missing"))).toBeUndefined();
    expect(markOf(folder)).toBeUndefined();
  });
});
