import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { machineErrors } from "@cpr/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { QmpClient } from "../../src/qmp/qmp-client.ts";
import { qmpFixture } from "./qmp-conversation.ts";

describe("QmpClient", () => {
  it("carries out commands and hears events", async () => {
    const { path, machine } = await qmpFixture();
    await using client = await QmpClient.connect(path);
    expect((await client.version()).package).toMatch(/^cpr /);
    expect(await client.execute("query-status")).toEqual({ running: true, status: "running" });
    const event = client.event(({ event }) => event === "RESUME");
    machine.emit({ event: "STOP" });
    machine.emit({ event: "RESUME" });
    expect(await event).toMatchObject({ event: "RESUME" });
  });

  it("gives errors as they are in the VM's process", async () => {
    const { path, machine } = await qmpFixture();
    await using client = await QmpClient.connect(path);
    machine.failure = machineErrors.ERR_CPR_NOT_SUSPENDED({ runState: "running" });
    await expect(client.execute("system_wakeup")).rejects.toMatchObject({
      code: "ERR_CPR_NOT_SUSPENDED",
      category: "refused",
      message: "Unable to wake up: guest is not in suspended state",
      details: { runState: "running" },
    });
  });

  it("tells that nobody listens", async () => {
    const { folder } = await qmpFixture();
    await expect(QmpClient.connect(join(folder, "nobody.sock"))).rejects.toMatchObject({
      code: "ERR_CPR_QMP_CONNECT",
      message: expect.stringContaining("No such file or directory"),
    });
  });

  it("tells of who speaks something else", async () => {
    const { folder } = await qmpFixture();
    const path = join(folder, "other.sock");
    const server = createServer((socket) =>
      socket.on("error", () => undefined).end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    );
    onTestFinished(() => void server.close());
    await once(server.listen(path), "listening");
    await expect(QmpClient.connect(path)).rejects.toMatchObject({ code: "ERR_CPR_QMP_PROTOCOL" });
  });

  it("takes the errors of a server that tells no codes, such as QEMU", async () => {
    const { folder } = await qmpFixture();
    const path = join(folder, "qemu.sock");
    const server = createServer((socket) => {
      socket.write(
        '{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": ["oob"]}}\r\n',
      );
      socket.once("data", () => {
        socket.write('{"return": {}, "id": 1}\r\n');
        socket.once("data", () => socket.write('{"id": 2, "error": {"class": "GenericError", "desc": "no"}}\r\n'));
      });
    });
    onTestFinished(() => void server.close());
    await once(server.listen(path), "listening");
    await using client = await QmpClient.connect(path);
    await expect(client.execute("stop")).rejects.toMatchObject({ code: "ERR_CPR_QMP_REFUSED", message: "no" });
  });

  it("hears events that come together with the answer to its negotiation", async () => {
    const { folder } = await qmpFixture();
    const path = join(folder, "early.sock");
    const server = createServer((socket) => {
      socket.write(
        '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 10}, "package": ""}, "capabilities": []}}\r\n',
      );
      const stop = '{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}\r\n';
      socket.once("data", () => socket.write(`{"return": {}, "id": 1}\r\n${stop}`));
    });
    onTestFinished(() => void server.close());
    await once(server.listen(path), "listening");
    const events: string[] = [];
    await using client = await QmpClient.connect(path, ({ event }) => events.push(event));
    expect(events).toEqual(["STOP"]);
    await client.close();
  });

  it("tells whoever waits that the connection has ended", async () => {
    const { path, server } = await qmpFixture();
    const client = await QmpClient.connect(path);
    const event = client.event(() => true);
    const refused = expect(event).rejects.toMatchObject({ code: "ERR_CPR_QMP_CLOSED" });
    await server.close();
    await client.closed;
    await refused;
    await expect(client.execute("stop")).rejects.toMatchObject({ code: "ERR_CPR_QMP_CLOSED" });
  });
});
