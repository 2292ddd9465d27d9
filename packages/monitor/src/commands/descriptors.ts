import { closeSync } from "node:fs";
import type { MonitorContext } from "@cpr/core";
import { defineCommand } from "../define-command.ts";
import { monitorErrors } from "../monitor-errors.ts";

/** Hands the descriptor that came with the command to whoever keeps it; it is closed if that fails. */
function handOver<T>({ conversation }: MonitorContext, keep: (descriptor: number) => T): T {
  const descriptor = conversation.takeDescriptor?.();
  if (descriptor === undefined) {
    throw monitorErrors.ERR_CPR_MONITOR_NO_DESCRIPTOR({ possible: conversation.takeDescriptor !== undefined });
  }
  try {
    return keep(descriptor);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** `add-fd` */
export const AddDescriptorCommand = defineCommand({
  name: "add-fd",
  summary: "add the descriptor that comes with the command to a set, which is the path /dev/fdset/N",
  arguments: [
    { name: "fdset-id", type: "integer", optional: true, summary: "number of the set; a new one if it is left out" },
    { name: "opaque", type: "string", optional: true, summary: "any text, for query-fdsets" },
  ],
  execute: async (context, values) => {
    const id = values["fdset-id"] as number | undefined;
    const opaque = values["opaque"] as string | undefined;
    const { set, descriptor } = handOver(context, (each) => context.machine.descriptors.add(each, id, opaque));
    return { "fdset-id": set, fd: descriptor };
  },
});

/** `remove-fd` */
export const RemoveDescriptorCommand = defineCommand({
  name: "remove-fd",
  summary: "remove a descriptor from a set, or all of them",
  arguments: [
    { name: "fdset-id", type: "integer", summary: "number of the set" },
    { name: "fd", type: "integer", optional: true, summary: "the descriptor; all if it is left out" },
  ],
  execute: async ({ machine }, values) => {
    machine.descriptors.remove(values["fdset-id"] as number, values["fd"] as number | undefined);
  },
});

/** `query-fdsets` */
export const QueryDescriptorSetsCommand = defineCommand({
  name: "query-fdsets",
  summary: "show the sets of descriptors",
  arguments: [],
  execute: async ({ machine }) =>
    machine.descriptors.sets().map(({ id, descriptors }) => ({
      "fdset-id": id,
      fds: descriptors.map(({ descriptor, opaque }) => ({
        fd: descriptor,
        ...(opaque === undefined ? {} : { opaque }),
      })),
    })),
});

/** `getfd` */
export const GetDescriptorCommand = defineCommand({
  name: "getfd",
  summary: "give the descriptor that comes with the command a name, for fd:NAME",
  arguments: [{ name: "fdname", type: "string", summary: "the name" }],
  execute: async (context, { fdname }) => {
    handOver(context, (descriptor) => context.machine.descriptors.name(String(fdname), descriptor));
  },
});

/** `closefd` */
export const CloseDescriptorCommand = defineCommand({
  name: "closefd",
  summary: "close a descriptor that was given a name",
  arguments: [{ name: "fdname", type: "string", summary: "the name" }],
  execute: async ({ machine }, { fdname }) => {
    machine.descriptors.close(String(fdname));
  },
});
