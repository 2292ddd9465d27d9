import { describe, expect, it } from "vitest";
import { qmpFixture } from "./qmp-conversation.ts";

/** The same numbers in every run (xorshift). */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

const pieces = [
  ...[
    '{"execute":"',
    "stop",
    '"',
    "}",
    "{",
    "[",
    "]",
    ",",
    ":",
    "'",
    "\\",
    "\\u12",
    '"id":',
    "1e999",
    "-",
    "null",
    " ",
  ],
  ...[
    '"arguments":{"channels":[{"channel-type":"main","addr":{"transport":"exec","args":["a"]}}]}',
    "\n",
    "%",
    "\u00e9",
  ],
  ...['{"execute":"migrate","arguments":{"uri":{}}}', '{"__proto__":{"execute":"stop"}}', '{"execute":"__proto__"}'],
  ...['{"execute":"query-status","arguments":{"constructor":1}}', '{"execute":"human-monitor-command","arguments":'],
];

describe("a client that sends anything", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])("is answered and can go on (seed %i)", async (seed) => {
    const random = randomNumbers(seed);
    const { client } = await qmpFixture();
    const one = client();
    await one.negotiate();
    for (let round = 0; round < 50; round += 1) {
      for (let count = random(30); count >= 0; count -= 1) {
        const kind = random(10);
        if (kind === 0) one.send(Buffer.from(Array.from({ length: random(20) }, () => random(256))));
        else one.send(pieces[random(pieces.length)] as string);
      }
      // A byte that can be in no message, as QEMU's clients send it, and a line feed.
      one.send(Uint8Array.of(0xff, 0x0a));
      one.send(`{"execute":"query-name","id":"round ${round}"}`);
      for (let answer = await one.next(); ; answer = await one.next()) {
        expect(answer).toBeDefined();
        if (answer?.["id"] === `round ${round}`) {
          expect(answer).toMatchObject({ return: { name: "fake" } });
          break;
        }
        // Whatever it was, it is told of in QEMU's form, or was a command.
        expect("return" in (answer as object) || "desc" in (answer as { error: object }).error).toBe(true);
      }
    }
  });
});
