/**
 * The compliance suite of the `NetworkBackend` contract.
 *
 * @example
 * ```ts
 * networkBackendCompliance({
 *   name: "stream over a Unix socket",
 *   create: () => new StreamBackend(),
 *   place: () => switchInTheTest(),
 * });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import {
  isCprError,
  type NetworkBackend,
  type NetworkCard,
  type NetworkLink,
  type NetworkOptions,
  networkHeaderSize,
} from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { equalBytes, eventually, pseudoRandomBytes, rejectsWithCprError, within } from "./expectations.ts";
import { registerCases } from "./register-cases.ts";

/** A network that no other case uses, with its other end in the test's hand. */
export interface NetworkPlace {
  readonly options: NetworkOptions;
  /** Frames that have come out at the other end: those of the suite alone, without what others send there. */
  readonly received: readonly Uint8Array[];
  /** Sends a frame in at the other end; called when the link is up. */
  send(frame: Uint8Array): Promise<void>;
  /** Fulfilled when frames get through, after the link was started. Undefined: at once. */
  ready?(): Promise<void>;
  /** The other end takes frames in, or does not for a while. Undefined: it always does, or loses what it does not. */
  take?(on: boolean): void;
  close(): Promise<void>;
}

/** A network backend to be tested. */
export interface NetworkBackendFixture {
  readonly name: string;
  /** Called for each case. */
  create(): NetworkBackend;
  place(): Promise<NetworkPlace>;
}

/** The Ethernet type of experiments (IEEE 802, 88-B5), so that nobody else feels meant. */
export const experimentalEthernetType = 0x88b5;

const addressesSize = 12;
const smallestFrame = 60;
const ordinaryFrame = 1514;

/** A frame of the suite: to everybody, from an address that is administered locally, with bytes that tell it from others. */
function makeFrame(length: number, seed: number): Uint8Array {
  const frame = pseudoRandomBytes(length, seed + 1);
  frame.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1], 0);
  frame.set([experimentalEthernetType >> 8, experimentalEthernetType & 0xff], addressesSize);
  return frame;
}

/** A card that keeps what comes. */
class RecordingCard implements NetworkCard {
  readonly frames: Uint8Array[] = [];
  room = Number.POSITIVE_INFINITY;
  refused = 0;
  sendableCalls = 0;
  readonly #headerSize: number;

  constructor(headerSize: number) {
    this.#headerSize = headerSize;
  }

  receive(frame: Uint8Array): boolean {
    // The host's kernel may have something to say as well.
    const type = new DataView(frame.buffer, frame.byteOffset).getUint16(this.#headerSize + addressesSize);
    if (type !== experimentalEthernetType) return true;
    if (this.frames.length >= this.room) {
      this.refused += 1;
      return false;
    }
    this.frames.push(Uint8Array.from(frame.subarray(this.#headerSize)));
    return true;
  }

  sendable(): void {
    this.sendableCalls += 1;
  }

  linkChanged(): void {
    // Cases look at `up`.
  }
}

interface Specimen {
  readonly place: NetworkPlace;
  readonly link: NetworkLink;
  readonly card: RecordingCard;
  /** Sends a frame with the header that the network has, in parts that are cut at odd places. */
  send(frame: Uint8Array): boolean;
}

/** The cases for one backend, as data. */
export function networkBackendCases(fixture: NetworkBackendFixture): readonly ComplianceCase[] {
  const open = async (place: NetworkPlace, incoming = false): Promise<Specimen> => {
    const link = await fixture.create().open(place.options, { incoming });
    const headerSize = link.supports.offloads ? networkHeaderSize : 0;
    const card = new RecordingCard(headerSize);
    link.attach(card);
    return {
      place,
      link,
      card,
      send: (frame) => {
        const whole = Buffer.concat([new Uint8Array(headerSize), frame]);
        return link.send([whole.subarray(0, 5), whole.subarray(5, 5), whole.subarray(5, 13), whole.subarray(13)]);
      },
    };
  };
  /** Runs a case with a link that is closed afterwards. */
  const opened = (body: (specimen: Specimen) => Promise<void>) => async () => {
    const place = await fixture.place();
    try {
      const specimen = await open(place);
      try {
        await body(specimen);
      } finally {
        specimen.link.close();
      }
    } finally {
      await place.close();
    }
  };
  /** The same with one that is started, and up. */
  const started = (body: (specimen: Specimen) => Promise<void>) =>
    opened(async (specimen) => {
      await start(specimen);
      await body(specimen);
    });

  return new CaseList()
    .add("says the same about itself every time", () => {
      const backend = fixture.create();
      assert.match(backend.name, /^[a-z][a-z0-9-]*$/);
      assert.equal(fixture.create().name, backend.name);
      assert.deepEqual(fixture.create().supports, backend.supports);
    })
    .add(
      "opens networks that support no more than it says",
      opened(async ({ link }) => {
        const { supports } = fixture.create();
        assert.ok(supports.offloads || !link.supports.offloads, "supports.offloads");
        assert.ok(supports.survivesProcessExit || !link.supports.survivesProcessExit, "supports.survivesProcessExit");
        assert.ok(link.setOffloads !== undefined || !link.supports.offloads, "nobody can say what the guest takes");
      }),
    )
    .add("refuses a property that it does not know, by its name", async () => {
      const place = await fixture.place();
      try {
        const properties = { ...place.options.properties, "no-such-property": "1" };
        const opening = fixture.create().open({ ...place.options, properties }, { incoming: false });
        const error = await rejectsWithCprError(opening, "ERR_CPR_NETWORK_PROPERTY");
        assert.match(error.message, /no-such-property/);
      } finally {
        await place.close();
      }
    })
    .add(
      "carries frames of every size from the guest, whole and in order",
      started(async (specimen) => {
        const frames = frameSizes.map((length, index) => makeFrame(length, index));
        for (const frame of frames) await sendWhole(specimen, frame);
        await expectFrames(specimen.place.received, frames, "at the other end");
      }),
    )
    .add(
      "carries frames of every size to the guest, whole and in order",
      started(async ({ place, card }) => {
        const frames = frameSizes.map((length, index) => makeFrame(length, index));
        for (const frame of frames) await place.send(frame);
        await expectFrames(card.frames, frames, "at the card");
      }),
    )
    .add(
      "carries many frames at once, both ways",
      started(async (specimen) => {
        const { place, card } = specimen;
        const frames = Array.from({ length: 200 }, (_, index) => makeFrame(smallestFrame + index, index));
        for (const frame of frames) {
          await Promise.all([place.send(frame), sendWhole(specimen, frame)]);
        }
        await expectFrames(card.frames, frames, "at the card");
        await expectFrames(place.received, frames, "at the other end");
      }),
    )
    .add(
      "keeps a frame that the card has no room for, and those behind it",
      started(async ({ place, link, card }) => {
        const frames = Array.from({ length: 20 }, (_, index) => makeFrame(ordinaryFrame, index));
        card.room = 3;
        for (const frame of frames) await place.send(frame);
        await eventually(() => card.refused > 0, "the refusal of a frame");
        card.room = 4;
        link.receive();
        await eventually(() => card.refused > 1, "another refusal");
        assert.equal(card.frames.length, 4);
        card.room = Number.POSITIVE_INFINITY;
        link.receive();
        await expectFrames(card.frames, frames, "at the card");
      }),
    )
    .add(
      "calls no card while it is stopped, and carries frames again when it is started again",
      started(async (specimen) => {
        const { place, link, card } = specimen;
        await place.send(makeFrame(smallestFrame, 1));
        await eventually(() => card.frames.length === 1, "the frame before");
        link.stop();
        assert.equal(specimen.send(makeFrame(smallestFrame, 2)), true, "a frame waits that nobody will take");
        card.frames.length = 0;
        await start(specimen);
        const [there, back] = [makeFrame(ordinaryFrame, 3), makeFrame(ordinaryFrame, 4)];
        await sendWhole(specimen, there);
        await eventually(() => isAmong(place.received, there), "the frame to the other end");
        await place.send(back);
        await eventually(() => isAmong(card.frames, back), "the frame to the card");
      }),
    )
    .add(
      "loses what is no frame, without harm",
      started(async (specimen) => {
        const { link, place } = specimen;
        for (const length of [0, 1, 11, 13]) {
          assert.equal(typeof link.send([new Uint8Array(length)]), "boolean");
        }
        assert.equal(typeof link.send([]), "boolean");
        const frame = makeFrame(smallestFrame, 1);
        await sendWhole(specimen, frame);
        await eventually(() => isAmong(place.received, frame), "the frame behind");
      }),
    )
    .add("can be open twice, and goes from one who has it to one who waits", async () => {
      const place = await fixture.place();
      try {
        const first = await open(place);
        await start(first);
        const second = await open(place, true);
        try {
          // Some can be had by two. Who says no must say why, and change its mind.
          await second.link.start().then(
            () => second.link.stop(),
            (error: unknown) => assert.ok(isCprError(error), `start() threw ${String(error)}`),
          );
          first.link.stop();
          if (!second.link.supports.survivesProcessExit) first.link.close();
          await start(second);
          const frame = makeFrame(ordinaryFrame, 1);
          await sendWhole(second, frame);
          await eventually(() => isAmong(place.received, frame), "the frame from the second");
        } finally {
          first.link.close();
          second.link.close();
        }
      } finally {
        await place.close();
      }
    })
    .add("can be closed however it is, and calls no card then", async () => {
      const place = await fixture.place();
      try {
        const closed = await open(place);
        closed.link.close();
        const stopped = await open(place);
        await start(stopped);
        stopped.link.stop();
        stopped.link.close();
        const specimen = await open(place);
        await start(specimen);
        specimen.link.close();
        specimen.link.receive();
        assert.equal(specimen.send(makeFrame(smallestFrame, 1)), true);
        assert.equal(specimen.card.frames.length, 0);
      } finally {
        await place.close();
      }
    })
    .add("takes no more than the other end does, loses nothing that it took, and says when it takes more", async () => {
      const place = await fixture.place();
      try {
        if (place.take === undefined) return;
        const specimen = await open(place);
        try {
          await start(specimen);
          place.take(false);
          const frames: Uint8Array[] = [];
          for (let index = 0; ; index += 1) {
            const frame = makeFrame(ordinaryFrame, index);
            if (!specimen.send(frame)) break;
            frames.push(frame);
            assert.ok(index < 100_000, "frames are taken without end");
          }
          assert.equal(specimen.send(makeFrame(ordinaryFrame, 0)), false, "a frame overtakes others");
          place.take(true);
          await eventually(() => specimen.card.sendableCalls > 0, "the call of sendable()");
          await expectFrames(place.received, frames, "at the other end");
        } finally {
          specimen.link.close();
        }
      } finally {
        await place.close();
      }
    }).cases;
}

const frameSizes = [smallestFrame, 61, 64, 590, 1024, 1499, 1500, ordinaryFrame];

async function start({ link, place }: Specimen): Promise<void> {
  await within(link.start(), "the start of the link");
  await eventually(() => link.up, "somebody at the other end");
  await place.ready?.();
}

/** Sends a frame, again and again while it is refused. */
async function sendWhole(specimen: Specimen, frame: Uint8Array): Promise<void> {
  for (let calls = specimen.card.sendableCalls; !specimen.send(frame); calls = specimen.card.sendableCalls) {
    const before = calls;
    await eventually(() => specimen.card.sendableCalls > before, "the call of sendable()");
  }
}

const isAmong = (frames: readonly Uint8Array[], frame: Uint8Array): boolean =>
  frames.some((each) => Buffer.compare(each, frame) === 0);

async function expectFrames(
  actual: readonly Uint8Array[],
  expected: readonly Uint8Array[],
  where: string,
): Promise<void> {
  await eventually(() => actual.length >= expected.length, `${expected.length} frames ${where}`);
  assert.equal(actual.length, expected.length, `frames ${where}`);
  for (const [index, frame] of expected.entries()) {
    equalBytes(actual[index] as Uint8Array, frame, `frame ${index} ${where}`);
  }
}

/** Registers the suite of the `NetworkBackend` contract. */
export function networkBackendCompliance(fixture: NetworkBackendFixture): void {
  registerCases(`network backend ${fixture.name}`, networkBackendCases(fixture));
}
