/**
 * The compliance suite of the `Transport` contract.
 *
 * @example
 * ```ts
 * transportCompliance({
 *   name: "file",
 *   create: () => new FileTransport(),
 *   place: async () => {
 *     const folder = await mkdtemp(join(tmpdir(), "transport-file-"));
 *     const path = join(folder, "vm.state");
 *     return {
 *       outgoing: `file:${path}`,
 *       incoming: `file:${path}`,
 *       contents: () => readFile(path).catch(() => undefined),
 *       close: () => rm(folder, { recursive: true }),
 *     };
 *   },
 *   unusable: { outgoing: "file:/nowhere/vm.state", incoming: "file:/nowhere/vm.state" },
 * });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import { readSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import {
  type Abortable,
  isCprError,
  type Transport,
  type TransportChannel,
  type TransportSink,
  type TransportSource,
  type TransportSupports,
} from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { equalBytes, pseudoRandomBytes, rejectsWithAbortError, rejectsWithCprError, within } from "./expectations.ts";
import { transportUri } from "./fakes/transport-uri.ts";
import { registerCases } from "./register-cases.ts";

/** Somewhere to send a stream to, that no other case uses. */
export interface TransportPlace {
  /** The URI that sends there. */
  readonly outgoing: string;
  /** The URI that receives what {@link outgoing} sent. */
  readonly incoming: string;
  /**
   * What a third party finds there, or undefined if there is nothing: looked up without the transport. Needed of a
   * transport that stores; for a command, the fixture chooses a command that keeps the promise of `abort`.
   */
  contents?(): Promise<Uint8Array | undefined>;
  /** Removes all that a case left there. */
  close(): Promise<void>;
}

/** A transport to be tested, and where it may send to. */
export interface TransportFixture {
  readonly name: string;
  /** Called for each case. */
  create(): Transport;
  place(): Promise<TransportPlace>;
  /** Well-formed URIs that cannot work: a folder that is missing, a port where nobody listens, a command that fails. */
  readonly unusable: { readonly outgoing: string; readonly incoming: string };
}

const mebibyte = 1 << 20;

/** The cases for one transport, as data. */
export function transportCases(fixture: TransportFixture): readonly ComplianceCase[] {
  const { supports, scheme } = fixture.create();
  const list = new CaseList();

  /** Runs a case in a place of its own. */
  const inPlace = (body: (place: TransportPlace, transport: Transport) => Promise<void>) => async () => {
    const place = await fixture.place();
    try {
      await body(place, fixture.create());
    } finally {
      await place.close();
    }
  };

  list
    .add("says the same about what it supports every time", () => {
      const other = fixture.create();
      assert.deepEqual(other.supports, supports);
      assert.equal(other.scheme, scheme);
      assert.match(scheme, /^[a-z][a-z0-9+.-]*$/);
      for (const name of ["stores", "seekable", "parallel", "passesDescriptors"] as const) {
        assert.equal(typeof supports[name], "boolean", `supports.${name}`);
      }
      assert.ok(supports.seekable || !supports.parallel, "what is parallel is seekable");
    })
    .add("gives a fixture its own scheme", async () => {
      const place = await fixture.place();
      await place.close();
      for (const uri of [place.outgoing, place.incoming, fixture.unusable.outgoing, fixture.unusable.incoming]) {
        assert.equal(transportUri(uri).scheme, scheme);
      }
      assert.ok(!supports.stores || place.contents !== undefined, "a transport that stores needs contents()");
    });

  for (const [label, length] of [
    ["no byte", 0],
    ["one byte", 1],
    ["a page", 4096],
    ["several mebibytes", 3 * mebibyte + 17],
  ] as const) {
    list.add(
      `carries ${label}, cut up in any way`,
      inPlace(async (place, transport) => {
        const bytes = pseudoRandomBytes(length);
        equalBytes(await transfer(transport, place, (sink) => writeInPieces(sink, bytes)), bytes, "what arrived");
      }),
    );
  }

  list
    .add(
      "has taken the bytes when a write is done, so the buffer may be used again",
      inPlace(async (place, transport) => {
        const received = await transfer(transport, place, async (sink) => {
          const buffer = new Uint8Array(100_000);
          for (let round = 0; round < 20; round++) {
            buffer.fill(round);
            await sink.write(buffer);
          }
          buffer.fill(0xff);
        });
        assert.equal(received.length, 2_000_000);
        for (let round = 0; round < 20; round++) {
          const part = received.subarray(round * 100_000, (round + 1) * 100_000);
          assert.ok(
            part.every((byte) => byte === round),
            `write ${round} arrived changed`,
          );
        }
      }),
    )
    .add(
      "fills the buffer of each read, except at the end",
      inPlace(async (place, transport) => {
        const bytes = pseudoRandomBytes(300_007);
        const counts: number[] = [];
        const received = await transfer(
          transport,
          place,
          (sink) => writeInPieces(sink, bytes),
          async (source) => {
            const pieces: Uint8Array[] = [];
            for (let count = 10_000; count === 10_000; ) {
              const buffer = new Uint8Array(10_000);
              count = await source.read(buffer);
              counts.push(count);
              pieces.push(buffer.subarray(0, count));
            }
            assert.equal(await source.read(new Uint8Array(1)), 0, "there is something after the end");
            return Buffer.concat(pieces);
          },
        );
        equalBytes(received, bytes, "what arrived");
        assert.deepEqual(counts, [...new Array<number>(30).fill(10_000), 7]);
      }),
    )
    .add(
      "refuses to begin when the signal was aborted before",
      inPlace(async (place, transport) => {
        const signal = AbortSignal.abort();
        await rejectsWithAbortError(transport.openSink(transportUri(place.outgoing), { signal }));
        await rejectsWithAbortError(transport.openSource(transportUri(place.incoming), { signal }));
        assert.ok((await place.contents?.()) === undefined, "something was left behind");
      }),
    )
    .add(
      "leaves nothing behind when the signal is aborted while a sink is being opened",
      inPlace(async (place, transport) => {
        const controller = new AbortController();
        const opening = transport.openSink(transportUri(place.outgoing), { signal: controller.signal });
        controller.abort();
        const sink = await within(
          opening.catch((error: unknown) => {
            assert.ok(
              (error as Error).name === "AbortError" || isCprError(error),
              `expected an AbortError or CprError, got ${String(error)}`,
            );
            return undefined;
          }),
          "the end of openSink()",
        );
        await sink?.abort();
        assert.ok((await place.contents?.()) === undefined, "something was left behind");
      }),
    )
    .add("tells the URI when there is none that could work", async () => {
      const transport = fixture.create();
      const out = await rejectsWithCprError(sendSomething(transport, fixture.unusable.outgoing));
      assert.equal(out.details.uri, fixture.unusable.outgoing);
      const incoming = await rejectsWithCprError(receiveAll(transport, fixture.unusable.incoming));
      assert.equal(incoming.details.uri, fixture.unusable.incoming);
    })
    .add(
      "examines a place, if it can, without making anything there",
      inPlace(async (place, transport) => {
        const { free } = (await transport.examine?.(transportUri(place.outgoing))) ?? {};
        assert.ok(free === undefined || (Number.isSafeInteger(free) && free >= 0), `${free} bytes are free`);
        assert.equal(await place.contents?.(), undefined);
        // Whether a place can be used is told when it is opened, at the latest.
        const { problem } = (await transport.examine?.(transportUri(fixture.unusable.outgoing))) ?? {};
        assert.ok(problem === undefined || isCprError(problem), "the problem is no CprError");
      }),
    )
    .add("takes a stream to nowhere, if it has such a place, any number of times", async () => {
      const transport = fixture.create();
      for (let time = 0; transport.nowhere !== undefined && time < 2; time += 1) {
        assert.equal(transportUri(transport.nowhere).scheme, scheme);
        await sendSomething(transport, transport.nowhere);
      }
    })
    .add("refuses a URI with nothing after the colon, and tells it", async () => {
      const transport = fixture.create();
      const uri = `${scheme}:`;
      const out = await rejectsWithCprError(transport.openSink(transportUri(uri)));
      assert.equal(out.details.uri, uri);
      const incoming = await rejectsWithCprError(transport.openSource(transportUri(uri)));
      assert.equal(incoming.details.uri, uri);
    })
    .add(
      "can be given up twice, and after a failure",
      inPlace(async (place, transport) => {
        await transferUntilAborted(transport, place, async (sink) => {
          await sink.write(pseudoRandomBytes(5000));
          await sink.abort();
          await sink.write(new Uint8Array(10)).then(
            () => assert.fail("a sink that was given up takes bytes"),
            (error: unknown) => assert.ok(!(error instanceof assert.AssertionError), error as Error),
          );
          await within(sink.abort(), "the end of the second abort()");
        });
      }),
    );

  if (supports.stores) {
    addStoringCases(list, inPlace);
  } else {
    addStreamingCases(list, inPlace);
  }

  list.add(
    `has positions ${supports.seekable ? "as it states" : "in neither sinks nor sources, as it states"}`,
    inPlace(async (place, transport) => {
      await transfer(
        transport,
        place,
        async (sink) => {
          assert.equal(sink.writeAt !== undefined, supports.seekable, "writeAt");
        },
        async (source) => {
          assert.equal(source.readAt !== undefined, supports.seekable, "readAt");
          return readToEnd(source);
        },
      );
    }),
  );
  list.addIf(
    supports.seekable,
    "leaves zeros between positions, and reads at any of them",
    inPlace(async (place, transport) => {
      const head = pseudoRandomBytes(1000, 1);
      const tail = pseudoRandomBytes(5000, 2);
      const position = mebibyte + 4096;
      const whole = new Uint8Array(position + tail.length);
      whole.set(head);
      whole.set(tail, position);
      await transfer(
        transport,
        place,
        async (sink) => {
          await sink.write(head);
          await sink.writeAt?.(position, tail);
        },
        async (source) => {
          const buffer = new Uint8Array(tail.length);
          assert.equal(await source.readAt?.(position, buffer), tail.length);
          equalBytes(buffer, tail, "what lies beyond the hole");
          assert.equal(await source.readAt?.(position + tail.length, buffer), 0, "there is something after the end");
          assert.equal(await source.readAt?.(position + 1, buffer), tail.length - 1, "a read across the end");
          const all = await readToEnd(source);
          equalBytes(all, whole, "the whole");
          return all;
        },
      );
    }),
  );
  list.addIf(
    supports.seekable,
    "appends after what was appended, wherever else was written",
    inPlace(async (place, transport) => {
      const received = await transfer(transport, place, async (sink) => {
        await sink.write(Uint8Array.of(1, 2));
        await sink.writeAt?.(4, Uint8Array.of(5, 6));
        await sink.write(Uint8Array.of(3, 4));
      });
      assert.deepEqual([...received], [1, 2, 3, 4, 5, 6]);
    }),
  );
  addChannelCases(list, inPlace, supports);
  return list.cases;
}

type InPlace = (body: (place: TransportPlace, transport: Transport) => Promise<void>) => () => Promise<void>;

/** Cases of a transport whose streams come to rest. */
function addStoringCases(list: CaseList, inPlace: InPlace): void {
  const contents = async (place: TransportPlace) => {
    assert.ok(place.contents !== undefined, "a transport that stores needs contents()");
    return place.contents();
  };
  const store = (transport: Transport, place: TransportPlace, bytes: Uint8Array) =>
    transfer(transport, place, (sink) => sink.write(bytes));

  list
    .add(
      "shows what was sent once it is committed",
      inPlace(async (place, transport) => {
        const bytes = pseudoRandomBytes(70_000);
        const sink = await transport.openSink(transportUri(place.outgoing));
        await writeInPieces(sink, bytes);
        await sink.commit();
        equalBytes((await contents(place)) ?? new Uint8Array(), bytes, "what is there");
      }),
    )
    .add(
      "shows nothing before it is committed",
      inPlace(async (place, transport) => {
        const sink = await transport.openSink(transportUri(place.outgoing));
        assert.ok((await contents(place)) === undefined, "something is there when nothing was written");
        await sink.write(pseudoRandomBytes(2 * mebibyte));
        assert.ok((await contents(place)) === undefined, "something is there before the commit");
        await sink.abort();
        assert.ok((await contents(place)) === undefined, "something is there although it was given up");
      }),
    )
    .add(
      "leaves what was there before alone until it is committed, and if it is given up",
      inPlace(async (place, transport) => {
        const before = pseudoRandomBytes(5000, 7);
        await store(transport, place, before);
        const sink = await transport.openSink(transportUri(place.outgoing));
        equalBytes((await contents(place)) ?? new Uint8Array(), before, "what was there, after opening");
        await sink.write(pseudoRandomBytes(mebibyte, 8));
        equalBytes((await contents(place)) ?? new Uint8Array(), before, "what was there, after writing");
        await sink.abort();
        equalBytes((await contents(place)) ?? new Uint8Array(), before, "what was there, after giving up");
      }),
    )
    .add(
      "replaces a longer stream as a whole",
      inPlace(async (place, transport) => {
        await store(transport, place, pseudoRandomBytes(50_000, 3));
        const bytes = pseudoRandomBytes(1000, 4);
        equalBytes(await store(transport, place, bytes), bytes, "what arrived");
        equalBytes((await contents(place)) ?? new Uint8Array(), bytes, "what is there");
      }),
    )
    .add(
      "can be read twice at the same time, and again later",
      inPlace(async (place, transport) => {
        const bytes = pseudoRandomBytes(200_000, 5);
        await store(transport, place, bytes);
        const sources = [
          await transport.openSource(transportUri(place.incoming)),
          await transport.openSource(transportUri(place.incoming)),
        ];
        const start = new Uint8Array(1000);
        for (const source of sources) {
          assert.equal(await source.read(start), 1000);
        }
        for (const source of sources) {
          equalBytes(await readToEnd(source), bytes.subarray(1000), "the rest");
          await source.close();
        }
        equalBytes(await receiveAll(transport, place.incoming), bytes, "what is there later");
      }),
    )
    .add(
      "refuses to read where there is nothing, and tells the URI",
      inPlace(async (place, transport) => {
        const error = await rejectsWithCprError(receiveAll(transport, place.incoming));
        assert.equal(error.details.uri, place.incoming);
      }),
    );
}

/** Cases of a transport that streams from one live process to another. */
function addStreamingCases(list: CaseList, inPlace: InPlace): void {
  list
    .add(
      "ends a wait for the other side when the signal is aborted",
      inPlace(async (place, transport) => {
        const controller = new AbortController();
        const opening = transport.openSource(transportUri(place.incoming), { signal: controller.signal });
        // What is connected from the start is opened at once, and waits when it reads.
        const reading = opening.then((source) => source.read(new Uint8Array(1)));
        await delay(20);
        controller.abort();
        await rejectsWithAbortError(reading);
      }),
    )
    .add(
      "lets the receiver see the end or an error when the sender gives up, and not hang",
      inPlace(async (place, transport) => {
        const bytes = pseudoRandomBytes(10_000);
        const [source, sink] = await connect(transport, place);
        await sink.write(bytes);
        await sink.abort();
        try {
          const received = await within(readToEnd(source), "the end of what was sent");
          assert.ok(received.length <= bytes.length, "more arrived than was sent");
        } catch (error) {
          assert.ok(isCprError(error), `expected the end or a CprError, got ${String(error)}`);
        }
        await source.close().catch((error: unknown) => assert.ok(isCprError(error), String(error)));
      }),
    )
    .add(
      "makes the sender wait for a receiver that does not read",
      inPlace(async (place, transport) => {
        const [source, sink] = await connect(transport, place);
        const chunk = pseudoRandomBytes(mebibyte);
        let written = 0;
        const rounds = 64;
        const writing = (async () => {
          for (; written < rounds; written++) {
            await sink.write(chunk);
          }
          await sink.commit();
        })();
        await delay(200);
        assert.ok(written < rounds, "64 MiB were taken although nobody read");
        const received = await within(readToEnd(source), "the end of what was sent", 60_000);
        await writing;
        await source.close();
        assert.equal(received.length, rounds * mebibyte);
        for (let round = 0; round < rounds; round++) {
          equalBytes(received.subarray(round * mebibyte, (round + 1) * mebibyte), chunk, `piece ${round}`);
        }
      }),
    );
}

/** Cases of a transport whose streams are read and written by several threads at once. */
function addChannelCases(list: CaseList, inPlace: InPlace, { parallel }: TransportSupports): void {
  const open = async (end: TransportSink | TransportSource, direct = false): Promise<TransportChannel> => {
    assert.ok(end.openChannel !== undefined, "openChannel");
    return end.openChannel({ direct });
  };

  list.add(
    `has channels ${parallel ? "as it states" : "in neither sinks nor sources, as it states"}`,
    inPlace(async (place, transport) => {
      await transfer(
        transport,
        place,
        async (sink) => {
          assert.equal(sink.openChannel !== undefined, parallel, "openChannel of a sink");
        },
        async (source) => {
          assert.equal(source.openChannel !== undefined, parallel, "openChannel of a source");
          return readToEnd(source);
        },
      );
    }),
  );
  list.addIf(
    parallel,
    "carries what is written through channels, and shows it to channels",
    inPlace(async (place, transport) => {
      const head = pseudoRandomBytes(1000, 1);
      const pieces = [pseudoRandomBytes(5000, 2), pseudoRandomBytes(70_000, 3)] as const;
      const positions = [mebibyte + 4096, 3 * mebibyte] as const;
      const whole = new Uint8Array(positions[1] + pieces[1].length);
      whole.set(head);
      whole.set(pieces[0], positions[0]);
      whole.set(pieces[1], positions[1]);
      await transfer(
        transport,
        place,
        async (sink) => {
          const channels = [await open(sink), await open(sink)] as const;
          writeSync(channels[1].descriptor, pieces[1], 0, pieces[1].length, channels[1].start + positions[1]);
          await sink.write(head);
          writeSync(channels[0].descriptor, pieces[0], 0, pieces[0].length, channels[0].start + positions[0]);
          await Promise.all(channels.map((channel) => channel.close()));
        },
        async (source) => {
          const channels = [await open(source), await open(source)] as const;
          for (const [index, { descriptor, start }] of channels.entries()) {
            const buffer = new Uint8Array((pieces[index] as Uint8Array).length);
            const count = readSync(descriptor, buffer, 0, buffer.length, start + (positions[index] as number));
            assert.equal(count, buffer.length, `what channel ${index} read`);
            equalBytes(buffer, pieces[index] as Uint8Array, `what channel ${index} read`);
          }
          await Promise.all(channels.map((channel) => channel.close()));
          const all = await readToEnd(source);
          equalBytes(all, whole, "the whole");
          return all;
        },
      );
    }),
  );
  list.addIf(
    parallel,
    "gives channels that bypass the page cache, or says why not and tells the URI",
    inPlace(async (place, transport) => {
      const tryDirect = async (end: TransportSink | TransportSource, uri: string) => {
        try {
          await (await open(end, true)).close();
        } catch (error) {
          assert.ok(isCprError(error), `expected a CprError, got ${String(error)}`);
          assert.equal(error.details.uri, uri);
        }
      };
      await transfer(
        transport,
        place,
        (sink) => tryDirect(sink, place.outgoing),
        async (source) => {
          await tryDirect(source, place.incoming);
          return readToEnd(source);
        },
      );
    }),
  );
  list.addIf(
    parallel,
    "has an error of its own for what fails in a channel",
    inPlace(async (place, transport) => {
      const cause = Object.assign(new Error("EIO: i/o error, write"), { code: "EIO", errno: -5, syscall: "write" });
      const check = async (end: TransportSink | TransportSource, uri: string) => {
        const channel = await open(end);
        const error = channel.failure(cause);
        await channel.close();
        assert.ok(isCprError(error), `expected a CprError, got ${String(error)}`);
        assert.equal(error.details.uri, uri);
        assert.equal(error.cause, cause);
      };
      await transfer(
        transport,
        place,
        (sink) => check(sink, place.outgoing),
        async (source) => {
          await check(source, place.incoming);
          return readToEnd(source);
        },
      );
    }),
  );
}

/** Registers the suite of the `Transport` contract. */
export function transportCompliance(fixture: TransportFixture): void {
  registerCases(`transport ${fixture.name}`, transportCases(fixture));
}

/** Sends a stream and receives it: one after the other if the transport stores, else both at once. */
async function transfer(
  transport: Transport,
  place: TransportPlace,
  send: (sink: TransportSink) => Promise<void>,
  receive: (source: TransportSource) => Promise<Uint8Array> = readToEnd,
): Promise<Uint8Array> {
  if (transport.supports.stores) {
    const sink = await within(transport.openSink(transportUri(place.outgoing)), "the opening of the sink");
    await send(sink);
    await within(sink.commit(), "the end of commit()");
    const source = await within(transport.openSource(transportUri(place.incoming)), "the opening of the source");
    const received = await within(receive(source), "the end of the stream");
    await within(source.close(), "the end of close()");
    return received;
  }
  const [source, sink] = await connect(transport, place);
  const sending = send(sink).then(() => sink.commit());
  const [received] = await within(Promise.all([receive(source), sending]), "the end of the stream");
  await within(source.close(), "the end of close()");
  return received;
}

/** Lets `send` give its sink up, with a receiver at the other end if the transport needs one. */
async function transferUntilAborted(
  transport: Transport,
  place: TransportPlace,
  send: (sink: TransportSink) => Promise<void>,
): Promise<void> {
  if (transport.supports.stores) {
    await send(await transport.openSink(transportUri(place.outgoing)));
    return;
  }
  const [source, sink] = await connect(transport, place);
  await send(sink);
  await source.close().catch((error: unknown) => assert.ok(isCprError(error), String(error)));
}

/** Opens both ends. The receiver needs a moment until it listens, so the sender tries again. */
async function connect(
  transport: Transport,
  place: TransportPlace,
): Promise<readonly [TransportSource, TransportSink]> {
  const controller = new AbortController();
  const options: Abortable = { signal: controller.signal };
  const opening = transport.openSource(transportUri(place.incoming), options);
  // Whoever awaits it below sees the rejection; this only keeps it from being reported as unhandled meanwhile.
  opening.catch(() => undefined);
  for (let attempt = 1; ; attempt++) {
    try {
      const sink = await transport.openSink(transportUri(place.outgoing));
      return [await within(opening, "the opening of the source"), sink];
    } catch (error) {
      if (attempt === 100 || !isCprError(error)) {
        controller.abort();
        throw error;
      }
      await delay(20);
    }
  }
}

/** Writes in pieces whose sizes differ a lot; the same in every run. */
async function writeInPieces(sink: TransportSink, bytes: Uint8Array): Promise<void> {
  const sizes = pseudoRandomBytes(4096, 99);
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = ((sizes[index % 4096] as number) + 1) ** 2;
    await sink.write(bytes.subarray(at, at + size));
    at += size;
  }
}

async function readToEnd(source: TransportSource): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const buffer = new Uint8Array(65_521);
    const count = await source.read(buffer);
    pieces.push(buffer.subarray(0, count));
    if (count < buffer.length) {
      return Buffer.concat(pieces);
    }
  }
}

async function receiveAll(transport: Transport, uri: string): Promise<Uint8Array> {
  const source = await transport.openSource(transportUri(uri));
  let received: Uint8Array;
  try {
    received = await readToEnd(source);
  } catch (error) {
    await source.close().catch(() => undefined);
    throw error;
  }
  await source.close();
  return received;
}

async function sendSomething(transport: Transport, uri: string): Promise<void> {
  const sink = await transport.openSink(transportUri(uri));
  try {
    await sink.write(pseudoRandomBytes(10_000));
    await sink.commit();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}
