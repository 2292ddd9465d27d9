/**
 * Guest RAM in a memfd (`memory-backend-memfd`, and `memory-backend-ram,share=on`): shared, without a name.
 *
 * @packageDocumentation
 */

export { MemfdHostCheck } from "./memfd-host-check.ts";
export { MemfdMemoryProvider } from "./memfd-memory-provider.ts";
