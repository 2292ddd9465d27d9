import { closeSync, constants, fstatSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  ConnectionSink,
  ConnectionSource,
  descriptorErrors,
  systemReason,
  type Transport,
  type TransportOptions,
  type TransportSink,
  type TransportSource,
  type TransportUri,
} from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { descriptorTransportErrors } from "./errors.ts";

/**
 * Migration streams through descriptors that were handed over: `fd:NUMBER` is one that the process inherited, `fd:NAME` one
 * that `getfd` gave a name. It is used up by the migration.
 *
 * NOTE: what is at the other end of a pipe or socket cannot be told. It may keep the bytes, but nothing says whether and
 * when it has, as the exit status of `exec:` does; so this transport does not state that it stores.
 */
@injectable()
export class DescriptorTransport implements Transport {
  readonly scheme = "fd";
  readonly supports = { stores: false, seekable: false, parallel: false, passesDescriptors: false } as const;

  async openSink(uri: TransportUri, options: TransportOptions = {}): Promise<TransportSink> {
    const connection = open(uri, options, "write");
    return new ConnectionSink({ connection, failed: broken(uri), signal: options.signal });
  }

  async openSource(uri: TransportUri, options: TransportOptions = {}): Promise<TransportSource> {
    const connection = open(uri, options, "read");
    return new ConnectionSource({ connection, failed: broken(uri), signal: options.signal });
  }
}

const broken =
  ({ text: uri }: TransportUri) =>
  (cause: unknown): Error =>
    descriptorTransportErrors.ERR_CPR_FD_BROKEN({ uri, reason: systemReason(cause) }, { cause });

/** A descriptor that is a name's is closed if it cannot be used; one that was named by its number is left as it is. */
function open(
  { text: uri, rest }: TransportUri,
  { signal, descriptors }: TransportOptions,
  access: "read" | "write",
): Duplex {
  signal?.throwIfAborted();
  if (/^\d+$/.test(rest)) {
    return connectionOf(Number(rest), uri, access);
  }
  if (rest === "" || /^\d/.test(rest)) {
    throw descriptorTransportErrors.ERR_CPR_FD_URI({ uri, text: rest });
  }
  if (descriptors === undefined) {
    throw descriptorErrors.ERR_CPR_FD_UNKNOWN({ name: rest, uri });
  }
  const descriptor = descriptors.take(rest, uri);
  try {
    return connectionOf(descriptor, uri, access);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function connectionOf(descriptor: number, uri: string, access: "read" | "write"): Duplex {
  const kind = kindOf(descriptor);
  if (kind === "closed") {
    throw descriptorTransportErrors.ERR_CPR_FD_NOT_OPEN({ uri, descriptor });
  }
  if (kind === "file") {
    throw descriptorTransportErrors.ERR_CPR_FD_FILE({ uri });
  }
  const wrongEnd = access === "read" ? constants.O_WRONLY : constants.O_RDONLY;
  if (kind === "pipe" && accessModeOf(descriptor) === wrongEnd) {
    const reason = `it is the end of a pipe for ${access === "read" ? "writing" : "reading"}`;
    throw descriptorTransportErrors.ERR_CPR_FD_KIND({ uri, reason });
  }
  try {
    // A socket's other direction tells that the receiver has read everything.
    return new Socket({
      fd: descriptor,
      readable: kind === "socket" || access === "read",
      writable: kind === "socket" || access === "write",
      allowHalfOpen: access === "read",
    });
  } catch (cause) {
    throw descriptorTransportErrors.ERR_CPR_FD_KIND({ uri, reason: systemReason(cause) }, { cause });
  }
}

function kindOf(descriptor: number): "pipe" | "socket" | "file" | "closed" {
  try {
    const present = fstatSync(descriptor);
    return present.isFIFO() ? "pipe" : present.isSocket() ? "socket" : "file";
  } catch {
    return "closed";
  }
}

/** How a descriptor was opened (proc_pid_fdinfo(5)). */
function accessModeOf(descriptor: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1");
  return Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(text)?.[1] ?? "", 8) & 3;
}
