import { defineError, defineErrors } from "../errors.ts";

/** What can be wrong with a `-object`, and what a memory provider can run into. */
export const memoryErrors = defineErrors({
  ERR_CPR_OBJECT_SYNTAX: defineError<{ text: string; reason: string }>({
    category: "usage",
    when: "The text of `-object` is not `TYPE,id=ID,KEY=VALUE,…` or a JSON object.",
    message: ({ reason }) => reason,
    hint: () => "Write it like `memory-backend-file,id=ram0,size=1G,mem-path=/dev/shm/ram0,share=on`.",
  }),
  ERR_CPR_OBJECT_TYPE: defineError<{ type: string; known: readonly string[] }>({
    category: "usage",
    when: "`-object` names a type that does not exist.",
    message: ({ type }) => `invalid object type: ${type}`,
    hint: (details) => `Object types: ${details.known.join(", ")}.`,
  }),
  ERR_CPR_OBJECT_PROPERTY: defineError<{ type: string; property: string; known: readonly string[] }>({
    category: "usage",
    when: "`-object` has a property that its type does not have.",
    message: ({ property }) => `Parameter '${property}' is unexpected`,
    hint: ({ type, known }) => `Properties of ${type}: ${known.join(", ")}.`,
  }),
  ERR_CPR_OBJECT_PROPERTY_MISSING: defineError<{ type: string; property: string }>({
    category: "usage",
    when: "`-object` lacks a property that its type needs.",
    message: ({ property }) => `Parameter '${property}' is missing`,
    hint: ({ type, property }) => `Add \`${property}=…\` to the object of type ${type}.`,
  }),
  ERR_CPR_OBJECT_VALUE: defineError<{ property: string; value: string; expected: string }>({
    category: "usage",
    when: "A property of `-object` has a value that is not of its type.",
    message: ({ property, expected }) => `Parameter '${property}' expects ${expected}`,
    hint: ({ value }) => `It is '${value}'.`,
  }),
  ERR_CPR_MEMORY_PROPERTY: defineError<{ id: string; type: string; property: string; reason: string }>({
    category: "usage",
    when: "A property of a memory object cannot be had, on its own or beside another one.",
    message: ({ id, type, property, reason }) => `Property '${property}' of object '${id}' (${type}) ${reason}`,
  }),
  ERR_CPR_MEMORY_OPEN: defineError<{ path: string; reason: string; remedy?: string | undefined }>({
    category: "input",
    when: "The file or device of a memory object cannot be opened or created.",
    message: ({ path, reason }) => `can't open backing store ${path} for guest RAM: ${reason}`,
    hint: ({ remedy, path }) => remedy ?? `Look at \`ls -ld ${path}\`, or name another \`mem-path\`.`,
  }),
  ERR_CPR_MEMORY_KIND: defineError<{ path: string; kind: string; remedy?: string | undefined }>({
    category: "input",
    when: "The `mem-path` of a memory object is something that cannot be RAM, like a socket.",
    message: ({ path, kind }) => `backing store ${path} cannot be guest RAM: it is ${kind}`,
    hint: ({ remedy }) => remedy ?? "Name a file (it is made if there is none), a directory or a device-DAX node.",
  }),
  ERR_CPR_MEMORY_FILE_SIZE: defineError<{ path: string; size: number; actual: number; remedy?: string }>({
    category: "input",
    when: "The file of a memory object exists and has another size, or its device is smaller. It is left as it is.",
    message: ({ path, size, actual }) =>
      `backing store ${path} size 0x${actual.toString(16)} does not match 'size' option 0x${size.toString(16)}`,
    hint: ({ path, actual, remedy }) =>
      remedy ?? `The file is untouched. Use \`size=${actual}\` to keep its contents, or remove ${path} to start anew.`,
  }),
  ERR_CPR_MEMORY_PAGE_SIZE: defineError<{ location: string; size: number; pageSize: number }>({
    category: "input",
    when: "The size of a memory object is not a multiple of the huge page size or the device's alignment.",
    message: ({ location, size, pageSize }) =>
      `memory size 0x${size.toString(16)} of ${location} is not a multiple of its page size 0x${pageSize.toString(16)}`,
    hint: ({ size, pageSize }) =>
      `Use \`size=${Math.max(Math.floor(size / pageSize), 1) * pageSize}\`, or another multiple.`,
  }),
  ERR_CPR_MEMORY_ALIGN: defineError<{ path: string; align: number; alignment: number }>({
    category: "input",
    when: "The `align` of a memory object is less than its device demands.",
    message: ({ align, alignment }) =>
      `backing store align 0x${alignment.toString(16)} is larger than 'align' option 0x${align.toString(16)}`,
    hint: ({ path, alignment }) => `Use \`align=${alignment}\`, or leave it out: that of ${path} is heeded anyway.`,
  }),
  ERR_CPR_MEMORY_PMEM: defineError<{ path: string }>({
    category: "input",
    when: "`pmem=on`, and the file system of a memory object cannot map persistent memory as it is (MAP_SYNC).",
    message: ({ path }) => `backing store ${path} cannot be had with 'pmem=on': its file system has no DAX`,
    hint: () =>
      "Leave `pmem=on` out, or put the file on ext4 or xfs on persistent memory (`/dev/pmemN`), mounted with `-o dax=always`.",
  }),
  ERR_CPR_MEMORY_BUSY: defineError<{ path: string; pid?: number | undefined }>({
    category: "busy",
    when: "Another VM, in this process or another one, uses the same file or device as RAM.",
    message: ({ path, pid }) =>
      `${path} is the RAM of another VM${pid === undefined ? "" : `, in process ${pid}`}: nothing was changed`,
    hint: () => "Quit that VM first: two VMs on the same RAM destroy each other.",
  }),
  ERR_CPR_MEMORY_NO_SPACE: defineError<{ path: string; size: number; available?: number | undefined }>({
    category: "host",
    when: "The file system of a memory object has not enough room for the RAM.",
    message: ({ path, size, available }) =>
      `not enough room for ${size} bytes of guest RAM in ${path}` +
      (available === undefined ? "" : `: ${available} bytes are free`),
    hint: () => "Free some, give the VM less RAM, or enlarge a tmpfs with `mount -o remount,size=SIZE`.",
  }),
  ERR_CPR_MEMORY_PREALLOC: defineError<{ location: string; reason: string }>({
    category: "host",
    when: "`prealloc=on`, and the host has no memory for all of the RAM.",
    message: ({ location, reason }) => `preallocating memory of ${location} failed: ${reason}`,
    hint: () => "Give the VM less RAM, or use `prealloc=off`.",
  }),
  ERR_CPR_MEMORY_FLUSH: defineError<{ location: string; reason: string }>({
    category: "host",
    when: "The contents of RAM that stays in place cannot be written to the disk under it.",
    message: ({ location, reason }) => `Could not write guest RAM in ${location} to its disk: ${reason}`,
  }),
  ERR_CPR_MEMORY_MAP: defineError<{ location: string; reason: string; remedy?: string | undefined }>({
    category: "host",
    when: "The kernel refuses to map a memory object.",
    message: ({ location, reason }) => `unable to map backing store ${location} for guest RAM: ${reason}`,
    hint: ({ remedy }) => remedy ?? "Look into the kernel's log, or use another kind of memory object.",
  }),
});
