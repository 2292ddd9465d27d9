import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transportUri } from "@cpr/testkit/fakes";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ExecTransport } from "../src/index.ts";

const transport = new ExecTransport();
const stream = new Uint8Array(300_000).map((_, index) => (index * 7) & 0xff);
let folder = "";
let path = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-exec-"));
  path = join(folder, "vm.state");
});

afterEach(() => rm(folder, { recursive: true }));

async function send(command: string, bytes: Uint8Array = stream): Promise<void> {
  const sink = await transport.openSink(transportUri(`exec:${command}`));
  try {
    await sink.write(bytes);
    await sink.commit();
  } finally {
    await sink.abort();
  }
}

async function receive(command: string): Promise<Uint8Array> {
  const source = await transport.openSource(transportUri(`exec:${command}`));
  const buffer = new Uint8Array(400_000);
  const count = await source.read(buffer);
  await source.close();
  return buffer.subarray(0, count);
}

describe("exec:", () => {
  it.each([
    ["cat > PATH", "cat PATH"],
    ["gzip -c > PATH", "gzip -dc PATH"],
    ["sleep 0.1; cat > PATH", "sleep 0.1; cat PATH"],
    ["cat - | cat > PATH", "cat PATH | cat"],
  ])("carries a stream through %s", async (outgoing, incoming) => {
    await send(outgoing.replace("PATH", path));
    expect(Buffer.compare(await receive(incoming.replace("PATH", path)), stream)).toBe(0);
  });

  it.each([
    ["an exit status", "cat > /dev/null; echo first >&2; echo second >&2; exit 3", "exit status 3: first; second"],
    ["a signal", "cat > /dev/null; kill -KILL $$", "signal SIGKILL"],
    ["a command that is not there", "there-is-no-such-command", "exit status 127"],
  ])("tells of %s when sending", async (_what, command, reason) => {
    await expect(send(command)).rejects.toMatchObject({
      code: "ERR_CPR_EXEC_FAILED",
      message: expect.stringContaining(`The command '${command}' failed with ${reason}`),
      details: { uri: `exec:${command}` },
    });
  });

  it.each([
    ["an exit status", "echo no >&2; exit 3", "exit status 3: no"],
    ["an exit status after the whole stream", "echo stream; exit 1", "exit status 1"],
    ["a signal", "kill -TERM $$", "signal SIGTERM"],
  ])("tells of %s when receiving", async (_what, command, reason) => {
    await expect(receive(command)).rejects.toMatchObject({
      code: "ERR_CPR_EXEC_FAILED",
      message: `The command '${command}' failed with ${reason}`,
    });
  });

  it.each([
    ["nothing", "true", 300_000],
    ["nothing of a short stream", "true", 10],
    ["a part", "head -c 100 > /dev/null", 300_000],
    ["a part of a short stream", "dd bs=1 count=5 of=/dev/null 2>/dev/null", 10],
  ])("does not take a command for done that has read %s", async (_what, command, length) => {
    await expect(send(command, stream.subarray(0, length))).rejects.toMatchObject({
      code: "ERR_CPR_EXEC_EARLY",
      message: expect.stringContaining("Broken pipe"),
    });
  });

  it("does not mind a command that says much on its standard error", async () => {
    await send(`yes complaint | head -n 100000 >&2; cat > ${path}`);
    expect((await readFile(path)).length).toBe(stream.length);
  });

  it("ends a command that hangs, with all that it started, when the signal is given", async () => {
    const controller = new AbortController();
    const pids = join(folder, "pids");
    const command = `sleep 1000 & echo $! > ${pids}; wait; cat > /dev/null`;
    const sink = await transport.openSink(transportUri(`exec:${command}`), { signal: controller.signal });
    while (!existsSync(pids)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const writing = sink.write(new Uint8Array(4 << 20));
    setTimeout(() => controller.abort(), 20);
    await expect(writing).rejects.toMatchObject({ name: "AbortError" });
    await sink.abort();
    const sleeper = Number(await readFile(pids, "latin1"));
    await expect.poll(() => runs(sleeper)).toBe(false);
  });

  it("ends a command of which nobody wants the rest, and does not call that a failure", async () => {
    const source = await transport.openSource(transportUri("exec:yes"));
    await source.read(new Uint8Array(10));
    await source.close();
  });
});

/** Whether a process is there and has not ended; one that nobody has waited for is a zombie. */
function runs(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
