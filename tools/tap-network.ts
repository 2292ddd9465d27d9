import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { guestAssets } from "./guest-assets.ts";

/** Whether this process may make a tap device. */
export function mayMakeTaps(): boolean {
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    return false;
  }
  return process.getuid?.() === 0;
}

/** A network between this machine and a guest: a tap device, with this machine's address on it. */
export interface TapNetwork {
  readonly device: string;
  readonly hostAddress: string;
  readonly guestAddress: string;
  readonly mask: string;
  remove(): void;
}

/** Makes a tap device that no other process has which uses this. */
export async function makeTapNetwork(): Promise<TapNetwork> {
  const { busybox } = await guestAssets();
  const device = `cpr${process.pid}`;
  // One of the networks of 4 addresses in 198.18.0.0/15, which is for tests of networks (RFC 2544) and routed nowhere.
  const network = (process.pid % 16_384) * 4;
  const address = (last: number): string => `198.18.${network >> 8}.${(network & 255) + last}`;
  const run = (words: string): void => void execFileSync(busybox, words.split(" "), { stdio: "pipe" });
  run(`tunctl -t ${device}`);
  run(`ip address add ${address(1)}/30 dev ${device}`);
  run(`ip link set dev ${device} up`);
  return {
    device,
    hostAddress: address(1),
    guestAddress: address(2),
    mask: "255.255.255.252",
    remove: () => run(`tunctl -d ${device}`),
  };
}
