/**
 * Migration streams through sockets, from one live process to another.
 *
 * @example
 * ```ts
 * const uri = { text: "unix:/tmp/migration", scheme: "unix", rest: "/tmp/migration" };
 * const source = await new UnixTransport().openSource(uri);
 * ```
 *
 * @packageDocumentation
 */
export { socketErrors } from "./errors.ts";
export { TcpTransport, UnixTransport, VsockTransport } from "./socket-transports.ts";
export { SocketsHostCheck } from "./sockets-host-check.ts";
