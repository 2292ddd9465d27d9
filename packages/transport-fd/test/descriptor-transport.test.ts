import { execFileSync } from "node:child_process";
import { closeSync, constants, existsSync, fstatSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DescriptorRegistry } from "@cpr/core";
import { transportUri } from "@cpr/testkit/fakes";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DescriptorTransport } from "../src/index.ts";

const transport = new DescriptorTransport();
let folder = "";
let path = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cpr-fd-"));
  path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
});

afterEach(() => rmSync(folder, { recursive: true }));

const readingEnd = (): number => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);

describe("fd:", () => {
  it("does not state that it stores: what is at the other end cannot be told", () => {
    expect(transport.supports).toEqual({ stores: false, seekable: false, parallel: false, passesDescriptors: false });
  });

  it("uses a named descriptor up", async () => {
    const descriptors = new DescriptorRegistry();
    const incoming = readingEnd();
    descriptors.name("in", incoming);
    descriptors.name("out", openSync(path, constants.O_WRONLY));
    const sink = await transport.openSink(transportUri("fd:out"), { descriptors });
    await sink.write(new TextEncoder().encode("a stream"));
    await sink.commit();
    const source = await transport.openSource(transportUri("fd:in"), { descriptors });
    const buffer = new Uint8Array(100);
    expect(await source.read(buffer)).toBe(8);
    await source.close();
    expect(() => fstatSync(incoming)).toThrow();
    await expect(transport.openSink(transportUri("fd:out"), { descriptors })).rejects.toMatchObject({
      code: "ERR_CPR_FD_UNKNOWN",
      message: "File descriptor named 'out' has not been found",
      details: { uri: "fd:out" },
    });
  });

  it("refuses a file with QEMU's text, and closes it if it had a name", async () => {
    const file = openSync(join(folder, "file"), "w");
    const refusal = {
      code: "ERR_CPR_FD_FILE",
      message: "fd: migration to a file is not supported. Use file: instead.",
    };
    await expect(transport.openSink(transportUri(`fd:${file}`))).rejects.toMatchObject(refusal);
    await expect(transport.openSource(transportUri(`fd:${file}`))).rejects.toMatchObject(refusal);
    expect(existsSync(`/proc/self/fd/${file}`)).toBe(true);
    const descriptors = new DescriptorRegistry();
    descriptors.name("file", file);
    await expect(transport.openSink(transportUri("fd:file"), { descriptors })).rejects.toMatchObject(refusal);
    expect(existsSync(`/proc/self/fd/${file}`)).toBe(false);
  });

  it("refuses the wrong end of a pipe", async () => {
    const incoming = readingEnd();
    const outgoing = openSync(path, constants.O_WRONLY);
    await expect(transport.openSink(transportUri(`fd:${incoming}`))).rejects.toMatchObject({
      message: `'fd:${incoming}' cannot be used: it is the end of a pipe for reading`,
    });
    await expect(transport.openSource(transportUri(`fd:${outgoing}`))).rejects.toMatchObject({
      message: `'fd:${outgoing}' cannot be used: it is the end of a pipe for writing`,
    });
    closeSync(incoming);
    closeSync(outgoing);
  });

  it.each([
    ["fd:3x", "ERR_CPR_FD_URI", "Invalid file descriptor number '3x'"],
    ["fd:", "ERR_CPR_FD_URI", "Invalid file descriptor number ''"],
    ["fd:9999", "ERR_CPR_FD_NOT_OPEN", "Descriptor 9999 cannot be used: Bad file descriptor"],
    ["fd:name", "ERR_CPR_FD_UNKNOWN", "File descriptor named 'name' has not been found"],
  ])("refuses %s", async (uri, code, message) => {
    await expect(transport.openSink(transportUri(uri))).rejects.toMatchObject({ code, message, details: { uri } });
    await expect(transport.openSource(transportUri(uri))).rejects.toMatchObject({ code, message, details: { uri } });
  });

  it("says that nobody reads any more", async () => {
    const incoming = readingEnd();
    const sink = await transport.openSink(transportUri(`fd:${openSync(path, constants.O_WRONLY)}`));
    closeSync(incoming);
    await expect(sink.write(new Uint8Array(1_000_000))).rejects.toMatchObject({
      code: "ERR_CPR_FD_BROKEN",
      message: expect.stringMatching(/^The connection of 'fd:\d+' broke: Broken pipe$/),
    });
    await sink.abort();
  });
});
