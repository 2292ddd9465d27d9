import { isIPv4 } from "node:net";
import { type NetworkBackend, type NetworkLink, type NetworkOptions, NetworkProperties } from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { PasstLink } from "./passt-link.ts";

const supports = { offloads: false, survivesProcessExit: false } as const;
export const passtProgram = "passt";

/** Properties of `-netdev passt` that are options of the program (QEMU: `NetDevPasstOptions`). */
const passed: Readonly<Record<string, string>> = {
  mtu: "--mtu",
  address: "--address",
  netmask: "--netmask",
  gateway: "--gateway",
  mac: "--mac-addr",
  interface: "--interface",
  outbound: "--outbound",
  "outbound-if4": "--outbound-if4",
  "outbound-if6": "--outbound-if6",
  dns: "--dns",
  "dns-forward": "--dns-forward",
  "tcp-ports": "--tcp-ports",
  "udp-ports": "--udp-ports",
};

/** `-netdev passt`: user-mode networking by the program passt, which is given what its options are called. */
@injectable()
export class PasstBackend implements NetworkBackend {
  readonly name = "passt";
  readonly supports = supports;

  async open(options: NetworkOptions): Promise<NetworkLink> {
    const properties = new NetworkProperties(options);
    const path = properties.text("path") ?? passtProgram;
    const words = Object.entries(passed).flatMap(([name, option]) => {
      const value = properties.text(name);
      return value === undefined ? [] : [option, value];
    });
    if (!properties.flag("ipv6", true)) words.push("--ipv4-only");
    properties.done();
    return new PasstLink({ id: options.id, program: path, words });
  }
}

/**
 * `-netdev user`: user-mode networking with the addresses that QEMU has (QEMU: `NetdevUserOptions`): the guest is 10.0.2.15, the
 * host 10.0.2.2, its name server 10.0.2.3. The program passt does the work.
 */
@injectable()
export class UserBackend implements NetworkBackend {
  readonly name = "user";
  readonly supports = supports;

  async open(options: NetworkOptions): Promise<NetworkLink> {
    const properties = new NetworkProperties(options);
    const address = (name: string, fallback: string): string => {
      const value = properties.text(name) ?? fallback;
      if (!isIPv4(value)) throw properties.error(name, "an IPv4 address");
      return value;
    };
    const guest = address("dhcpstart", "10.0.2.15");
    const words = ["--address", guest, "--netmask", "255.255.255.0", "--gateway", address("host", "10.0.2.2")];
    words.push("--dns-forward", address("dns", "10.0.2.3"));
    words.push(...forwardedPorts(properties, guest));
    if (!properties.flag("ipv6", true)) words.push("--ipv4-only");
    properties.done();
    return new PasstLink({ id: options.id, program: passtProgram, words });
  }
}

/** Reads `hostfwd=[tcp|udp]:[HOST]:PORT-[GUEST]:PORT`; several have a comma between them. */
function forwardedPorts(properties: NetworkProperties, guest: string): readonly string[] {
  const text = properties.text("hostfwd");
  if (text === undefined) return [];
  return text.split(",").flatMap((rule) => {
    const match = /^(tcp|udp)?:([^:/%~]*):(\d{1,5})-([^:]*):(\d{1,5})$/.exec(rule);
    const [, protocol = "tcp", host = "", from = "", to = "", port = ""] = match ?? [];
    if (match === null || (host !== "" && !isIPv4(host)) || (to !== "" && to !== guest)) {
      throw properties.error("hostfwd", `[tcp|udp]:[HOST]:PORT-[${guest}]:PORT`);
    }
    const place = host === "" ? from : `${host}/${from}`;
    return [protocol === "udp" ? "--udp-ports" : "--tcp-ports", `${place}:${port}`];
  });
}
