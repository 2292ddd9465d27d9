import type { Abortable, Transport, TransportSink, TransportSource, TransportUri } from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { FileSink } from "./file-sink.ts";
import { FileSource } from "./file-source.ts";
import { parseFileUri } from "./file-uri.ts";

/**
 * Migration streams in files: `file:PATH[,offset=N]`.
 *
 * A stream is written to a temporary file beside its target, made durable and renamed: the target is at any moment
 * either what it was or the complete new stream. Devices such as `/dev/null` are written directly.
 */
@injectable()
export class FileTransport implements Transport {
  readonly scheme = "file";
  readonly supports = { stores: true, seekable: true, parallel: true, passesDescriptors: false } as const;

  async openSink(uri: TransportUri, { signal }: Abortable = {}): Promise<TransportSink> {
    signal?.throwIfAborted();
    return FileSink.open(uri.text, parseFileUri(uri), signal);
  }

  async openSource(uri: TransportUri, { signal }: Abortable = {}): Promise<TransportSource> {
    signal?.throwIfAborted();
    return FileSource.open(uri.text, parseFileUri(uri), signal);
  }
}
