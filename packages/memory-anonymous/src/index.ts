/**
 * Guest RAM in anonymous memory (`memory-backend-ram`): private to the process, copied into every checkpoint.
 *
 * @packageDocumentation
 */
export { AnonymousMemoryProvider } from "./anonymous-memory-provider.ts";
