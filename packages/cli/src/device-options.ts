import type { DeviceModel, DeviceOptions } from "@cpr/core";
import { cliErrors } from "./cli-errors.ts";
import { parseOptionList } from "./option-list.ts";

/** QEMU's shorter names of models. */
const aliases: ReadonlyMap<string, string> = new Map(
  ["balloon", "blk", "net", "rng", "serial"].map((kind) => [`virtio-${kind}`, `virtio-${kind}-pci`]),
);

/** What has the bus that ports are plugged into, and what is a port; how it is named where the user has not. */
const serialBus: DeviceOptions = { model: "virtio-serial-pci", id: "virtio-serial0", properties: {} };
const serialPorts: readonly string[] = ["virtconsole", "virtserialport"];

/**
 * Reads what follows each `-device`: `MODEL,id=ID,key=value,…`. One without an id is named by its place among them. The bus of
 * a virtio serial port is added where there is none, which QEMU wants to be told.
 */
export function parseDevices(texts: readonly string[]): readonly DeviceOptions[] {
  const devices: DeviceOptions[] = [];
  for (const [index, text] of texts.entries()) {
    const {
      driver = "",
      id = `device${index}`,
      ...properties
    } = Object.fromEntries(parseOptionList("device", text, "driver"));
    if (driver === "") {
      throw cliErrors.ERR_CPR_OPTION_SYNTAX({
        option: "device",
        value: text,
        reason: "Parameter 'driver' is missing",
      });
    }
    if (!/^[a-z][a-z0-9._-]*$/i.test(id)) throw cliErrors.ERR_CPR_DEVICE_ID({ id });
    if (devices.some((other) => other.id === id)) throw cliErrors.ERR_CPR_DEVICE_ID_DUPLICATE({ id });
    const model = aliases.get(driver) ?? driver;
    const lacksBus = properties["bus"] === undefined && !devices.some((other) => other.model === serialBus.model);
    if (serialPorts.includes(model) && lacksBus) devices.push(serialBus);
    devices.push({ model, id, properties });
  }
  return devices;
}

/** What a `-device` asks to be told: about one model, or (undefined) which there are; nothing if it means a device. */
export function helpAsked(text: string): { readonly model: string | undefined } | undefined {
  const [first = "", ...rest] = text.split(",");
  const isHelp = (word: string): boolean => word === "help" || word === "?";
  if (isHelp(first)) return { model: undefined };
  return rest.some(isHelp) ? { model: first } : undefined;
}

/** What can be given with `-device`: the models, or the properties of one of them. */
export function describeDevices(models: readonly DeviceModel[], model: string | undefined): string {
  const pluggable = models
    .filter(({ plugsInto }) => plugsInto !== undefined)
    .sort((one, other) => (one.name < other.name ? -1 : 1));
  if (model === undefined) {
    return pluggable.map(({ name, plugsInto }) => `name "${name}", bus ${plugsInto}\n`).join("");
  }
  const { name, plugsInto, properties = {} } = pluggable.find((each) => each.name === model) ?? {};
  if (name === undefined) {
    throw cliErrors.ERR_CPR_DEVICE_MODEL({ model, known: pluggable.map((each) => each.name) });
  }
  const placing = {
    ...(plugsInto === "board" ? {} : { bus: "the bus that it is plugged into: the id of the device that has it" }),
    ...(plugsInto === "pci" ? { addr: "the slot: a hexadecimal number from 1 to 1f" } : {}),
  };
  const lines = Object.entries({ ...placing, ...properties }).map(([key, text]) => `  ${key}=<...>  ${text}\n`);
  return `${name} options:\n${lines.join("")}`;
}
