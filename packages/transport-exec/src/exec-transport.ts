import type { Abortable, Transport, TransportSink, TransportSource, TransportUri } from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { execErrors } from "./errors.ts";

/**
 * Migration streams through a shell command: `exec:COMMAND`. The outgoing stream is the command's standard input, the
 * incoming one its standard output. It stores as far as the command captures what it is given.
 *
 * NOTE: until a sink is committed, what the command has done so far is its own affair: `cat > file` has overwritten the
 * file by then. A command that must not spoil an older checkpoint writes beside it and renames.
 */
@injectable()
export class ExecTransport implements Transport {
  readonly scheme = "exec";
  readonly supports = { stores: true, seekable: false, parallel: false, passesDescriptors: false } as const;

  async openSink(uri: TransportUri, { signal }: Abortable = {}): Promise<TransportSink> {
    signal?.throwIfAborted();
    const command = commandOf(uri);
    const { ExecSink } = await import("./exec-sink.ts");
    return new ExecSink(uri.text, command, signal);
  }

  async openSource(uri: TransportUri, { signal }: Abortable = {}): Promise<TransportSource> {
    signal?.throwIfAborted();
    const command = commandOf(uri);
    const { ExecSource } = await import("./exec-source.ts");
    return new ExecSource(uri.text, command, signal);
  }
}

function commandOf({ text, rest }: TransportUri): string {
  if (rest.trim() === "") {
    throw execErrors.ERR_CPR_EXEC_URI({ uri: text });
  }
  return rest;
}
