import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { QmpProcess } from "./qmp-process.ts";
import { scratchFolder } from "./scratch.ts";

/** Opens a file; the descriptor is closed when the test ends. */
function opened(path: string, flags: number): number {
  const descriptor = openSync(path, flags, 0o600);
  onTestFinished(() => closeSync(descriptor));
  return descriptor;
}

/** Both ends of a pipe, for processes to inherit; the test closes its own. */
function pipe(folder: string): { reading: number; writing: number; close(): void } {
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writing = openSync(path, constants.O_WRONLY);
  return {
    reading,
    writing,
    close: () => {
      closeSync(reading);
      closeSync(writing);
    },
  };
}

/** NOTE: Node tells the number to nobody, so this looks inside. */
const descriptorOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;

/** A guest that runs. */
async function running(folder: string, more: Partial<Parameters<typeof QmpProcess.start>[0]> = {}) {
  const process = await QmpProcess.start({ folder, name: "source", ...more });
  await process.untilPrinted("B");
  return process;
}

/** A process that waits for a checkpoint. */
async function waiting(folder: string, more: Partial<Parameters<typeof QmpProcess.start>[0]> = {}) {
  return QmpProcess.start({ folder, name: "target", options: ["-incoming", "defer"], ...more });
}

describe("file:/dev/fdset/N", () => {
  it("/migration/precopy/file/offset/fdset: a checkpoint in a file that only descriptors lead to", async () => {
    const folder = scratchFolder();
    const path = join(folder, "migfile");
    writeFileSync(path, "X".repeat(0x1000));
    const uri = "file:/dev/fdset/1,offset=0x1000";

    const source = await running(folder);
    await source.setParameters({ mode: "cpr-reboot" });
    await source.execute("add-fd", { "fdset-id": 1 }, [opened(path, constants.O_RDONLY)]);
    await expect(source.execute("migrate", { uri })).rejects.toThrow(
      "Failed to find file descriptor with matching flags=0x1",
    );
    expect((await source.status()).status).toBe("running");
    await source.execute("add-fd", { "fdset-id": 1, opaque: "for writing" }, [opened(path, constants.O_WRONLY)]);
    await source.execute("migrate", { uri });
    await source.untilMigration("completed");
    await source.execute("remove-fd", { "fdset-id": 1 });
    expect(await source.execute("query-fdsets")).toEqual([]);
    await source.quit();
    expect(readFileSync(path, "latin1").slice(0, 0x1004)).toBe(`${"X".repeat(0x1000)}QEVM`);

    const target = await waiting(folder);
    await target.setParameters({ mode: "cpr-reboot" });
    await target.execute("add-fd", { "fdset-id": 1 }, [opened(path, constants.O_RDONLY)]);
    await target.execute("migrate-incoming", { uri });
    await target.untilMigration("completed");
    await target.execute("remove-fd", { "fdset-id": 1 });
    expect(await target.execute("query-fdsets")).toEqual([]);
    await target.untilPrinted("B");
    await target.quit();
  });

  it.for([
    ["fdset", []],
    ["fdset/dio", [constants.O_DIRECT]],
  ] as const)(
    "/migration/multifd/file/mapped-ram/%s: threads that use descriptors of the set",
    async ([_name, direct], { skip }) => {
      // Not on tmpfs: O_DIRECT.
      const folder = join(import.meta.dirname, "../../../.cache/descriptors");
      mkdirSync(folder, { recursive: true });
      const path = join(folder, `migfile-${process.pid}-${direct.length}`);
      onTestFinished(() => rmSync(path, { force: true }));
      try {
        for (const flag of direct) closeSync(openSync(path, constants.O_WRONLY | constants.O_CREAT | flag));
      } catch {
        return skip("the file system of the checkout has no O_DIRECT");
      }
      const sockets = scratchFolder();
      const set = async (side: QmpProcess, access: number): Promise<void> => {
        await side.setCapabilities("mapped-ram", "multifd");
        await side.setParameters({ mode: "cpr-reboot", "multifd-channels": 4, "direct-io": direct.length > 0 });
        for (const flag of [0, ...direct]) {
          await side.execute("add-fd", { "fdset-id": 1 }, [opened(path, access | flag | constants.O_CREAT)]);
        }
      };
      const uri = "file:/dev/fdset/1";
      const source = await running(sockets);
      await set(source, constants.O_WRONLY);
      await source.execute("migrate", { uri });
      await source.untilMigration("completed");
      await source.execute("remove-fd", { "fdset-id": 1 });
      expect(await source.execute("query-fdsets")).toEqual([]);
      await source.quit();
      const target = await waiting(sockets);
      await set(target, constants.O_RDONLY);
      await target.execute("migrate-incoming", { uri });
      await target.untilMigration("completed");
      await target.untilPrinted("B");
      await target.quit();
    },
  );

  it("takes descriptors that the process was started with", async () => {
    const folder = scratchFolder();
    const path = join(folder, "migfile");
    const writing = opened(path, constants.O_WRONLY | constants.O_CREAT);
    const options = ["-add-fd", "fd=3,set=7,opaque=mine"];
    const source = await running(folder, { options, descriptors: [writing] });
    expect(await source.execute("query-fdsets")).toEqual([{ "fdset-id": 7, fds: [{ fd: 3, opaque: "mine" }] }]);
    await source.setParameters({ mode: "cpr-reboot" });
    await source.execute("migrate", { uri: "file:/dev/fdset/7" });
    await source.untilMigration("completed");
    await source.quit();
    const target = await waiting(folder, {
      options: ["-add-fd", "fd=3,set=7", "-incoming", "defer"],
      descriptors: [opened(path, constants.O_RDONLY)],
    });
    await target.execute("migrate-incoming", { uri: "file:/dev/fdset/7" });
    await target.untilMigration("completed");
    await target.untilPrinted("B");
    await target.quit();
  });
});

describe("fd:", () => {
  it("moves a guest through a pipe, inherited here and named there", async () => {
    const folder = scratchFolder();
    const ends = pipe(folder);
    const target = await waiting(folder, { descriptors: [ends.reading] });
    const source = await running(folder);
    await source.execute("getfd", { fdname: "out" }, [ends.writing]);
    ends.close();
    await source.execute("migrate", { uri: "fd:out" });
    await target.execute("migrate-incoming", { uri: "fd:3" });
    await source.untilMigration("completed");
    await target.untilMigration("completed");
    expect((await source.status()).status).toBe("postmigrate");
    await target.untilPrinted("B");
    // It is used up.
    await source.execute("cont");
    await expect(source.execute("migrate", { uri: "fd:out" })).rejects.toThrow(
      "File descriptor named 'out' has not been found",
    );
    expect((await source.status()).status).toBe("running");
  });

  it("/migration/precopy/fd/tcp: moves a guest through a connected socket, named on both sides", async () => {
    const folder = scratchFolder();
    const { promise, resolve } = Promise.withResolvers<Socket>();
    const server = createServer({ pauseOnConnect: true }, resolve).listen(0, "127.0.0.1");
    await once(server, "listening");
    const ends = [connect((server.address() as AddressInfo).port, "127.0.0.1"), await promise] as const;
    server.close();
    const target = await waiting(folder);
    const source = await running(folder);
    await source.execute("getfd", { fdname: "fd-mig" }, [descriptorOf(ends[0])]);
    await target.execute("getfd", { fdname: "fd-mig" }, [descriptorOf(ends[1])]);
    for (const each of ends) each.destroy();
    await source.execute("migrate", { uri: "fd:fd-mig" });
    await target.execute("migrate-incoming", { uri: "fd:fd-mig" });
    await source.untilMigration("completed");
    await target.untilMigration("completed");
    await target.untilPrinted("B");
    // As in QEMU's test: neither side has the name any more.
    for (const side of [source, target]) {
      await expect(side.execute("closefd", { fdname: "fd-mig" })).rejects.toThrow(
        "File descriptor named 'fd-mig' not found",
      );
    }
  });

  it("is refused for cpr-reboot and for files, and the guest runs on", async () => {
    const folder = scratchFolder();
    const source = await running(folder, {
      descriptors: [opened(join(folder, "file"), constants.O_WRONLY | constants.O_CREAT)],
    });
    await expect(source.execute("migrate", { uri: "fd:3" })).rejects.toThrow(
      "fd: migration to a file is not supported. Use file: instead.",
    );
    await source.setParameters({ mode: "cpr-reboot" });
    await expect(source.execute("migrate", { uri: "fd:3" })).rejects.toThrow(
      "'fd:3' cannot be used in mode cpr-reboot: fd: streams from one instance to the other, so nothing would be left to restart from",
    );
    expect((await source.status()).running).toBe(true);
    await source.untilPrinted("B");
  });
});

describe("sockets", () => {
  it.each(["tcp:127.0.0.1:4444", "unix:/run/nobody", "vsock:2:4444"])(
    "%s is refused for cpr-reboot, which says why and what to use",
    async (uri) => {
      const scheme = uri.split(":", 1)[0];
      const source = await running(scratchFolder());
      await source.setParameters({ mode: "cpr-reboot" });
      await expect(source.execute("migrate", { uri })).rejects.toMatchObject({
        code: "ERR_CPR_REBOOT_STREAMS",
        message: `'${uri}' cannot be used in mode cpr-reboot: ${scheme}: streams from one instance to the other, so nothing would be left to restart from`,
        hint: "Use a URI that keeps the bytes: exec:… or file:…",
      });
      expect((await source.status()).running).toBe(true);
    },
  );

  it("that are closed by the other side before all was sent leave the guest running", async () => {
    const folder = scratchFolder();
    const path = join(folder, "listener");
    const server = createServer((socket: Socket) => socket.once("data", () => socket.destroy())).listen(path);
    onTestFinished(() => void server.close());
    const source = await running(folder);
    await source.execute("migrate", { uri: `unix:${path}` });
    await expect(source.untilMigration("completed")).rejects.toThrow("The connection to");
    await source.until("RESUME");
    expect((await source.status()).running).toBe(true);
    await source.untilPrinted("B");
  });
});
