import { type CharacterSink, parseMemoryObject, parseMemorySize, type VirtualMachineConfiguration } from "@cpr/core";
import { addedDescriptors } from "./added-descriptors.ts";
import { parseSerial, type SerialTarget } from "./character-sinks.ts";
import { cliErrors } from "./cli-errors.ts";
import { type MonitorDevice, parseMonitorDevice } from "./monitor-device.ts";
import type { RunOptions } from "./run-options.ts";

/** How the process's own standard input and output are used. */
export interface StandardStreams {
  /** The serial port that is connected to standard output, if any. */
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
  readonly configuration: VirtualMachineConfiguration;
  readonly streams: StandardStreams;
  readonly sockets: readonly MonitorSocket[];
}

/**
 * Turns options into what a VM is made from. Nothing of the host is touched, but for what `openSink` does.
 *
 * @param openSink opens what takes the output of a serial port.
 * @throws {CprError} ERR_CPR_OPTION_VALUE and the errors of memory objects
 */
export function planRun(options: RunOptions, openSink: (target: SerialTarget) => CharacterSink): RunPlan {
  refuseInstructionCounting(options.icount);
  const monitor = options.monitor === undefined ? undefined : parseMonitorDevice("monitor", options.monitor);
  const qmp = options.qmp.map((text) => parseMonitorDevice("qmp", text));
  const onStreams = [monitor, ...qmp].filter((device) => device?.kind === "stdio").length;
  const given = options.serial.map(parseSerial);
  const serial: SerialTarget[] =
    given.length > 0 ? given : [onStreams > 0 ? { kind: "null" } : { kind: "stdio", withMonitor: true }];
  if (serial.filter(({ kind }) => kind === "stdio").length + onStreams > 1) {
    throw cliErrors.ERR_CPR_OPTION_VALUE({
      option: onStreams > 1 ? "qmp" : "serial",
      value: "stdio",
      expected: "standard input and output only once; the monitor or another serial port has them already",
    });
  }
  const characterDevices = new Map(serial.map((target, index) => [`serial${index}`, openSink(target)]));
  const consoleIndex = serial.findIndex(({ kind }) => kind === "stdio");
  const shared = serial.some((target) => target.kind === "stdio" && target.withMonitor);
  const { type, properties } = parseMachine(options.machine);
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
        serial: [...characterDevices.keys()],
        noReboot: !options.reboot,
      },
      ...(options.incoming === undefined ? {} : { incoming: options.incoming }),
      migration: { properties: options.global.map(parseGlobal), modes: options.migrateModeEnable },
      descriptors: addedDescriptors(options.addFd),
      startStopped: options.stopped === true,
      characterDevices,
    },
    streams: {
      console: consoleIndex < 0 ? undefined : `serial${consoleIndex}`,
      monitor: monitor?.kind === "stdio" ? "line" : shared && monitor === undefined ? "shared" : "none",
      qmp: qmp.some(({ kind }) => kind === "stdio"),
    },
    sockets: [
      ...qmp.flatMap((device) => socketOf("qmp", device)),
      ...(monitor === undefined ? [] : socketOf("lines", monitor)),
    ],
  };
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
