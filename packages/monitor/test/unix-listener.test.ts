import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { UnixListener } from "../src/unix-listener.ts";

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "cpr-listener-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "monitor.sock");
}

describe("UnixListener", () => {
  it("hands clients over, those that came early too, and removes its socket", async () => {
    const path = scratch();
    const listener = await UnixListener.listen(path);
    const early = connect(path);
    await listener.firstClient;
    early.write("early");
    const served: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    listener.serve(({ stream: client }) => {
      client.on("data", (bytes: Buffer) => {
        served.push(bytes.toString());
        client.destroy();
        if (served.length === 2) resolve();
      });
    });
    connect(path).write("late");
    await promise;
    expect(served.toSorted()).toEqual(["early", "late"]);
    listener.close();
    expect(existsSync(path)).toBe(false);
  });

  it("replaces a socket whose process was killed", async () => {
    const path = scratch();
    const program = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", program]);
    expect(statSync(path).isSocket()).toBe(true);
    const listener = await UnixListener.listen(path);
    const client = connect(path);
    await listener.firstClient;
    client.destroy();
    listener.close();
  });

  it("does not take the socket of another process, nor a file that is none", async () => {
    const path = scratch();
    const first = await UnixListener.listen(path);
    await expect(UnixListener.listen(path)).rejects.toMatchObject({
      code: "ERR_CPR_MONITOR_SOCKET_BUSY",
      category: "busy",
    });
    expect(existsSync(path)).toBe(true);
    first.close();
    writeFileSync(path, "a file");
    await expect(UnixListener.listen(path)).rejects.toMatchObject({ code: "ERR_CPR_MONITOR_LISTEN" });
    expect(statSync(path).size).toBe(6);
  });

  it("tells why a socket cannot be made", async () => {
    await expect(UnixListener.listen("/nowhere/monitor.sock")).rejects.toMatchObject({
      code: "ERR_CPR_MONITOR_LISTEN",
    });
  });
});
