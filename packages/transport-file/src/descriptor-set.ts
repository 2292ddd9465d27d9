import {
  type DescriptorSource,
  type DescriptorUse,
  descriptorErrors,
  type LentDescriptor,
  type TransportChannel,
} from "@cpr/core";
import { type FileErrorFactory, fileError, fileErrors } from "./errors.ts";

const folder = "/dev/fdset/";

/**
 * The number of the set of descriptors that a path names, as in QEMU; undefined if it is an ordinary path.
 *
 * @throws {CprError} ERR_CPR_FILE_FDSET
 */
export function descriptorSetOf(path: string, uri: string): number | undefined {
  if (!path.startsWith(folder)) {
    return undefined;
  }
  const text = path.slice(folder.length);
  const set = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(set)) {
    throw fileErrors.ERR_CPR_FILE_FDSET({ uri, path });
  }
  return set;
}

/** Lends a descriptor of a set. @throws {CprError} ERR_CPR_FDSET_UNKNOWN, ERR_CPR_FDSET_FLAGS */
export function lendFrom(descriptors: DescriptorSource | undefined, set: number, use: DescriptorUse): LentDescriptor {
  if (descriptors === undefined) {
    throw descriptorErrors.ERR_CPR_FDSET_UNKNOWN({ set, uri: use.uri });
  }
  return descriptors.lend(set, use);
}

/** A channel is a descriptor of the set too: the file cannot be opened once more. */
export function lentChannel(
  { descriptor, release }: LentDescriptor,
  start: number,
  failed: FileErrorFactory,
  uri: string,
  path: string,
): TransportChannel {
  return {
    descriptor,
    start,
    failure: (cause) => fileError(failed, uri, path, cause),
    close: async () => release(),
  };
}
