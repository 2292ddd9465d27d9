import type { AccessSize, Bus } from "@cpr/core";
import { RunPage } from "./run-page.ts";

/** KVM_EXIT_IO (KVM api.rst §5): one or, for INS and OUTS, several accesses to a port. */
export function servePorts({ ports }: Bus, run: RunPage): void {
  const { out, size, port, count, dataOffset } = run.io;
  const width = size as AccessSize;
  for (let index = 0, at = dataOffset; index < count; index++, at += width) {
    if (out) ports.write(port, width, run.read(at, width));
    else run.write(at, width, ports.read(port, width));
  }
}

/** KVM_EXIT_MMIO (KVM api.rst §5): up to eight bytes outside of RAM, in pieces that the bus knows. */
export function serveMmio({ mmio }: Bus, run: RunPage): void {
  const { address, length, write } = run.mmio;
  for (let done = 0; done < length; ) {
    const size = pieceOf(address + done, length - done);
    const at = RunPage.mmioData + done;
    if (write) mmio.write(address + done, size, run.read(at, size));
    else run.write(at, size, mmio.read(address + done, size));
    done += size;
  }
}

/** The greatest access that is not longer than what is left; an odd rest is split where it is aligned. */
function pieceOf(address: number, left: number): AccessSize {
  if (left >= 4) return 4;
  if (left === 3) return address % 2 === 0 ? 2 : 1;
  return left as AccessSize;
}
