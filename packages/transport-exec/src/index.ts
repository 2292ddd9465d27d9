/**
 * Migration streams through a shell command.
 *
 * @example
 * ```ts
 * const uri = { text: "exec:gzip -c > vm.gz", scheme: "exec", rest: "gzip -c > vm.gz" };
 * const sink = await new ExecTransport().openSink(uri);
 * ```
 *
 * @packageDocumentation
 */
export { execErrors } from "./errors.ts";
export { ExecTransport } from "./exec-transport.ts";
