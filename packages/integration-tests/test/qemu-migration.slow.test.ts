import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { DebianArchiveError } from "../../../tools/debian-archive.ts";
import { qemuSourceFile } from "../../../tools/qemu-source.ts";
import { QmpProcess } from "./qmp-process.ts";
import { scratchFolder } from "./scratch.ts";

// QEMU's test cases of migrations that do not go through a file (tests/qtest/migration/), by their names.

const run = promisify(execFile);

/** Two processes with private RAM, of which the second waits, and a guest in the first. */
async function pair(
  options: readonly string[] = [],
  targetOptions: readonly string[] = options,
): Promise<{ source: QmpProcess; target: QmpProcess; folder: string; uri: string }> {
  const folder = scratchFolder();
  const source = await QmpProcess.start({ folder, name: "source", options });
  const target = await QmpProcess.start({
    folder,
    name: "target",
    options: [...targetOptions, "-incoming", "defer"],
  });
  return { source, target, folder, uri: `unix:${join(folder, "migsocket")}` };
}

/** Moves the guest between two live processes. The target listens a moment after it has answered. */
async function migrate(source: QmpProcess, target: QmpProcess, uri: string): Promise<void> {
  await target.execute("migrate-incoming", { uri, "exit-on-error": false });
  await connectAndMigrate(source, uri);
  await source.untilMigration("completed");
}

async function connectAndMigrate(source: QmpProcess, uri: string): Promise<void> {
  await expect
    .poll(() => source.execute("migrate", { uri }).then(() => "begun", String), { timeout: 20_000 })
    .toBe("begun");
}

describe("/migration/precopy/unix/suspend", () => {
  it.each([
    ["live", false],
    ["notlive", true],
  ])("%s", async (_, stopped) => {
    const { source, target, uri } = await pair(["-append", "suspend"]);
    // Not by its event: a guest may be asleep before our client has negotiated.
    await expect.poll(() => source.status(), { timeout: 20_000 }).toEqual({ running: false, status: "suspended" });
    if (stopped) {
      await source.execute("stop");
      await source.until("STOP");
      expect((await source.status()).status).toBe("paused");
    }
    await migrate(source, target, uri);
    await target.untilMigration("completed");
    if (stopped) {
      expect((await target.status()).status).toBe("paused");
      await target.execute("cont");
    }
    await target.until("RESUME");
    expect((await target.status()).status).toBe("suspended");
    // Only a suspended guest can be woken.
    await expect(source.execute("system_wakeup")).rejects.toThrow("Unable to wake up: guest is not in suspended state");
    await target.execute("system_wakeup");
    await target.until("WAKEUP");
    expect(await target.status()).toEqual({ running: true, status: "running" });
    await target.untilPrinted("B");
  });
});

it("/migration/analyze-script", async ({ skip }) => {
  const script = await qemuSourceFile("scripts/analyze-migration.py").catch((error: unknown) => {
    if (error instanceof DebianArchiveError) return skip(error.message);
    throw error;
  });
  const folder = scratchFolder();
  const file = join(folder, "migfile");
  const options = ["-uuid", "11111111-1111-1111-1111-111111111111"];
  const source = await QmpProcess.start({ folder, name: "source", options });
  await source.setCapabilities("validate-uuid", "x-ignore-shared");
  await source.untilPrinted("B");
  await source.execute("migrate", { uri: `exec:cat > ${file}` });
  await source.untilMigration("completed");
  const { stdout } = await run("python3", [script, "-f", file], { maxBuffer: 1 << 26 });
  expect(stdout).toContain('"globalstate (');
});

describe("/migration/ignore-shared", () => {
  /** Two processes with the same RAM: the second waits beside the first. */
  async function sharing() {
    const folder = scratchFolder();
    const object = `memory-backend-file,id=ram0,size=32M,mem-path=${join(folder, "ram")},share=on`;
    const start = async (name: string, ...more: string[]): Promise<QmpProcess> => {
      const process = await QmpProcess.start({ folder, name, options: ["-object", object, ...more] });
      await process.setCapabilities("x-ignore-shared");
      return process;
    };
    const source = await start("source");
    await source.untilPrinted("B");
    return { source, folder, uri: `unix:${join(folder, "migsocket")}`, start };
  }

  it("", async () => {
    const { source, uri, start } = await sharing();
    const target = await start("target", "-incoming", "defer");
    await migrate(source, target, uri);
    await target.untilMigration("completed");
    expect((await source.migration()).ram?.transferred).toBeLessThan(4 * 1024 * 1024);
    await target.untilPrinted("B");
    // The source has given its RAM up: to go on, it would need it as it was.
    await expect(source.execute("cont")).rejects.toThrow("is the RAM of another VM");
    await target.quit();
    await expect(source.execute("cont")).rejects.toThrow("does not belong to this checkpoint: it was used since");
    expect((await source.status()).status).toBe("postmigrate");
  });

  it("that the target cannot load leaves RAM to the source", async () => {
    const { source, uri, start } = await sharing();
    const target = await start("target", "-cpu", "cpr64-v1", "-incoming", "defer");
    await migrate(source, target, uri).catch(() => undefined);
    await expect.poll(async () => (await target.migration()).status, { timeout: 20_000 }).toBe("failed");
    if ((await source.migration()).status === "completed") await source.execute("cont");
    await expect.poll(() => source.status(), { timeout: 20_000 }).toEqual({ running: true, status: "running" });
    await source.untilPrinted("B");
  });

  it("goes to a waiting process when the checkpoint is whole, and not while the guest runs", async () => {
    const { source, folder, start } = await sharing();
    const file = `file:${join(folder, "migfile")}`;
    const target = await start("target", "-incoming", "defer");
    const load = (): Promise<unknown> =>
      target.execute("human-monitor-command", { "command-line": `migrate_incoming ${file}` });
    await source.execute("migrate", { uri: file });
    await source.untilMigration("completed");
    await source.execute("cont");
    expect(await load()).toContain("is the RAM of another VM");
    expect((await target.status()).status).toBe("inmigrate");
    await source.execute("migrate", { uri: file });
    await source.untilMigration("completed");
    expect(await load()).toBe("");
    await expect(source.execute("cont")).rejects.toThrow("is the RAM of another VM");
    expect((await source.status()).status).toBe("postmigrate");
    await source.quit();
    await target.untilPrinted("B");
  });
});

it("/migration/bad_dest", async () => {
  const folder = scratchFolder();
  const source = await QmpProcess.start({ folder, name: "source" });
  await expect(source.execute("migrate", { uri: "tcp:127.0.0.1:1" })).rejects.toThrow("Connection refused");
  expect((await source.migration()).status).toBe("failed");
  expect(await source.status()).toEqual({ running: true, status: "running" });
});

describe("/migration/validate_uuid", () => {
  const one = ["-uuid", "11111111-1111-1111-1111-111111111111"];
  const other = ["-uuid", "22222222-2222-2222-2222-222222222222"];

  it.each([
    ["", one, one],
    ["_src_not_set", [], one],
    ["_dst_not_set", one, []],
  ])("%s", async (_, sourceOptions, targetOptions) => {
    const { source, target, uri } = await pair(sourceOptions, targetOptions);
    await source.setCapabilities("validate-uuid");
    await target.setCapabilities("validate-uuid");
    await migrate(source, target, uri);
    const { "x-notices": notices = [] } = await target.untilMigration("completed");
    const unset = sourceOptions.length > 0 && targetOptions.length === 0;
    expect(notices.some((notice) => /^UUID is received .*, but local uuid isn't set$/.test(notice))).toBe(unset);
    await target.untilPrinted("B");
  });

  it("_error", async () => {
    const { source, target, uri } = await pair(one, other);
    await source.setCapabilities("validate-uuid");
    await target.setCapabilities("validate-uuid");
    await target.execute("migrate-incoming", { uri, "exit-on-error": true });
    await connectAndMigrate(source, uri);
    const { status, stderr } = await target.ended;
    expect(stderr).toContain(`UUID received is ${one[1]} and local is ${other[1]}`);
    // QEMU says 1 for everything; this is the status of a checkpoint that does not fit.
    expect(status).toBe(6);
    // Unlike QEMU's, this target reads the whole stream and checks that it is not damaged before it judges what is in it. So the
    // source may have sent everything and be done; its VM is still there.
    await expect
      .poll(async () => (await source.migration()).status, { timeout: 20_000 })
      .toMatch(/^(failed|completed)$/);
    if ((await source.migration()).status === "completed") await source.execute("cont");
    expect((await source.status()).running).toBe(true);
  });
});

describe("/migration/validate_uri/channels", () => {
  const channels = [{ "channel-type": "main", addr: { transport: "file", filename: "/nowhere/file", offset: 0 } }];

  it.each([
    ["both_set", { uri: "file:/nowhere/file", channels }],
    ["none_set", {}],
  ])("%s", async (_, values) => {
    const source = await QmpProcess.start({ folder: scratchFolder(), name: "source" });
    await expect(source.execute("migrate", values)).rejects.toThrow("need either 'uri' or 'channels' argument");
    expect((await source.status()).running).toBe(true);
    const waiting = await QmpProcess.start({
      folder: scratchFolder(),
      name: "target",
      options: ["-incoming", "defer"],
    });
    await expect(waiting.execute("migrate-incoming", values)).rejects.toThrow(
      "need either 'uri' or 'channels' argument",
    );
    expect((await waiting.status()).status).toBe("inmigrate");
  });
});

describe("/migration/cancel/src/after", () => {
  /** A migration that takes seconds, to `status`; and what follows from a cancellation then. */
  const cases: readonly {
    readonly status: string;
    /** Waits until the migration that begins with `uri` is there. */
    readonly reach?: (source: QmpProcess, uri: string) => Promise<void>;
    readonly after: string | undefined;
  }[] = [
    { status: "none", after: undefined },
    { status: "setup", reach: (source, uri) => slowly(source, uri, "setup"), after: "cancelled" },
    { status: "active", reach: (source, uri) => slowly(source, uri, "active"), after: "cancelled" },
    {
      status: "cancelling",
      reach: async (source, uri) => {
        await slowly(source, uri, "active");
        await source.execute("migrate_cancel");
      },
      after: "cancelled",
    },
    {
      status: "cancelled",
      reach: async (source, uri) => {
        await slowly(source, uri, "active");
        await source.execute("migrate_cancel");
        await source.untilMigration("cancelled");
      },
      after: "cancelled",
    },
    {
      status: "completed",
      reach: async (source, uri) => {
        await source.execute("migrate", { uri });
        await source.untilMigration("completed");
      },
      after: "completed",
    },
    {
      status: "failed",
      reach: async (source) => {
        await source.execute("migrate", { uri: "exec:cat > /dev/null; exit 7" });
        await source.untilMigration("failed");
      },
      after: "failed",
    },
    {
      status: "pre-switchover",
      reach: async (source, uri) => {
        await source.setCapabilities("pause-before-switchover");
        await source.execute("migrate", { uri });
        await source.untilMigration("pre-switchover");
      },
      after: "cancelled",
    },
  ];

  /** Begins a migration that would take a minute, and waits for the event that tells of a status. */
  async function slowly(source: QmpProcess, uri: string, status: string): Promise<void> {
    await source.setParameters({ "max-bandwidth": 256 * 1024 });
    await source.execute("migrate", { uri });
    await source.until(`MIGRATION ${status}`);
  }

  it.each(cases)("$status", async ({ reach, after }) => {
    const folder = scratchFolder();
    const uri = `file:${join(folder, "migfile")}`;
    const source = await QmpProcess.start({ folder, name: "source" });
    await source.untilPrinted("B");
    await reach?.(source, uri);
    await source.execute("migrate_cancel");
    await source.execute("migrate_cancel");
    if (after !== undefined) await source.untilMigration(after);
    await source.execute("migrate_cancel");
    expect((await source.migration()).status).toBe(after);
    if (after === "completed") {
      expect((await source.status()).status).toBe("postmigrate");
      await source.execute("cont");
    }
    // As in QEMU, the failure can be seen before the VM runs again.
    await expect.poll(() => source.status(), { timeout: 20_000 }).toEqual({ running: true, status: "running" });
    await source.untilPrinted("B");

    // A later migration works.
    await source.execute("migrate-set-capabilities", {
      capabilities: [{ capability: "pause-before-switchover", state: false }],
    });
    await source.setParameters({ "max-bandwidth": 0 });
    await source.execute("migrate", { uri });
    await source.untilMigration("completed");
    const target = await QmpProcess.start({ folder, name: "target", options: ["-incoming", "defer"] });
    await target.execute("migrate-incoming", { uri });
    await target.untilPrinted("B");
  });
});
