import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeGuestAgent } from "@cpr/testkit/fakes";
import { describe, expect, it, onTestFinished } from "vitest";
import { GuestAgent } from "../src/guest-agent.ts";

const never = new AbortController().signal;

async function fakeAgent(): Promise<{ path: string; fake: FakeGuestAgent }> {
  const folder = mkdtempSync(join(tmpdir(), "cpr-agent-"));
  const path = join(folder, "qga.sock");
  const fake = await FakeGuestAgent.listen(path);
  onTestFinished(() => {
    fake.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { path, fake };
}

describe("GuestAgent", () => {
  it("synchronizes, and then has the guest suspend itself, which nobody answers", async () => {
    const { path, fake } = await fakeAgent();
    const suspended = new Promise<string>((resolve) => {
      fake.onSuspend = () => resolve("suspended");
    });
    using agent = await GuestAgent.connect(path);
    await agent.synchronize(never);
    expect(await Promise.race([agent.suspendToRam(), suspended])).toBe("suspended");
    expect(fake.commands.map(({ execute }) => execute)).toEqual(["guest-sync-delimited", "guest-suspend-ram"]);
  });

  it.each([
    ["half of a message", '{"return": {"a": [1, "b'],
    ["an answer to somebody else", '{"return": 17}\n{"error": {"class": "GenericError", "desc": "old"}}\n'],
    ["what is no JSON", "login: \n"],
    ["what is no object", "null\n17\n"],
  ])("forgets what is left of an earlier conversation: %s", async (_, leftovers) => {
    const { path, fake } = await fakeAgent();
    fake.leftovers = leftovers;
    using agent = await GuestAgent.connect(path);
    await agent.synchronize(never);
    fake.refusal = ["GenericError", "new"];
    expect((await agent.suspendToRam()).message).toContain("new");
  });

  it("tells that nobody listens", async () => {
    const { path } = await fakeAgent();
    await expect(GuestAgent.connect(`${path}.other`)).rejects.toMatchObject({
      code: "ERR_CPR_AGENT_CONNECT",
      message: expect.stringContaining("No such file or directory"),
      hint: expect.stringContaining("org.qemu.guest_agent.0"),
    });
  });

  it("tells that there is no agent in the guest", async () => {
    const { path, fake } = await fakeAgent();
    fake.silent = true;
    using agent = await GuestAgent.connect(path);
    await expect(agent.synchronize(AbortSignal.timeout(50))).rejects.toMatchObject({
      code: "ERR_CPR_AGENT_SILENT",
      details: { path },
      hint: expect.stringContaining("qemu-guest-agent"),
    });
    await expect(agent.synchronize(AbortSignal.abort())).rejects.toMatchObject({ code: "ERR_CPR_AGENT_SILENT" });
  });

  it.each([
    ["GenericError", "the requested suspend mode is not supported by the guest", "ERR_CPR_AGENT_NO_SUSPEND"],
    ["CommandNotFound", "The command guest-suspend-ram has not been found", "ERR_CPR_AGENT_NO_SUSPEND"],
    ["GenericError", "failed to suspend guest, unexpected exit status", "ERR_CPR_AGENT_REFUSED"],
  ])("passes on why the guest does not suspend itself: %s, %s", async (name, description, code) => {
    const { path, fake } = await fakeAgent();
    fake.refusal = [name, description];
    using agent = await GuestAgent.connect(path);
    await agent.synchronize(never);
    const error = await agent.suspendToRam();
    expect(error).toMatchObject({ code, category: "refused", details: { reason: description } });
    expect(error.message).toContain(description);
  });

  it("tells that the channel is gone", async () => {
    const { path, fake } = await fakeAgent();
    using agent = await GuestAgent.connect(path);
    await agent.synchronize(never);
    const refused = agent.suspendToRam();
    fake.hangUp();
    expect(await refused).toMatchObject({ code: "ERR_CPR_AGENT_CLOSED" });
    await expect(agent.synchronize(never)).rejects.toMatchObject({ code: "ERR_CPR_AGENT_CLOSED" });
  });
});
