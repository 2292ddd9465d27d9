import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { since } from "../report.ts";
import { type MeasuredSystem, mebibyte } from "./system.ts";

/** MiB a second through one connection of TCP, in each direction; nothing where there is no tap. */
export async function network(system: MeasuredSystem): Promise<Record<string, number>> {
  const { network: tap } = system.setting;
  if (tap === undefined) return {};
  const size = system.share(128 * mebibyte, mebibyte);
  const place = (port: number): string => `/dev/tcp/${tap.hostAddress}/${port}`;
  // What has arrived is what counts: the host's end of the connection ends when it has all.
  const sent = await transfer(tap.hostAddress, (socket) => socket.resume(), {
    run: (port) => system.ask(`bash -c 'head -c ${size} /dev/zero >${place(port)}'`),
  });
  const received = await transfer(tap.hostAddress, (socket) => socket.resume().end(Buffer.alloc(size)), {
    run: (port) => system.ask(`bash -c 'test $(cat <${place(port)} | wc -c) = ${size}'`),
  });
  return {
    "network, guest to host, MiB/s": size / mebibyte / sent,
    "network, host to guest, MiB/s": size / mebibyte / received,
  };
}

/** Seconds from the command in the guest until it has ended and this machine's end of the connection, too. */
async function transfer(
  address: string,
  serve: (socket: Socket) => unknown,
  guest: { run(port: number): Promise<void> },
): Promise<number> {
  const server = createServer((socket) => {
    serve(socket);
    socket.on("close", () => server.close());
  }).listen(0, address);
  await once(server, "listening");
  const closed = once(server, "close");
  const start = performance.now();
  await guest.run((server.address() as AddressInfo).port);
  await closed;
  return since(start) / 1000;
}
