import { execFileSync } from "node:child_process";
import { closeSync } from "node:fs";
import { attachTap, PolledDescriptor } from "@cpr/native-socket";
import { eventually } from "@cpr/testkit";
import { experimentalEthernetType, type NetworkPlace } from "@cpr/testkit/network-backend";

const typeOffset = 12;
/** IFF_TAP and IFF_NO_PI of linux/if_tun.h. */
const plainTap = 0x1002;
const longestFrame = 65_536;

let places = 0;

export const ip = (...words: string[]): void => void execFileSync("ip", words, { stdio: ["ignore", "pipe", "pipe"] });

/** Makes a tap that stays, as an administrator would. */
export function makeTap(name: string): void {
  ip("tuntap", "add", "dev", name, "mode", "tap");
  ip("link", "set", name, "addrgenmode", "none", "up");
}

/** A place at a tap that a bridge joins with another one, which is in the test's hand. */
export async function tapPlace(): Promise<NetworkPlace> {
  places += 1;
  const [bridge, near, far] = [`bridge${places}`, `near${places}`, `far${places}`];
  ip("link", "add", bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0");
  ip("link", "set", bridge, "addrgenmode", "none", "up");
  for (const tap of [near, far]) {
    makeTap(tap);
    ip("link", "set", tap, "master", bridge);
  }
  const received: Uint8Array[] = [];
  const peer = new PolledDescriptor(attachTap(far, plainTap));
  const buffer = new Uint8Array(longestFrame);
  const read = (): void => {
    for (let count = peer.read(buffer); count !== undefined; count = peer.read(buffer)) {
      const frame = buffer.slice(0, count);
      if (new DataView(frame.buffer).getUint16(typeOffset) === experimentalEthernetType) received.push(frame);
    }
    peer.whenReadable(read);
  };
  peer.whenReadable(read);
  return {
    options: { type: "tap", id: "n0", properties: { ifname: near, script: "no", downscript: "no" } },
    received,
    send: async (frame) => void peer.write([frame]),
    ready: async () => {
      for (const tap of [near, far]) {
        const state = (): string => execFileSync("bridge", ["link", "show", "dev", tap], { encoding: "utf8" });
        await eventually(() => state().includes("state forwarding"), `a bridge that forwards from ${tap}`);
      }
    },
    close: async () => {
      peer.close();
      for (const link of [near, far, bridge]) ip("link", "delete", link);
    },
  };
}

/** Whether this process may make taps, and network namespaces for them. */
export function canMakeTaps(): boolean {
  try {
    closeSync(attachTap("cpr-try%d", plainTap));
    execFileSync("unshare", ["--net", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
