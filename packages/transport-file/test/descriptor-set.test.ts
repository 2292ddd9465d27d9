import { constants, readFileSync, rmSync, writeSync } from "node:fs";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DescriptorRegistry } from "@cpr/core";
import { transportUri } from "@cpr/testkit/fakes";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileTransport } from "../src/index.ts";

const transport = new FileTransport();
const bytes = new TextEncoder().encode("a stream");
let folder = "";
let path = "";
let descriptors: DescriptorRegistry;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-fdset-"));
  path = join(folder, "vm.state");
  descriptors = new DescriptorRegistry();
  await add(constants.O_WRONLY | constants.O_CREAT);
});

afterEach(async () => {
  descriptors.remove(1);
  await rm(folder, { recursive: true });
});

/** Adds a descriptor of the file to set 1; the registry closes it. */
async function add(flags: number, file = path): Promise<void> {
  const handle = await open(file, flags, 0o600);
  const { fd } = handle;
  handles.push(handle);
  descriptors.add(fd, 1);
}

/** NOTE: a FileHandle that is collected closes its descriptor, which is not its own any more. */
const handles: unknown[] = [];

describe("file:/dev/fdset/N", () => {
  it("writes the file of a descriptor and reads it back", async () => {
    await add(constants.O_RDONLY);
    const uri = transportUri("file:/dev/fdset/1");
    const sink = await transport.openSink(uri, { descriptors });
    await sink.write(bytes);
    await sink.commit();
    expect(await readFile(path, "latin1")).toBe("a stream");
    const source = await transport.openSource(uri, { descriptors });
    const buffer = new Uint8Array(100);
    expect(await source.read(buffer)).toBe(8);
    await source.close();
  });

  it("keeps what is below the offset and nothing else", async () => {
    await writeFile(path, "X".repeat(100));
    const sink = await transport.openSink(transportUri("file:/dev/fdset/1,offset=16"), { descriptors });
    await sink.write(bytes);
    await sink.commit();
    expect(await readFile(path, "latin1")).toBe(`${"X".repeat(16)}a stream`);
  });

  it("leaves nothing that looks like a stream when it is given up", async () => {
    const sink = await transport.openSink(transportUri("file:/dev/fdset/1"), { descriptors });
    await sink.write(bytes);
    await sink.abort();
    expect(await readFile(path, "latin1")).toBe("");
  });

  it("has channels that are descriptors of the set, one with O_DIRECT for direct-io", async () => {
    const sink = await transport.openSink(transportUri("file:/dev/fdset/1"), { descriptors });
    const channel = await sink.openChannel?.({ direct: false });
    writeSync(channel?.descriptor as number, "a stream", 0);
    await channel?.close();
    await expect(sink.openChannel?.({ direct: true })).rejects.toMatchObject({ code: "ERR_CPR_FDSET_FLAGS" });
    await sink.commit();
    expect(readFileSync(path, "latin1")).toBe("a stream");
  });

  it("lets a descriptor be removed that is in use", async () => {
    const sink = await transport.openSink(transportUri("file:/dev/fdset/1"), { descriptors });
    descriptors.remove(1);
    await sink.write(bytes);
    await sink.commit();
    expect(readFileSync(path, "latin1")).toBe("a stream");
    expect(descriptors.sets()).toEqual([]);
    rmSync(path);
    await add(constants.O_WRONLY | constants.O_CREAT);
  });

  it.each([
    ["file:/dev/fdset/x", "ERR_CPR_FILE_FDSET", "Could not parse fdset /dev/fdset/x"],
    ["file:/dev/fdset/", "ERR_CPR_FILE_FDSET", "Could not parse fdset /dev/fdset/"],
    ["file:/dev/fdset/2", "ERR_CPR_FDSET_UNKNOWN", "Failed to find fdset /dev/fdset/2"],
  ])("refuses %s", async (uri, code, message) => {
    for (const opening of [
      transport.openSink(transportUri(uri), { descriptors }),
      transport.openSource(transportUri(uri), { descriptors }),
    ]) {
      await expect(opening).rejects.toMatchObject({ code, message, details: { uri } });
    }
  });

  it("refuses a set without a descriptor that fits, and all sets where there are no descriptors", async () => {
    const uri = transportUri("file:/dev/fdset/1");
    await expect(transport.openSource(uri, { descriptors })).rejects.toMatchObject({
      code: "ERR_CPR_FDSET_FLAGS",
      message: "Failed to find file descriptor with matching flags=0x0",
    });
    await expect(transport.openSink(uri)).rejects.toMatchObject({ code: "ERR_CPR_FDSET_UNKNOWN" });
  });
});
