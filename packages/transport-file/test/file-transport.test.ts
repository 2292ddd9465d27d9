import { readFileSync, writeSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostFileSystem } from "@cpr/core";
import { transportUri } from "@cpr/testkit/fakes";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileTransport } from "../src/index.ts";

const transport = new FileTransport();
const bytes = new TextEncoder().encode("a stream");
let folder = "";
let path = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-file-"));
  path = join(folder, "vm.state");
});

afterEach(() => rm(folder, { recursive: true }));

async function send(uri: string, contents: Uint8Array = bytes): Promise<void> {
  const sink = await transport.openSink(transportUri(uri));
  await sink.write(contents);
  await sink.commit();
}

async function receive(uri: string): Promise<string> {
  const source = await transport.openSource(transportUri(uri));
  const buffer = new Uint8Array(100);
  const count = await source.read(buffer);
  await source.close();
  return new TextDecoder().decode(buffer.subarray(0, count));
}

describe("file:PATH,offset=N", () => {
  it.each([
    ["0x10", 16],
    ["10", 10],
    ["1k", 1024],
    ["1.5K", 1536],
    ["1M", 1 << 20],
    ["0", 0],
  ])("reads the offset %s as QEMU does", async (text, offset) => {
    await writeFile(path, "X".repeat(2 << 20));
    await send(`file:${path},offset=${text}`);
    const contents = await readFile(path, "latin1");
    expect(contents).toBe(`${"X".repeat(offset)}a stream`);
    expect(await receive(`file:${path},offset=${text}`)).toBe("a stream");
  });

  it.each(["0x20M", "", "M", "-1", "1.5", "1Q", "12 ", "1M,offset=2"])("refuses the offset '%s'", async (offset) => {
    const uri = transportUri(`file:${path},offset=${offset}`);
    const refusal = { code: "ERR_CPR_FILE_OFFSET", message: `file URI has bad offset ${offset}: Invalid argument` };
    await expect(transport.openSink(uri)).rejects.toMatchObject(refusal);
    await expect(transport.openSource(uri)).rejects.toMatchObject(refusal);
    expect(await readdir(folder)).toEqual([]);
  });

  it("tells a bad offset, and the space that is free, before anything is opened", async () => {
    const examine = (uri: string) => transport.examine(transportUri(uri));
    await expect(examine(`file:${path},offset=0x20M`)).rejects.toMatchObject({ code: "ERR_CPR_FILE_OFFSET" });
    expect((await examine(`file:${path},offset=0x1000`)).free).toBeGreaterThan(0);
    await send(`file:${path}`);
    const { dev, ino } = await stat(path);
    expect(await examine(`file:${path}`)).toEqual({
      free: expect.any(Number) as number,
      survivesReboot: hostFileSystem(folder).survivesReboot,
      identity: `${dev}:${ino}`,
    });
    expect(await examine("file:/dev/null")).toEqual({});
    for (const [place, reason] of [
      [join(folder, "missing", "vm.state"), "No such file or directory"],
      [join(path, "vm.state"), "Not a directory"],
      [folder, "Is a directory"],
    ] as const) {
      expect(await examine(`file:${place}`)).toEqual({
        problem: expect.objectContaining({
          code: "ERR_CPR_FILE_OPEN",
          message: `Could not open '${place}': ${reason}`,
        }) as Error,
      });
    }
    expect(await readdir(folder)).toEqual(["vm.state"]);
  });

  it("tells that what is on tmpfs does not outlive a reboot, also where a link leads there", async () => {
    const volatile = await mkdtemp("/dev/shm/transport-file-");
    try {
      const target = join(volatile, "vm.state");
      await writeFile(target, "");
      await symlink(target, path);
      for (const place of [target, join(volatile, "other"), path]) {
        expect(await transport.examine(transportUri(`file:${place}`))).toMatchObject({ survivesReboot: false });
      }
    } finally {
      await rm(volatile, { recursive: true });
    }
  });

  it("takes a comma that does not begin an offset as part of the path", async () => {
    await send(`file:${path},more`);
    expect(await readdir(folder)).toEqual(["vm.state,more"]);
  });

  it("keeps what stands below the offset when it is given up, and makes a hole where nothing was", async () => {
    await writeFile(path, "header");
    const sink = await transport.openSink(transportUri(`file:${path},offset=4096`));
    await sink.write(bytes);
    await sink.abort();
    expect(await readFile(path, "latin1")).toBe("header");
    await send(`file:${path},offset=4096`);
    expect(await readFile(path, "latin1")).toBe(`${"header".padEnd(4096, "\0")}a stream`);
  });
});

describe("channels", () => {
  it("begin where the stream begins", async () => {
    const uri = transportUri(`file:${path},offset=8192`);
    const sink = await transport.openSink(uri);
    const channel = await sink.openChannel?.({ direct: false });
    expect(channel?.start).toBe(8192);
    await channel?.close();
    await sink.commit();
    const source = await transport.openSource(uri);
    const other = await source.openChannel?.({ direct: false });
    expect(other?.start).toBe(8192);
    await other?.close();
    await source.close();
  });

  it("are of the file that was opened, also when its name belongs to another one", async () => {
    await send(`file:${path}`);
    const source = await transport.openSource(transportUri(`file:${path}`));
    await send(`file:${path}`, new TextEncoder().encode("another stream"));
    const channel = await source.openChannel?.({ direct: false });
    expect(readFileSync(channel?.descriptor as number, "latin1")).toBe("a stream");
    await channel?.close();
    await source.close();
  });

  it("can be opened of a file that will replace one that nobody may write to", async () => {
    await writeFile(path, "old", { mode: 0o400 });
    const sink = await transport.openSink(transportUri(`file:${path}`));
    const channel = await sink.openChannel?.({ direct: false });
    writeSync(channel?.descriptor as number, "a stream", 0);
    await channel?.close();
    await sink.commit();
    expect(await readFile(path, "latin1")).toBe("a stream");
    expect((await stat(path)).mode & 0o777).toBe(0o400);
  });

  it("that bypass the page cache are refused where that cannot be", async () => {
    const uri = "file:/dev/null";
    const sink = await transport.openSink(transportUri(uri));
    await expect(sink.openChannel?.({ direct: true })).rejects.toMatchObject({
      code: "ERR_CPR_FILE_DIRECT",
      message: "Could not open '/dev/null': filesystem does not support O_DIRECT",
      details: { uri },
    });
    await sink.abort();
  });

  it("tell why a write failed as the sink does", async () => {
    const sink = await transport.openSink(transportUri("file:/dev/full"));
    const channel = await sink.openChannel?.({ direct: false });
    let cause: unknown;
    try {
      writeSync(channel?.descriptor as number, "a stream");
    } catch (error) {
      cause = error;
    }
    expect(channel?.failure(cause as NodeJS.ErrnoException)).toMatchObject({
      code: "ERR_CPR_FILE_WRITE",
      message: "Could not write '/dev/full': No space left on device",
    });
    await channel?.close();
    await sink.abort();
  });
});

describe("file:PATH", () => {
  it("makes a file that only its owner can read, and leaves nothing beside it", async () => {
    await send(`file:${path}`);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(["vm.state"]);
  });

  it("keeps the permissions of the file that it replaces", async () => {
    await writeFile(path, "old");
    await chmod(path, 0o640);
    await send(`file:${path}`);
    expect((await stat(path)).mode & 0o777).toBe(0o640);
  });

  it("replaces the target of a symbolic link, not the link", async () => {
    await mkdir(join(folder, "elsewhere"));
    await writeFile(join(folder, "elsewhere", "target"), "old");
    await symlink(join(folder, "elsewhere", "target"), path);
    await send(`file:${path}`);
    expect(await readFile(join(folder, "elsewhere", "target"), "latin1")).toBe("a stream");
    expect(await readdir(join(folder, "elsewhere"))).toEqual(["target"]);
  });

  it("writes to a device directly", async () => {
    await send("file:/dev/null");
    expect((await stat("/dev/null")).isCharacterDevice()).toBe(true);
    expect(await receive("file:/dev/null")).toBe("");
  });

  it("tells that a disk is full, and leaves what was there before", async () => {
    const sink = await transport.openSink(transportUri("file:/dev/full"));
    await expect(sink.write(bytes)).rejects.toMatchObject({
      code: "ERR_CPR_FILE_WRITE",
      message: "Could not write '/dev/full': No space left on device",
    });
    await sink.abort();
  });

  it.each([
    ["a folder", "", "Is a directory"],
    ["a path through a file", "/file/vm.state", "Not a directory"],
    ["a folder that is not there", "/none/vm.state", "No such file or directory"],
  ])("refuses %s with the system's reason", async (_what, suffix, reason) => {
    await writeFile(join(folder, "file"), "");
    const uri = `file:${folder}${suffix}`;
    for (const open of [transport.openSink, transport.openSource]) {
      await expect(open(transportUri(uri))).rejects.toMatchObject({
        code: "ERR_CPR_FILE_OPEN",
        message: `Could not open '${folder}${suffix}': ${reason}`,
        details: { uri },
      });
    }
  });
});
