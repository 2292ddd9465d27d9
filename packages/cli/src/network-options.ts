import type { DeviceOptions, NetworkOptions } from "@cpr/core";
import { cliErrors } from "./cli-errors.ts";
import { parseOptionList } from "./option-list.ts";

/** What `-netdev` and `-nic` mean. */
export interface NetworkPlan {
  readonly networks: readonly NetworkOptions[];
  /** The cards of those that are given with `-nic`. */
  readonly devices: readonly DeviceOptions[];
}

/** The model of card that there is, and what else it is called. */
const model = "virtio-net-pci";
const modelNames: readonly string[] = [model, "virtio", "virtio-net"];
/** Properties that may be given several times. */
const repeatable = ["hostfwd"];
/** QEMU's first address; those of further cards follow it. */
const firstAddress = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const highestByte = 0xff;

/**
 * Reads `-netdev TYPE,id=ID,key=value,…` and `-nic TYPE,model=MODEL,mac=ADDRESS,key=value,…`. What a type's properties mean is its
 * backend's affair.
 *
 * @throws {CprError} ERR_CPR_OPTION_SYNTAX, ERR_CPR_OPTION_VALUE
 */
export function parseNetworkOptions(netdevs: readonly string[], nics: readonly string[]): NetworkPlan {
  const networks = netdevs.map((text) => {
    const { type, id, ...properties } = parse("netdev", text);
    if (id === undefined) throw missing("netdev", text, "id");
    return { type, id, properties };
  });
  const devices: DeviceOptions[] = [];
  for (const [index, text] of nics.entries()) {
    const { type, id = `nic${index}`, model: name = model, mac, ...properties } = parse("nic", text);
    if (type === "none") continue;
    if (!modelNames.includes(name)) {
      throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "nic", value: text, expected: `model=${model}` });
    }
    networks.push({ type, id, properties });
    devices.push({ model, id, properties: { netdev: id, ...(mac === undefined ? {} : { mac }) } });
  }
  return { networks, devices };
}

/** Gives cards without an address the next one, so that each process that runs the VM gives the same. */
export function addressCards(devices: readonly DeviceOptions[]): readonly DeviceOptions[] {
  let count = 0;
  return devices.map((device) => {
    if (device.model !== model || device.properties["mac"] !== undefined) return device;
    const last = Math.min((firstAddress.at(-1) as number) + count, highestByte);
    count += 1;
    const mac = [...firstAddress.slice(0, -1), last].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
    return { ...device, properties: { ...device.properties, mac } };
  });
}

function parse(option: string, text: string): Record<string, string> & { readonly type: string } {
  const { type = "", ...rest } = Object.fromEntries(parseOptionList(option, text, "type", repeatable));
  if (type === "") throw missing(option, text, "type");
  return { ...rest, type };
}

const missing = (option: string, value: string, name: string): Error =>
  cliErrors.ERR_CPR_OPTION_SYNTAX({ option, value, reason: `Parameter '${name}' is missing` });
