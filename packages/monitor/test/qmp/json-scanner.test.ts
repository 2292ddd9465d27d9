import { describe, expect, it } from "vitest";
import { JsonScanner, type ScannedMessage } from "../../src/qmp/json-scanner.ts";

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

/** Scans a text as a whole and byte by byte, which must be the same. */
function scan(text: string | Buffer): ScannedMessage[] {
  const all = Buffer.from(text);
  const whole = [...new JsonScanner().scan(all)];
  const scanner = new JsonScanner();
  const pieces = [...all].flatMap((byte) => [...scanner.scan(Uint8Array.of(byte))]);
  expect(pieces).toEqual(whole);
  return whole;
}

const texts = (...values: string[]): ScannedMessage[] => values.map((text) => ({ text }));

describe("JsonScanner", () => {
  it("finds values that follow each other, with and without whitespace", () => {
    expect(scan('{"a":1}{"b":[2,{"c":3}]}\r\n \n[4]')).toEqual(texts('{"a":1}', '{"b":[2,{"c":3}]}', "[4]"));
  });

  it("ends numbers and words where something else begins", () => {
    expect(scan('null 12 true{"a":1}"text"\n-1.5e3\n')).toEqual(
      texts("null", "12", "true", '{"a":1}', '"text"', "-1.5e3"),
    );
  });

  it("is not confused by brackets, quotes and escapes in strings", () => {
    expect(scan('{"a":"}]\\"{","b":"\\\\"}[1]')).toEqual(texts('{"a":"}]\\"{","b":"\\\\"}', "[1]"));
  });

  it("takes strings in single quotes, as QEMU does", () => {
    expect(scan(`{'execute': 'it\\'s "so"', "b": "it's"}`)).toEqual(texts(`{"execute": "it's \\"so\\"", "b": "it's"}`));
  });

  it("takes UTF-8 that is cut anywhere, and refuses what is none", () => {
    expect(scan('{"name":"Würfel 🎲"}')).toEqual(texts('{"name":"Würfel 🎲"}'));
    expect(scan(bytes('"\xc3("[1]'))).toEqual([{ error: "invalid UTF-8 sequence in string" }, { text: "[1]" }]);
  });

  it("goes on after brackets that do not match", () => {
    expect(scan('{]\n{"a":1}')).toEqual(texts("{]", '{"a":1}'));
  });

  it.each([
    ["a byte that is in no text", '{\xff{"a":1}', "stray '\\xff'"],
    ["a control character", '{\x01{"a":1}', "stray '\\x1'"],
    ["the former in a string", '{\'bad \xff{"a":1}', "stray '\\xff'"],
    ["a string that goes over the end of its line", '{"id":"\n{"a":1}', "stray '\\xa'"],
    ["interpolation", '%p{"a":1}', "stray '%'"],
    ["other characters, and the rest of their line", 'GET / HTTP/1.1\n{"a":1}', "stray 'G'"],
  ])("tells of %s, as QEMU does, and goes on with the next message", (_, text, error) => {
    expect(scan(bytes(text))).toEqual([{ error }, { text: '{"a":1}' }]);
  });

  it("does not keep a message that never ends", () => {
    const scanner = new JsonScanner();
    const piece = Buffer.alloc(1024 * 1024, "x");
    const found = [...scanner.scan(bytes('"'))];
    for (let count = 0; count < 9; count += 1) found.push(...scanner.scan(piece));
    expect(found).toEqual([{ error: "JSON token size limit exceeded" }]);
    expect([...scanner.scan(bytes('"\n[1]'))]).toEqual(texts("[1]"));
  });

  it("does not nest without end", () => {
    expect(scan(`${"[".repeat(1025)}\n[1]`)).toEqual([{ error: "JSON nesting depth limit exceeded" }, { text: "[1]" }]);
    expect(scan(`${"[".repeat(1024)}${"]".repeat(1024)}`)).toHaveLength(1);
  });
});
