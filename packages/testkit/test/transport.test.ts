import { randomUUID } from "node:crypto";
import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Abortable,
  CprError,
  type TransportChannel,
  type TransportSink,
  type TransportSource,
  type TransportSupports,
  type TransportUri,
} from "@cpr/core";
import { afterEach, describe, expect, test } from "vitest";
import { patience } from "../src/expectations.ts";
import { MemoryTransport, PipeTransport } from "../src/fakes.ts";
import { type TransportFixture, transportCases, transportCompliance } from "../src/transport.ts";
import { failingCases } from "./failing-cases.ts";

/** Each case gets a fresh transport and a place in it. */
function memoryFixture(create: () => MemoryTransport): TransportFixture {
  let transport = create();
  return {
    name: "memory",
    create: () => {
      transport = create();
      return transport;
    },
    place: async () => ({
      outgoing: "memory:stream",
      incoming: "memory:stream",
      contents: async () => transport.streams.get("stream"),
      close: async () => undefined,
    }),
    unusable: { outgoing: "memory:no/such", incoming: "memory:no/such" },
  };
}

const pipeFixture = (create: () => PipeTransport): TransportFixture => ({
  name: "pipe",
  create,
  place: async () => ({ outgoing: "pipe:a", incoming: "pipe:a", close: async () => undefined }),
  unusable: { outgoing: "pipe:", incoming: "pipe:" },
});

transportCompliance(memoryFixture(() => new MemoryTransport()));
transportCompliance(pipeFixture(() => new PipeTransport()));

/** A memory transport whose sinks are changed by `change`. */
function withSink(
  change: (sink: TransportSink, transport: MemoryTransport, uri: TransportUri) => Partial<TransportSink>,
) {
  return class extends MemoryTransport {
    override async openSink(uri: TransportUri, options?: Abortable): Promise<TransportSink> {
      const sink = await super.openSink(uri, options);
      const original: Required<Omit<TransportSink, "openChannel">> = {
        write: (bytes) => sink.write(bytes),
        writeAt: (position, bytes) => sink.writeAt?.(position, bytes) ?? Promise.resolve(),
        commit: () => sink.commit(),
        abort: () => sink.abort(),
      };
      return { ...original, ...change(original, this, uri) };
    }
  };
}

/** Descriptors that the fake below has opened: a case that fails closes none. */
const descriptors = new Set<number>();

afterEach(() => {
  for (const descriptor of descriptors) closeSync(descriptor);
  descriptors.clear();
});

function openFile(path: string, flags: string): number {
  const descriptor = openSync(path, flags);
  descriptors.add(descriptor);
  return descriptor;
}

async function closeFile(descriptor: number): Promise<void> {
  if (descriptors.delete(descriptor)) closeSync(descriptor);
}

/** A file without a name. */
function scratchFile(): number {
  const path = join(tmpdir(), `cpr-testkit-${randomUUID()}`);
  const descriptor = openFile(path, "wx+");
  unlinkSync(path);
  return descriptor;
}

/** A memory transport whose streams are in files while they are written and read, so that it has channels. */
class ScratchTransport extends MemoryTransport {
  override readonly supports: TransportSupports = {
    stores: true,
    seekable: true,
    parallel: true,
    passesDescriptors: false,
  };

  override async openSink(uri: TransportUri, options?: Abortable): Promise<TransportSink> {
    const sink = await super.openSink(uri, options);
    const file = scratchFile();
    let position = 0;
    const writeAt = async (at: number, bytes: Uint8Array) => {
      writeSync(file, bytes, 0, bytes.length, at);
    };
    return {
      writeAt,
      write: async (bytes) => {
        await writeAt(position, bytes);
        position += bytes.length;
      },
      commit: async () => {
        await sink.write(readFileSync(`/proc/self/fd/${file}`));
        await sink.commit();
        await closeFile(file);
      },
      abort: async () => {
        await sink.abort();
        await closeFile(file);
      },
      openChannel: () => this.channel(file, uri),
    };
  }

  override async openSource(uri: TransportUri, options?: Abortable): Promise<TransportSource> {
    const source = await super.openSource(uri, options);
    const file = scratchFile();
    writeSync(file, this.streams.get(uri.rest) as Uint8Array);
    return {
      read: (buffer) => source.read(buffer),
      readAt: (position, buffer) => source.readAt?.(position, buffer) ?? Promise.resolve(0),
      close: () => closeFile(file),
      openChannel: () => this.channel(file, uri),
    };
  }

  /** Another descriptor of a file. */
  async channel(file: number, { text }: TransportUri): Promise<TransportChannel> {
    const descriptor = openFile(`/proc/self/fd/${file}`, "r+");
    return {
      descriptor,
      start: 0,
      failure: (cause) => new CprError("ERR_CPR_SCRATCH", "host", "it failed", { cause, details: { uri: text } }),
      close: () => closeFile(descriptor),
    };
  }
}

transportCompliance({ ...memoryFixture(() => new ScratchTransport()), name: "scratch" });

const carrying = (...labels: string[]) => labels.map((label) => `carries ${label}, cut up in any way`);

const broken: Record<string, { readonly transport: new () => MemoryTransport; readonly noticedBy: string[] }> = {
  "ignores the signal": {
    transport: class extends MemoryTransport {
      override openSink(uri: TransportUri) {
        return super.openSink(uri);
      }
    },
    noticedBy: ["refuses to begin when the signal was aborted before"],
  },
  "makes something where it only looks": {
    transport: class extends MemoryTransport {
      async examine({ rest }: TransportUri) {
        this.streams.set(rest, new Uint8Array(1));
        return {};
      }
    },
    noticedBy: ["examines a place, if it can, without making anything there"],
  },
  "says that less than nothing is free": {
    transport: class extends MemoryTransport {
      async examine() {
        return { free: -1 };
      }
    },
    noticedBy: ["examines a place, if it can, without making anything there"],
  },
  "keeps the caller's buffer": {
    transport: withSink((sink) => {
      const kept: Uint8Array[] = [];
      return {
        write: async (bytes) => {
          kept.push(bytes);
        },
        commit: async () => {
          for (const bytes of kept) await sink.write(bytes);
          await sink.commit();
        },
      };
    }),
    noticedBy: [
      "has taken the bytes when a write is done, so the buffer may be used again",
      "can be given up twice, and after a failure",
    ],
  },
  "writes in place": {
    transport: withSink((sink, { streams }, { rest }) => ({
      write: async (bytes) => {
        await sink.write(bytes);
        streams.set(rest, bytes.slice());
      },
    })),
    noticedBy: [
      "shows nothing before it is committed",
      "leaves what was there before alone until it is committed, and if it is given up",
    ],
  },
  "removes what was there when it opens": {
    transport: withSink((_sink, { streams }, { rest }) => {
      streams.delete(rest);
      return {};
    }),
    noticedBy: ["leaves what was there before alone until it is committed, and if it is given up"],
  },
  "commits when it is given up": {
    transport: withSink((sink) => ({ abort: () => sink.commit().catch(() => undefined) })),
    noticedBy: [
      "leaves nothing behind when the signal is aborted while a sink is being opened",
      "shows nothing before it is committed",
      "leaves what was there before alone until it is committed, and if it is given up",
    ],
  },
  "cannot be given up twice": {
    transport: withSink((sink) => {
      let given = false;
      return {
        abort: async () => {
          if (given) throw new TypeError("already given up");
          given = true;
          await sink.abort();
        },
      };
    }),
    noticedBy: ["can be given up twice, and after a failure"],
  },
  "drops the last byte": {
    transport: class extends MemoryTransport {
      override async openSource(uri: TransportUri, options?: Abortable) {
        const bytes = this.streams.get(uri.rest);
        if (bytes !== undefined && bytes.length > 0) this.streams.set(uri.rest, bytes.subarray(0, -1));
        return super.openSource(uri, options);
      }
    },
    noticedBy: [
      ...carrying("one byte", "a page", "several mebibytes"),
      "has taken the bytes when a write is done, so the buffer may be used again",
      "fills the buffer of each read, except at the end",
      "leaves what was there before alone until it is committed, and if it is given up",
      "replaces a longer stream as a whole",
      "can be read twice at the same time, and again later",
      "leaves zeros between positions, and reads at any of them",
      "appends after what was appended, wherever else was written",
    ],
  },
  "returns short reads": {
    transport: class extends MemoryTransport {
      override async openSource(uri: TransportUri, options?: Abortable) {
        const source = await super.openSource(uri, options);
        const { read } = source;
        source.read = (buffer) => read.call(source, buffer.length > 9999 ? buffer.subarray(0, -1) : buffer);
        return source;
      }
    },
    noticedBy: [
      ...carrying("several mebibytes"),
      "has taken the bytes when a write is done, so the buffer may be used again",
      "fills the buffer of each read, except at the end",
      "can be read twice at the same time, and again later",
      "leaves zeros between positions, and reads at any of them",
    ],
  },
  "throws plain errors": {
    transport: class extends MemoryTransport {
      override openSource(uri: TransportUri, options?: Abortable) {
        return super.openSource(uri, options).catch((error) => {
          throw error.name === "AbortError" ? error : new Error("no such stream");
        });
      }
    },
    noticedBy: [
      "tells the URI when there is none that could work",
      "refuses a URI with nothing after the colon, and tells it",
      "refuses to read where there is nothing, and tells the URI",
    ],
  },
  "promises positions that its sinks do not have": {
    transport: withSink(() => ({ writeAt: undefined as never })),
    noticedBy: [
      "has positions as it states",
      "leaves zeros between positions, and reads at any of them",
      "appends after what was appended, wherever else was written",
    ],
  },
  "moves the position of write with writeAt": {
    transport: withSink((sink) => {
      let position = 0;
      const writeAt = async (at: number, bytes: Uint8Array) => {
        await sink.writeAt?.(at, bytes);
        position = at + bytes.length;
      };
      return { writeAt, write: (bytes) => writeAt(position, bytes) };
    }),
    noticedBy: ["appends after what was appended, wherever else was written"],
  },
};

const channelCase = "carries what is written through channels, and shows it to channels";

const brokenChannels: Record<string, { readonly transport: new () => MemoryTransport; readonly noticedBy: string[] }> =
  {
    "promises channels that it does not have": {
      transport: class extends MemoryTransport {
        override readonly supports = new ScratchTransport().supports;
      },
      noticedBy: [
        "has channels as it states",
        channelCase,
        "gives channels that bypass the page cache, or says why not and tells the URI",
        "has an error of its own for what fails in a channel",
      ],
    },
    "tells a wrong start of the stream": {
      transport: class extends ScratchTransport {
        override async channel(file: number, uri: TransportUri) {
          return { ...(await super.channel(file, uri)), start: 4096 };
        }
      },
      noticedBy: [channelCase],
    },
    "has channels to another file": {
      transport: class extends ScratchTransport {
        override async channel(_file: number, uri: TransportUri) {
          return super.channel(scratchFile(), uri);
        }
      },
      noticedBy: [channelCase],
    },
    "hands on the system's error": {
      transport: class extends ScratchTransport {
        override async channel(file: number, uri: TransportUri) {
          return { ...(await super.channel(file, uri)), failure: (cause: Error) => cause as CprError };
        }
      },
      noticedBy: ["has an error of its own for what fails in a channel"],
    },
  };

describe("the transport suite", () => {
  test.each(Object.entries(brokenChannels))(
    "notices a transport that %s",
    async (_label, { transport: Broken, noticedBy }) => {
      expect(await failingCases(transportCases(memoryFixture(() => new Broken())))).toEqual(noticedBy);
    },
  );

  test.each(Object.entries(broken))("notices a transport that %s", async (_label, { transport: Broken, noticedBy }) => {
    expect(await failingCases(transportCases(memoryFixture(() => new Broken())))).toEqual(noticedBy);
  });

  test("notices a stream that takes everything although nobody reads", async () => {
    class Greedy extends PipeTransport {
      override async openSink(uri: TransportUri, options?: Abortable) {
        const sink = await super.openSink(uri, options);
        let last = Promise.resolve();
        return {
          ...sink,
          write: async (bytes: Uint8Array) => {
            const copy = bytes.slice();
            last = last.then(() => sink.write(copy));
            last.catch(() => undefined);
          },
          commit: () => last.then(() => sink.commit()),
        };
      }
    }
    expect(await failingCases(transportCases(pipeFixture(() => new Greedy())))).toContain(
      "makes the sender wait for a receiver that does not read",
    );
  });

  test("notices a wait that cannot be aborted", async () => {
    class Deaf extends PipeTransport {
      override openSource(uri: TransportUri) {
        return super.openSource(uri);
      }
    }
    const usual = patience.milliseconds;
    patience.milliseconds = 2000;
    const failing = await failingCases(transportCases(pipeFixture(() => new Deaf())));
    patience.milliseconds = usual;
    expect(failing).toEqual([
      "refuses to begin when the signal was aborted before",
      "ends a wait for the other side when the signal is aborted",
    ]);
  });
});
