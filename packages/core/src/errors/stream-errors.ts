import { defineError, defineErrors } from "../errors.ts";

const hex = (value: number): string => value.toString(16);

const setup = "Make sure that your current VM setup matches your saved VM setup";

/** What can be wrong with a migration stream. QEMU's texts where it has one. */
export const streamErrors = defineErrors({
  ERR_CPR_STREAM_MAGIC: defineError<{ magic: number; expected: number }>({
    category: "checkpoint",
    when: "What is read does not begin like a migration stream.",
    message: ({ magic, expected }) => `Not a migration stream, magic: ${hex(magic)} != ${hex(expected)}`,
  }),
  ERR_CPR_STREAM_VERSION: defineError<{ version: number; expected: number }>({
    category: "checkpoint",
    when: "The framing of the stream has another version.",
    message: ({ version, expected }) =>
      version === 2
        ? "SaveVM v2 format is obsolete and no longer supported"
        : `Unsupported migration stream version, file version ${hex(version)} != ${hex(expected)}`,
  }),
  ERR_CPR_STREAM_TRUNCATED: defineError<{ position: number }>({
    category: "checkpoint",
    when: "The stream ends too early.",
    message: ({ position }) => `The migration stream is truncated: it ends after ${position} bytes`,
    hint: () => "The checkpoint is incomplete; nothing was changed.",
  }),
  ERR_CPR_STREAM_DAMAGED: defineError<{ problem: string }>({
    category: "checkpoint",
    when: "The checksum of the stream is not that of its bytes, or its trailer is not one.",
    message: ({ problem }) => `The migration stream is damaged: ${problem}`,
    hint: () => "The checkpoint cannot be used; nothing was changed.",
  }),
  ERR_CPR_STREAM_FORMAT: defineError<{ position: number; problem: string }>({
    category: "checkpoint",
    when: "The stream is whole but breaks the rules of the format.",
    message: ({ position, problem }) => `Error in the migration stream near byte ${position}: ${problem}`,
  }),
  ERR_CPR_STREAM_NEWER: defineError<{ what: string; version: number; supported: number }>({
    category: "checkpoint",
    when: "The stream was written by a newer version of this program, in a form that this one does not know.",
    message: ({ what, version, supported }) =>
      `${what}: version ${version} is too new, this program knows up to version ${supported}`,
    hint: () => "Load it with the version of cpr that wrote it, or a newer one.",
  }),
  ERR_CPR_STREAM_MACHINE: defineError<{ received: string; local: string }>({
    category: "checkpoint",
    when: "The checkpoint is of another machine type.",
    message: ({ received, local }) => `Machine type received is '${received}' and local is '${local}'`,
    hint: ({ received }) => `Start with \`-machine ${received}\`.`,
  }),
  ERR_CPR_STREAM_PROCESSOR: defineError<{ received: string; local: string; missing: readonly string[] }>({
    category: "checkpoint",
    when: "The checkpoint is of a VM with another CPU model or another number of vCPUs.",
    message: ({ received, local, missing }) =>
      `The checkpoint is of a VM with ${received}, but this one has ${local}${missing.length === 0 ? "" : `, which lacks ${missing.join(", ")}`}`,
    hint: () => "Start with the same `-cpu` and `-smp`.",
  }),
  ERR_CPR_STREAM_PAGE_BITS: defineError<{ received: number; local: number }>({
    category: "checkpoint",
    when: "The checkpoint is of a machine with another page size.",
    message: ({ received, local }) => `Received TARGET_PAGE_BITS is ${received} but local is ${local}`,
  }),
  ERR_CPR_STREAM_CAPABILITY: defineError<{ name: string; received: boolean; local: boolean }>({
    category: "checkpoint",
    when: "A capability that shapes the stream was set differently when the checkpoint was written.",
    message: ({ name, received, local }) =>
      `Capability ${name} is ${local ? "on" : "off"}, but received capability is ${received ? "on" : "off"}`,
    hint: ({ name, received }) => `Use \`migrate_set_capability ${name} ${received ? "on" : "off"}\` and load again.`,
  }),
  ERR_CPR_STREAM_CAPABILITY_UNKNOWN: defineError<{ name: string }>({
    category: "checkpoint",
    when: "The checkpoint was written with a capability that this program does not have.",
    message: ({ name }) => `Received unknown capability ${name}`,
  }),
  ERR_CPR_STREAM_UUID: defineError<{ received: string; local: string }>({
    category: "checkpoint",
    when: "The checkpoint was written with validate-uuid, and the VM has another UUID.",
    message: ({ received, local }) => `UUID received is ${received} and local is ${local}`,
  }),
  ERR_CPR_STREAM_RAM_UNKNOWN: defineError<{ id: string; known: readonly string[] }>({
    category: "checkpoint",
    when: "The checkpoint has a RAM block that the VM does not have.",
    message: ({ id }) => `Unknown ramblock "${id}", cannot accept migration`,
    hint: (details) => `${setup}: here RAM is ${details.known.join(", ")}.`,
  }),
  ERR_CPR_STREAM_RAM_MISSING: defineError<{ id: string }>({
    category: "checkpoint",
    when: "The VM has a RAM block that the checkpoint lacks.",
    message: ({ id }) => `The checkpoint has no RAM block "${id}"`,
    hint: () => `${setup}.`,
  }),
  ERR_CPR_STREAM_RAM_SIZE: defineError<{ id: string; received: number; local: number }>({
    category: "checkpoint",
    when: "A RAM block has another size than in the checkpoint.",
    message: ({ id, received, local }) =>
      `Size mismatch: ${id}: 0x${hex(received)} != 0x${hex(local)}: Invalid argument`,
    hint: ({ received }) =>
      `Start with the same \`-m\` and \`-object\`: the block has ${received} bytes in the checkpoint.`,
  }),
  ERR_CPR_STREAM_RAM_ADDRESS: defineError<{ id: string; received: number; local: number }>({
    category: "checkpoint",
    when: "A RAM block that stays in place lies elsewhere in the guest's address space.",
    message: ({ id, received, local }) => `Mismatched GPAs for block ${id} ${received}!= ${local}`,
  }),
  ERR_CPR_STREAM_SECTION_UNKNOWN: defineError<{ device: string; instance: number }>({
    category: "checkpoint",
    when: "The checkpoint has the state of a device that the VM does not have.",
    message: ({ device, instance }) =>
      `Unknown section or instance '${device}' ${instance}. ${setup}, including any hotplugged devices`,
  }),
  ERR_CPR_STREAM_SECTION_MISSING: defineError<{ device: string; instance: number }>({
    category: "checkpoint",
    when: "The VM has a device whose state the checkpoint lacks.",
    message: ({ device, instance }) => `The checkpoint has no state for device '${device}' ${instance}`,
    hint: () => `${setup}.`,
  }),
  ERR_CPR_STATE_KIND: defineError<{ device: string; received: string; local: string }>({
    category: "checkpoint",
    when: "A device's state in the checkpoint is that of another device model.",
    message: ({ device, received, local }) =>
      `Device '${device}' is a '${received}' in the checkpoint, but a '${local}' here`,
  }),
  ERR_CPR_STATE_NEWER: defineError<{ device: string; schema: string; version: number; local: number }>({
    category: "checkpoint",
    when: "A device's state has a newer version than this program knows.",
    message: ({ device, schema, version, local }) =>
      `error while loading state of device '${device}': ${schema}: incoming version_id ${version} is too new for local version_id ${local}`,
    hint: () => "Load the checkpoint with the version of cpr that wrote it, or a newer one.",
  }),
  ERR_CPR_STATE_OLDER: defineError<{ device: string; schema: string; version: number; local: number }>({
    category: "checkpoint",
    when: "A device's state is so old that this program cannot upgrade it.",
    message: ({ device, schema, version, local }) =>
      `error while loading state of device '${device}': ${schema}: incoming version_id ${version} is too old for local minimum version_id ${local}`,
  }),
  ERR_CPR_STATE_FIELDS: defineError<{ device: string; schema: string; problem: string }>({
    category: "checkpoint",
    when: "A device's state has fields that its version does not have, lacks one, or one has another type.",
    message: ({ device, schema, problem }) =>
      `error while loading state of device '${device}': the state ${schema} ${problem}`,
  }),
  ERR_CPR_STATE_VALUE: defineError<{ device: string; schema: string; problem: string }>({
    category: "checkpoint",
    when: "A device's state in the checkpoint has a value that cannot be.",
    message: ({ device, schema, problem }) =>
      `error while loading state of device '${device}': the state ${schema} ${problem}`,
  }),
  ERR_CPR_STATE_SAVED: defineError<{ device: string; schema: string; problem: string }>({
    category: "plugin",
    when: "A device, when saved, gave values that do not fit its own schema.",
    message: ({ device, schema, problem }) => `Device '${device}' breaks its contract: the state ${schema} ${problem}`,
  }),
});
