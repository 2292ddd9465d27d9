import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DescriptorSocket } from "@cpr/native-socket";
import { describe, expect, it, onTestFinished } from "vitest";
import { QmpClient } from "../../src/index.ts";
import { QmpServer } from "../../src/qmp/qmp-server.ts";
import { listenWithoutDescriptors } from "../../src/unix-listener.ts";
import { contributedCommands, qmpFixture, RawClient } from "./qmp-conversation.ts";

/** Opens files in a fresh folder; they are closed at the end of the test. */
function openFiles(...names: string[]): number[] {
  const folder = mkdtempSync(join(tmpdir(), "cpr-fds-"));
  const descriptors = names.map((name) => openSync(join(folder, name), "w"));
  onTestFinished(() => {
    for (const each of descriptors) closeSync(each);
    rmSync(folder, { recursive: true });
  });
  return descriptors;
}

const nameOf = (descriptor: number): string | undefined =>
  readlinkSync(`/proc/self/fd/${descriptor}`).split("/").at(-1);

async function connected() {
  const fixture = await qmpFixture();
  const client = await QmpClient.connect(fixture.path);
  onTestFinished(() => client.close());
  return { ...fixture, client };
}

describe("descriptors over QMP", () => {
  it("go into sets, are told and removed", async () => {
    const { client } = await connected();
    const [file] = openFiles("state");
    const added = (await client.execute("add-fd", { "fdset-id": 5, opaque: "mine" }, [file as number])) as {
      fd: number;
    };
    expect(added).toEqual({ "fdset-id": 5, fd: expect.any(Number) });
    expect(added.fd).not.toBe(file);
    expect(nameOf(added.fd)).toBe("state");
    expect(await client.execute("query-fdsets")).toEqual([{ "fdset-id": 5, fds: [{ fd: added.fd, opaque: "mine" }] }]);
    expect(await client.execute("remove-fd", { "fdset-id": 5, fd: added.fd })).toEqual({});
    expect(await client.execute("query-fdsets")).toEqual([]);
    expect(existsSync(`/proc/self/fd/${added.fd}`)).toBe(false);
  });

  it("get names", async () => {
    const { client, machine } = await connected();
    const [file] = openFiles("state");
    expect(await client.execute("getfd", { fdname: "out" }, [file as number])).toEqual({});
    const descriptor = machine.descriptors.take("out", "fd:out");
    expect(nameOf(descriptor)).toBe("state");
    closeSync(descriptor);
    await client.execute("getfd", { fdname: "out" }, [file as number]);
    expect(await client.execute("closefd", { fdname: "out" })).toEqual({});
    await expect(client.execute("closefd", { fdname: "out" })).rejects.toThrow("File descriptor named 'out' not found");
  });

  it("must come with the command that wants one", async () => {
    const { client } = await connected();
    for (const [command, values] of [
      ["add-fd", {}],
      ["getfd", { fdname: "out" }],
    ] as const) {
      await expect(client.execute(command, values)).rejects.toMatchObject({
        code: "ERR_CPR_MONITOR_NO_DESCRIPTOR",
        message: "No file descriptor supplied via SCM_RIGHTS",
        hint: "Send the descriptor together with the command (sendmsg with SCM_RIGHTS).",
      });
    }
    // It was taken by the command with which it came.
    const [file] = openFiles("state");
    await client.execute("add-fd", {}, [file as number]);
    await expect(client.execute("add-fd")).rejects.toThrow("No file descriptor");
  });

  it("belong to their own commands, also when many are sent at once", async () => {
    const { client } = await connected();
    const names = Array.from({ length: 20 }, (_, index) => `file-${index}`);
    const files = openFiles(...names);
    const answers = await Promise.all(
      files.flatMap((file, index) => [
        client.execute("add-fd", { "fdset-id": index }, [file]),
        client.execute("query-status"),
      ]),
    );
    const added = answers.filter((_, index) => index % 2 === 0) as { "fdset-id": number; fd: number }[];
    expect(added.map((each) => [each["fdset-id"], nameOf(each.fd)])).toEqual(names.map((name, index) => [index, name]));
    for (const index of names.keys()) await client.execute("remove-fd", { "fdset-id": index });
  });

  it("are closed if nobody takes them: refused, replaced, or left at the end", async () => {
    const { client, path } = await connected();
    const files = openFiles("a", "b", "c");
    const open = () => readdirSync("/proc/self/fd").length;
    await client.execute("query-status");
    const before = open();
    await expect(client.execute("add-fd", { "fdset-id": -1 }, [files[0] as number])).rejects.toMatchObject({
      message: "Parameter 'fdset-id' expects a non-negative value",
    });
    expect(open()).toBe(before);
    await client.execute("query-status", {}, files);
    expect(open()).toBe(before + 3);
    await client.execute("query-status", {}, [files[0] as number]);
    expect(open()).toBe(before + 1);
    // The first is taken, the others are closed.
    const { fd } = (await client.execute("add-fd", { "fdset-id": 0 }, files)) as { fd: number };
    expect([nameOf(fd), open()]).toEqual(["a", before + 1]);
    await client.execute("remove-fd", { "fdset-id": 0 });
    const other = await DescriptorSocket.connect([path]);
    other.resume();
    await other.send(Buffer.from('{"execute": "'), files);
    other.end();
    await new Promise((resolve) => other.once("close", resolve));
    await expect.poll(open).toBe(before);
  });

  it("cannot come over other streams, and the client is told why", async () => {
    const { machine, folder } = await qmpFixture();
    const server = new QmpServer(machine, contributedCommands());
    const path = join(folder, "plain.sock");
    const close = await listenWithoutDescriptors(path, (stream) => server.serve({ input: stream, output: stream }));
    onTestFinished(close);
    const client = new RawClient(path);
    await client.negotiate();
    expect(await client.ask('{"execute":"add-fd"}')).toMatchObject({
      error: {
        desc: "No file descriptor supplied via SCM_RIGHTS",
        cpr: { hint: expect.stringContaining("only if the addon of @cpr/native-socket was compiled") },
      },
    });
  });
});
