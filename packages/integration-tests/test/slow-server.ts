/**
 * A server that takes its time: whoever connects gets so many bytes, a piece at a time, and is told of in a line when it begins and
 * when all was sent. `node slow-server.ts ADDRESS BYTES` prints the port first.
 */
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const pieceSize = 32 * 1024;
const pause = 200;

/** The bytes that everybody gets. */
export function slowBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 17 + (index >> 16)) & 0xff);
}

/** Serves as long as the process lives. */
async function serveSlowly(address: string, length: number, tell: (line: string) => void): Promise<void> {
  const bytes = slowBytes(length);
  const server = createServer({ allowHalfOpen: true }, async (socket) => {
    socket.on("error", () => undefined).resume();
    tell(`begin ${socket.remoteAddress} ${socket.remotePort}`);
    for (let at = 0; at < length && !socket.destroyed; at += pieceSize) {
      if (!socket.write(bytes.subarray(at, at + pieceSize))) {
        await new Promise((resolve) => socket.once("drain", resolve).once("close", resolve));
      }
      await delay(pause);
    }
    socket.end(() => tell("end"));
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  tell(`port ${(server.address() as AddressInfo).port}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await serveSlowly(process.argv[2] ?? "", Number(process.argv[3]), (line) => console.log(line));
}
