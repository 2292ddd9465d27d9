import type { Device, DeviceModel, DeviceOptions } from "@cpr/core";
import { machineErrors } from "./errors.ts";

/** The kinds of buses that the board itself has: its own places, and PCI behind a host bridge. */
const boardKind = "board";
const pciKind = "pci";

/** Properties that a device is plugged in by, which its model need not name. */
const placing: Readonly<Record<string, readonly string[]>> = { [boardKind]: [], [pciKind]: ["bus", "addr"] };
const placingElsewhere = ["bus"];

/** What the board does for devices that the user adds. */
export interface AddingBoard {
  /** @throws {CprError} if there is no such model */
  deviceModel(name: string): DeviceModel;
  create(model: string, id: string, properties: Readonly<Record<string, unknown>>): Device;
  /** The host bridge, made only if a device needs it. */
  createPciHost(): Device;
  /** What the board wires to devices of a model that it has a place for. */
  wiring(model: string): Readonly<Record<string, unknown>>;
}

/**
 * Makes the devices that the user added, in their order, after the host bridge if there is anything to plug into it. A device that
 * names no bus goes on the last one of its kind.
 *
 * @throws {CprError} if there is no such model or bus, or the model does not have a property
 */
export function createAddedDevices(added: readonly DeviceOptions[], board: AddingBoard): readonly Device[] {
  const devices: Device[] = [];
  const chosen = added.map((options) => ({ options, kind: kindOf(board.deviceModel(options.model)) }));
  if (chosen.some(({ kind }) => kind === pciKind)) devices.push(board.createPciHost());
  for (const [index, { options, kind }] of chosen.entries()) {
    const { model, id, properties } = options;
    checkProperties(board.deviceModel(model), kind, properties);
    if (kind !== boardKind) {
      const { bus, ...others } = properties;
      devices.push(board.create(model, id, { ...others, bus: findBus(devices, model, kind, bus) }));
      continue;
    }
    if (chosen.findIndex(({ options: { model: other } }) => other === model) !== index) {
      throw machineErrors.ERR_CPR_BOARD_DEVICE({ model });
    }
    devices.push(board.create(model, id, { ...properties, ...board.wiring(model) }));
  }
  return devices;
}

/** Whether any device goes on the PCI bus. */
export function needsPci(added: readonly DeviceOptions[], deviceModel: AddingBoard["deviceModel"]): boolean {
  return added.some(({ model }) => deviceModel(model).plugsInto === pciKind);
}

function kindOf({ name, plugsInto }: DeviceModel): string {
  if (plugsInto === undefined) throw machineErrors.ERR_CPR_DEVICE_NOT_PLUGGABLE({ model: name });
  return plugsInto;
}

function checkProperties(
  { name, properties = {} }: DeviceModel,
  kind: string,
  given: Readonly<Record<string, string>>,
) {
  const known = [...(placing[kind] ?? placingElsewhere), ...Object.keys(properties)];
  const unknown = Object.keys(given).find((property) => !known.includes(property));
  if (unknown !== undefined) {
    throw machineErrors.ERR_CPR_DEVICE_PROPERTY_UNKNOWN({ model: name, property: unknown, known });
  }
}

/** The bus of a device: the one that is named by the id of the device that has it, also as `ID.0`, or the last of its kind. */
function findBus(devices: readonly Device[], model: string, kind: string, name: string | undefined): unknown {
  if (name === undefined) {
    const last = devices.findLast(({ buses }) => buses?.[kind] !== undefined);
    if (last === undefined) throw machineErrors.ERR_CPR_NO_BUS({ model, kind });
    return last.buses?.[kind];
  }
  const owner = devices.find(({ id, buses }) => buses !== undefined && (name === id || name === `${id}.0`));
  if (owner === undefined) throw machineErrors.ERR_CPR_BUS_NOT_FOUND({ bus: name });
  const bus = owner.buses?.[kind];
  if (bus === undefined) {
    throw machineErrors.ERR_CPR_BUS_KIND({ model, kind: Object.keys(owner.buses ?? {}).join(", ") });
  }
  return bus;
}
