import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { attachTap, doNotBlock, keepTap } from "@cpr/native-socket";
import { rejectsWithCprError } from "@cpr/testkit";
import { describe, expect, it, onTestFinished } from "vitest";
import { TapBackend } from "../src/index.ts";
import { canMakeTaps } from "./tap-place.ts";

const open = (properties: Record<string, string>, incoming = false) =>
  new TapBackend().open({ type: "tap", id: "n0", properties }, { incoming });

describe("-netdev tap", () => {
  it.each([
    [{}, "ifname"],
    [{ ifname: "a-name-of-16-byte" }, "ifname"],
    [{ ifname: "a/b" }, "ifname"],
    [{ ifname: "tap%d" }, "ifname"],
    [{ ifname: "tap0", script: "/etc/qemu-ifup" }, "script"],
    [{ ifname: "tap0", downscript: "/etc/qemu-ifdown" }, "downscript"],
    [{ ifname: "tap0", vhost: "on" }, "vhost"],
    [{ ifname: "tap0", fd: "3" }, "ifname"],
    [{ fd: "three" }, "fd"],
  ])("refuses %j", async (properties, name) => {
    const error = await rejectsWithCprError(open(properties), "ERR_CPR_NETWORK_PROPERTY");
    expect(error.details).toMatchObject({ id: "n0", property: name });
  });

  it("refuses an interface that is no tap, with what can be done", async ({ skip }) => {
    skip(!canMakeTaps(), "NOTE: taps need root and /dev/net/tun");
    const error = await rejectsWithCprError(open({ ifname: "lo" }), "ERR_CPR_NETWORK_TAP");
    expect(error.message).toBe("Network 'n0': could not configure /dev/net/tun (lo): Invalid argument");
    expect(error.hint).toMatch(/no tap device/);
  });

  it("refuses a descriptor that is no tap", async () => {
    const descriptor = openSync("/dev/null", "r+");
    onTestFinished(() => closeSync(descriptor));
    const error = await rejectsWithCprError(open({ fd: String(descriptor) }), "ERR_CPR_NETWORK_TAP_DESCRIPTOR");
    expect(error.details).toMatchObject({ descriptor });
  });

  it("tells at once that another has the device, unless it waits for a checkpoint", async ({ skip }) => {
    skip(!canMakeTaps(), "NOTE: taps need root and /dev/net/tun");
    const name = `cpr${process.pid}`;
    const other = attachTap(name, 0x1002);
    keepTap(other);
    onTestFinished(() => void execFileSync("ip", ["link", "delete", name]));
    const error = await rejectsWithCprError(open({ ifname: name }), "ERR_CPR_NETWORK_BUSY");
    expect(error.message).toBe(`Network 'n0': the tap device '${name}' is in use by another process`);
    const waiting = await open({ ifname: name }, true);
    await rejectsWithCprError(waiting.start(), "ERR_CPR_NETWORK_BUSY");
    closeSync(other);
    await waiting.start();
    waiting.close();
  });

  it("takes a descriptor that the process was started with, and its kind of frames", async ({ skip }) => {
    skip(!canMakeTaps(), "NOTE: taps need root and /dev/net/tun");
    for (const [flags, offloads] of [
      [0x1002, false],
      [0x5002, true],
    ] as const) {
      const descriptor = attachTap(`cpr${process.pid}`, flags);
      doNotBlock(descriptor);
      const link = await open({ fd: String(descriptor) });
      expect(link.supports.offloads).toBe(offloads);
      await link.start();
      link.stop();
      await link.start();
      link.close();
      closeSync(descriptor);
    }
  });
});
