/**
 * Migration streams in files.
 *
 * @example
 * ```ts
 * const sink = await new FileTransport().openSink({ text: "file:vm.state", scheme: "file", rest: "vm.state" });
 * await sink.write(bytes);
 * await sink.commit();
 * ```
 *
 * @packageDocumentation
 */
export { fileErrors } from "./errors.ts";
export { FileTransport } from "./file-transport.ts";
