import { closeSync, readFileSync } from "node:fs";
import {
  isCprError,
  type NetworkBackend,
  type NetworkLink,
  type NetworkOptions,
  NetworkProperties,
  type NetworkSituation,
  networkErrors,
  networkHeaderSize,
  systemReason,
} from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { attachTap, doNotBlock, duplicate, keepTap, setTapHeader, tapFlags } from "@cpr/native-socket";
import { tapErrors } from "./errors.ts";
import { tapFlag } from "./tap-flags.ts";
import { TapLink } from "./tap-link.ts";

/** The longest name of an interface (linux/if.h IFNAMSIZ, with a zero behind it). */
const longestName = 15;
const highestDescriptor = 2 ** 31 - 1;

/**
 * `-netdev tap`: frames through a tap device of the host (QEMU: `NetdevTapOptions`). The device is attached to only while the VM
 * runs, so that another process can take it over, and stays when it is not: connections of the guest live on meanwhile.
 */
@injectable()
export class TapBackend implements NetworkBackend {
  readonly name = "tap";
  readonly supports = { offloads: true, survivesProcessExit: true } as const;

  async open(options: NetworkOptions, { incoming }: NetworkSituation): Promise<NetworkLink> {
    const { id } = options;
    const properties = new NetworkProperties(options);
    for (const script of ["script", "downscript"]) {
      if ((properties.text(script) ?? "no") !== "no") {
        throw properties.error(script, "'no': no script is run; configure the interface before");
      }
    }
    if (properties.flag("vhost", false)) throw properties.error("vhost", "'off'");
    const header = properties.flag("vnet_hdr", true);
    const descriptor = properties.integer("fd", 0, highestDescriptor);
    const expected = `the name of a tap device, of at most ${longestName} bytes`;
    const name = descriptor === undefined ? properties.requiredText("ifname", expected) : undefined;
    // With a descriptor, what else is said of the device is unexpected.
    properties.done();
    if (name === undefined) return this.#fromDescriptor(id, descriptor as number);
    if (!/^[^/\s%:]+$/.test(name) || Buffer.byteLength(name) > longestName) throw properties.error("ifname", expected);
    const attach = (): number => attachByName(id, name, header);
    tryOnce(attach, incoming);
    return new TapLink({ supports: { ...this.supports, offloads: header }, attach });
  }

  /** A tap that the process was started with. Nobody can take it from us, so it is only given a rest. */
  #fromDescriptor(id: string, descriptor: number): TapLink {
    try {
      const offloads = (tapFlags(descriptor) & tapFlag.virtioHeader) !== 0;
      doNotBlock(descriptor);
      if (offloads) setTapHeader(descriptor, networkHeaderSize);
      return new TapLink({ supports: { ...this.supports, offloads }, attach: () => duplicate(descriptor) });
    } catch (cause) {
      throw tapErrors.ERR_CPR_NETWORK_TAP_DESCRIPTOR({ id, descriptor, reason: systemReason(cause) }, { cause });
    }
  }
}

/** Tells at once what would be wrong when the VM starts; that the VM before still has the device is not. */
function tryOnce(attach: () => number, incoming: boolean): void {
  try {
    closeSync(attach());
  } catch (error) {
    if (!incoming || !isCprError(error) || error.category !== "busy") throw error;
  }
}

function attachByName(id: string, name: string, header: boolean): number {
  const isNew = !isInterface(name);
  try {
    const flags = tapFlag.tap | tapFlag.noPacketInformation | (header ? tapFlag.virtioHeader : 0);
    const descriptor = attachTap(name, flags);
    try {
      if (isNew) keepTap(descriptor);
      if (header) setTapHeader(descriptor, networkHeaderSize);
      return descriptor;
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    if (code === "EBUSY")
      throw networkErrors.ERR_CPR_NETWORK_BUSY({ id, place: `the tap device '${name}'` }, { cause });
    throw tapErrors.ERR_CPR_NETWORK_TAP(
      { id, name, reason: systemReason(cause), remedy: remedies[code] ?? makeOne(name) },
      { cause },
    );
  }
}

/** Whether there is an interface of that name in the process's network namespace, of which /sys may know nothing. */
function isInterface(name: string): boolean {
  const lines = readFileSync("/proc/self/net/dev", "utf8").split("\n");
  return lines.some((line) => line.trimStart().startsWith(`${name}:`));
}

const makeOne = (name: string): string =>
  `Make one as root: ip tuntap add dev ${name} mode tap user NAME; without root, -netdev user needs none.`;

const noTun = "The kernel's module tun is not loaded (modprobe tun), or /dev/net/tun is not there.";

/** What to do, by the code of the system's error. */
const remedies: Readonly<Record<string, string>> = {
  ENOENT: noTun,
  ENODEV: noTun,
  EINVAL: "The interface of that name is no tap device, or one with several queues.",
};
