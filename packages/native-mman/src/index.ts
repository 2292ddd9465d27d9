/**
 * What memory providers need of Linux and Node does not offer: mapping a file over a `WebAssembly.Memory`, memfds,
 * locks that belong to an open file, holes, and what disks need of block devices. {@link MappedMemory} is a memory object made of these.
 *
 * @example
 * ```ts
 * const descriptor = createMemfd("ram0");
 * ftruncateSync(descriptor, 65_536);
 * const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
 * mapOver(new Uint8Array(memory.buffer), { descriptor, visibility: "shared" });
 * ```
 *
 * @packageDocumentation
 */
export * from "./descriptor.ts";
export { nativeErrors } from "./errors.ts";
export * from "./lock-holder.ts";
export * from "./lock-object.ts";
export * from "./mapped-memory.ts";
export * from "./memory-map.ts";
export { pageFunctionsUrl, reclaimUrl } from "./module-urls.ts";
export * from "./reason.ts";
export { touchedRangesOf } from "./touched-ranges.ts";
