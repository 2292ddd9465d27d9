import { accessSync, constants, realpathSync, statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import {
  hostFileSystem,
  type PlaceReport,
  type Transport,
  type TransportOptions,
  type TransportSink,
  type TransportSource,
  type TransportUri,
} from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { descriptorSetOf } from "./descriptor-set.ts";
import { fileError, fileErrors } from "./errors.ts";
import { FileSink } from "./file-sink.ts";
import { FileSource } from "./file-source.ts";
import { parseFileUri } from "./file-uri.ts";

/**
 * Migration streams in files: `file:PATH[,offset=N]`.
 *
 * A stream is written to a temporary file beside its target, made durable and renamed: the target is at any moment
 * either what it was or the complete new stream. Devices such as `/dev/null` are written directly, and so are files
 * that came as descriptors, `file:/dev/fdset/N`: these have no name that could be given to another file.
 */
@injectable()
export class FileTransport implements Transport {
  readonly scheme = "file";
  readonly supports = { stores: true, seekable: true, parallel: true, passesDescriptors: false } as const;
  readonly nowhere = "file:/dev/null";

  async examine(uri: TransportUri): Promise<PlaceReport> {
    const { path } = parseFileUri(uri);
    if (descriptorSetOf(path, uri.text) !== undefined) {
      return {};
    }
    const problem = (cause: unknown): PlaceReport => ({
      problem: fileError(fileErrors.ERR_CPR_FILE_OPEN, uri.text, path, cause),
    });
    try {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found?.isDirectory() === true) {
        return problem({ code: "EISDIR" });
      }
      if (found !== undefined && !found.isFile()) {
        accessSync(path, constants.W_OK);
        return {};
      }
      // A stream is written beside what stands there, which stays until the stream is complete.
      const folder = dirname(found === undefined ? path : realpathSync(path));
      const { bavail, bsize } = statfsSync(folder);
      // With a slash at the end it is a folder or an error.
      accessSync(`${folder}/`, constants.W_OK);
      const { survivesReboot } = hostFileSystem(folder);
      const identity = found === undefined ? {} : { identity: `${found.dev}:${found.ino}` };
      return { free: bavail * bsize, survivesReboot, ...identity };
    } catch (error) {
      return problem(error);
    }
  }

  async openSink(uri: TransportUri, { signal, descriptors }: TransportOptions = {}): Promise<TransportSink> {
    signal?.throwIfAborted();
    return FileSink.open(uri.text, parseFileUri(uri), signal, descriptors);
  }

  async openSource(uri: TransportUri, { signal, descriptors }: TransportOptions = {}): Promise<TransportSource> {
    signal?.throwIfAborted();
    return FileSource.open(uri.text, parseFileUri(uri), signal, descriptors);
  }
}
