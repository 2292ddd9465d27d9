/**
 * An x86-64 interpreter as an execution backend.
 *
 * @packageDocumentation
 */
export { InterpreterBackend } from "./backend.ts";
export { interpreterErrors } from "./errors.ts";
