/**
 * Sockets that pass open descriptors, and vsock, which Node does not offer: streams of Node over an N-API addon; and
 * pseudoterminals.
 *
 * @example
 * ```ts
 * const server = DescriptorServer.listen(["/run/vm.sock"], (socket) => {
 *   socket.on("data", (bytes: Buffer) => console.log(bytes.toString(), takeDescriptors(bytes)));
 * });
 * const client = await DescriptorSocket.connect(["/run/vm.sock"]);
 * await client.send(Buffer.from("a file"), [1]);
 * ```
 *
 * @packageDocumentation
 */
export { isAvailable, type SocketAddress } from "./addon.ts";
export { DescriptorServer } from "./descriptor-server.ts";
export { DescriptorSocket, duplicate, takeDescriptors } from "./descriptor-socket.ts";
export { nativeSocketErrors } from "./errors.ts";
export { PolledDescriptor } from "./polled-descriptor.ts";
export { PseudoTerminal } from "./pseudo-terminal.ts";
export { attachTap, doNotBlock, keepTap, setTapHeader, setTapOffload, tapFlags } from "./tap.ts";
