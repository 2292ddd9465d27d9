import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { transportUri } from "@cpr/testkit/fakes";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileTransport } from "../src/index.ts";
import { temporaryName } from "../src/temporary-name.ts";

let folder = "";
let path = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-temporary-"));
  path = join(folder, "vm.state");
});

afterEach(() => rm(folder, { recursive: true }));

async function save(): Promise<void> {
  const sink = await new FileTransport().openSink(transportUri(`file:${path}`));
  await sink.write(new TextEncoder().encode("a stream"));
  await sink.commit();
}

/** The number of a process that has ended. */
const dead = (): number => spawnSync("true").pid;

interface Writer {
  readonly machine?: string;
  readonly boot?: string;
  readonly namespace?: string;
  readonly process?: number;
}

/** The name as another writer would have made it. */
function nameBy({ machine, boot, namespace, process }: Writer): string {
  const parts = /^(.*\.)([0-9a-f]+)-([0-9a-f]+)-(\d+)-(\d+)(-[0-9a-f]+\.tmp)$/.exec(temporaryName(path));
  const [, prefix, thisMachine, thisBoot, thisNamespace, thisProcess, rest] = parts as unknown as string[];
  const writer = [machine ?? thisMachine, boot ?? thisBoot, namespace ?? thisNamespace, process ?? thisProcess];
  return `${prefix}${writer.join("-")}${rest}`;
}

describe("what a killed process has left behind", () => {
  it("is removed by the next save, and only that", async () => {
    const ofDead = nameBy({ process: dead() });
    const ofLiving = nameBy({});
    const ofOtherNamespace = nameBy({ namespace: "1", process: dead() });
    const ofOtherMachine = nameBy({ machine: "abcdef01", boot: "abcdef01" });
    const ofEarlierBoot = nameBy({ boot: "abcdef01" });
    // A machine without an identity cannot tell its earlier boots from other machines.
    const kept = (await readFile("/etc/machine-id", "latin1").catch(() => "")).trim() === "" ? [ofEarlierBoot] : [];
    const foreign = [".vm.state.swp", ".vm.state.1-2-3.tmp", ".other.state.tmp"].map((name) => join(folder, name));
    for (const name of [ofDead, ofLiving, ofOtherNamespace, ofOtherMachine, ofEarlierBoot, ...foreign]) {
      await writeFile(name, "");
    }
    await save();
    expect((await readdir(folder)).sort()).toEqual(
      [path, ...kept, ofLiving, ofOtherNamespace, ofOtherMachine, ...foreign].map((each) => basename(each)).sort(),
    );
    expect(await readFile(path, "latin1")).toBe("a stream");
  });

  it("has a name that the file system takes, however long the file's own is", async () => {
    path = join(folder, "ä".repeat(127));
    await save();
    expect(await readdir(folder)).toEqual([basename(path)]);
  });
});
