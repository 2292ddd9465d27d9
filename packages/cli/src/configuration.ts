import { parseMemoryObject, parseMemorySize, type VirtualMachineConfiguration } from "@cpr/core";
import { addedDescriptors } from "./added-descriptors.ts";
import { parseBlockOptions } from "./block-options.ts";
import {
  type CharacterBackendOptions,
  parseChardev,
  parseSerial,
  type SerialOptions,
} from "./character-backends/backend-options.ts";
import { cliErrors } from "./cli-errors.ts";
import { parseDevices } from "./device-options.ts";
import { type MonitorDevice, parseMonitorDevice } from "./monitor-device.ts";
import { addressCards, parseNetworkOptions } from "./network-options.ts";
import type { RunOptions } from "./run-options.ts";

/** How the process's own standard input and output are used. */
export interface StandardStreams {
  /** The character device that is connected to standard output, if any. */
  readonly console: string | undefined;
  /** `line`: the monitor has them for itself; `shared`: Ctrl-a c switches; `none`: no monitor. */
  readonly monitor: "line" | "shared" | "none";
  /** QMP has them. */
  readonly qmp: boolean;
}

/** A socket at which a monitor listens. */
export interface MonitorSocket {
  readonly protocol: "qmp" | "lines";
  readonly path: string;
  /** The VM starts when a client is there. */
  readonly wait: boolean;
}

/** What a command line means. */
export interface RunPlan {
  readonly configuration: Omit<VirtualMachineConfiguration, "characterDevices">;
  /** The character devices by id; those of serial ports are among them. */
  readonly characterDevices: ReadonlyMap<string, CharacterBackendOptions>;
  readonly streams: StandardStreams;
  readonly sockets: readonly MonitorSocket[];
}

/**
 * Turns options into what a VM is made from. Nothing of the host is touched.
 *
 * @throws {CprError} ERR_CPR_OPTION_VALUE and the errors of memory objects
 */
export function planRun(options: RunOptions): RunPlan {
  refuseInstructionCounting(options.icount);
  const monitor = options.monitor === undefined ? undefined : parseMonitorDevice("monitor", options.monitor);
  const qmp = options.qmp.map((text) => parseMonitorDevice("qmp", text));
  const onStreams = [monitor, ...qmp].filter((device) => device?.kind === "stdio").length;
  const characterDevices = parseChardevs(options.chardev);
  const streamsTaken = onStreams > 0 || [...characterDevices.values()].some(({ kind }) => kind === "stdio");
  const given = options.serial.map(parseSerial);
  const serial = (given.length > 0 ? given : [defaultSerial(streamsTaken)]).map((target, index) => {
    if (target.kind === "chardev") return target.id;
    const id = `serial${index}`;
    addCharacterDevice(characterDevices, id, target);
    return id;
  });
  const consoles = [...characterDevices].filter(([, { kind }]) => kind === "stdio");
  if (consoles.length + onStreams > 1) {
    throw cliErrors.ERR_CPR_OPTION_VALUE({
      option: onStreams > 1 ? "qmp" : given.length > 0 ? "serial" : "chardev",
      value: "stdio",
      expected: "standard input and output only once; the monitor or another character device has them already",
    });
  }
  const shared = consoles.some(([, target]) => target.kind === "stdio" && target.withMonitor);
  const { type, properties } = parseMachine(options.machine);
  const disks = parseBlockOptions(options.drive, options.blockdev);
  const networkPlan = parseNetworkOptions(options.netdev, options.nic);
  return {
    configuration: {
      name: options.name,
      ...(options.uuid === undefined ? {} : { uuid: checkUuid(options.uuid) }),
      ramSize: parseMemorySize(options.memory, "M"),
      memoryObjects: options.object.map((text) => parseMemoryObject(text)),
      ...(properties["memory-backend"] === undefined ? {} : { ramObject: properties["memory-backend"] }),
      ...backendOf(options, properties),
      ...(options.cpu === undefined ? {} : parseProcessor(options.cpu)),
      machine: {
        machine: type,
        processorCount: parseProcessorCount(options.smp),
        ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
        ...(options.initrd === undefined ? {} : { initrd: options.initrd }),
        ...(options.append === undefined ? {} : { commandLine: options.append }),
        serial,
        devices: addressCards([...disks.devices, ...networkPlan.devices, ...parseDevices(options.device)]),
        ...(disks.blockDevices.length === 0 ? {} : { blockDevices: disks.blockDevices }),
        networks: networkPlan.networks,
        noReboot: !options.reboot,
      },
      ...(options.incoming === undefined ? {} : { incoming: options.incoming }),
      migration: { properties: options.global.map(parseGlobal), modes: options.migrateModeEnable },
      descriptors: addedDescriptors(options.addFd),
      startStopped: options.stopped === true,
    },
    characterDevices,
    streams: {
      console: consoles[0]?.[0],
      monitor: monitor?.kind === "stdio" ? "line" : shared && monitor === undefined ? "shared" : "none",
      qmp: qmp.some(({ kind }) => kind === "stdio"),
    },
    sockets: [
      ...qmp.flatMap((device) => socketOf("qmp", device)),
      ...(monitor === undefined ? [] : socketOf("lines", monitor)),
    ],
  };
}

function parseChardevs(texts: readonly string[]): Map<string, CharacterBackendOptions> {
  const devices = new Map<string, CharacterBackendOptions>();
  for (const text of texts) {
    const { id, options } = parseChardev(text);
    addCharacterDevice(devices, id, options);
  }
  return devices;
}

/** @throws {CprError} if there are two of one id */
function addCharacterDevice(
  devices: Map<string, CharacterBackendOptions>,
  id: string,
  options: CharacterBackendOptions,
): void {
  if (devices.has(id)) throw cliErrors.ERR_CPR_CHARDEV_DUPLICATE({ id });
  devices.set(id, options);
}

/** The first serial port, where none is named: on the terminal with the monitor, if nothing else is there. */
function defaultSerial(streamsTaken: boolean): SerialOptions {
  return streamsTaken ? { kind: "null" } : { kind: "stdio", withMonitor: true };
}

function socketOf(protocol: MonitorSocket["protocol"], device: MonitorDevice): readonly MonitorSocket[] {
  return device.kind === "unix" ? [{ protocol, path: device.path, wait: device.wait }] : [];
}

function parseMachine(text: string): { type: string; properties: Readonly<Record<string, string>> } {
  const [type = "", ...rest] = text.split(",");
  const properties: Record<string, string> = {};
  for (const each of rest) {
    const [key = "", value] = each.split("=", 2);
    if (value === undefined || !["memory-backend", "accel"].includes(key)) {
      throw cliErrors.ERR_CPR_OPTION_VALUE({
        option: "machine",
        value: text,
        expected: "a type and the properties memory-backend=ID and accel=NAME",
      });
    }
    properties[key] = value;
  }
  return { type, properties };
}

function backendOf(options: RunOptions, machine: Readonly<Record<string, string>>): { backend?: string } {
  const name = options.accel?.split(",", 1)[0] ?? (options.enableKvm === true ? "kvm" : machine.accel);
  return name === undefined ? {} : { backend: name };
}

function parseProcessor(text: string): { processorModel: string; tscFrequency?: number } {
  const match = /^([^,]+)(?:,tsc-frequency=([1-9]\d{6,10}))?$/.exec(text);
  if (match === null) {
    const expected = "a CPU model and the property tsc-frequency=HZ";
    throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "cpu", value: text, expected });
  }
  const [, processorModel = "", frequency] = match;
  return { processorModel, ...(frequency === undefined ? {} : { tscFrequency: Number(frequency) }) };
}

function refuseInstructionCounting(value: string | undefined): void {
  if (value === undefined) {
    return;
  }
  if (/(^|,)rr=(record|replay)(,|$)/.test(value)) {
    throw cliErrors.ERR_CPR_RECORD_REPLAY({ value });
  }
  const expected = "nothing that is supported: the guest's clock is not driven by its instructions";
  throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "icount", value, expected });
}

function parseGlobal(text: string): { readonly name: string; readonly value: string } {
  const match = /^migration\.([^=]+)=(.*)$/.exec(text);
  if (match === null) {
    const expected = "migration.NAME=VALUE with a capability or parameter of migration";
    throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "global", value: text, expected });
  }
  const [, name = "", value = ""] = match;
  return { name, value };
}

function parseProcessorCount(text: string): number {
  const match = /^(?:cpus=)?([1-9]\d{0,3})$/.exec(text);
  if (match === null) {
    throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "smp", value: text, expected: "a number of vCPUs, e.g. 4" });
  }
  return Number(match[1]);
}

function checkUuid(text: string): string {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)) {
    throw cliErrors.ERR_CPR_OPTION_VALUE({
      option: "uuid",
      value: text,
      expected: "a UUID like 550e8400-e29b-41d4-a716-446655440000",
    });
  }
  return text.toLowerCase();
}
