/**
 * Migration streams through descriptors that were handed over to the process.
 *
 * @example
 * ```ts
 * const sink = await new DescriptorTransport().openSink({ text: "fd:3", scheme: "fd", rest: "3" });
 * ```
 *
 * @packageDocumentation
 */
export { DescriptorTransport } from "./descriptor-transport.ts";
export { descriptorTransportErrors } from "./errors.ts";
