/** One message of a client, or why what it sent is none. */
export type ScannedMessage = { readonly text: string } | { readonly error: string };

/** How long a message may be. */
const sizeLimit = 8 * 1024 * 1024;

/** How deep arrays and objects may be in each other, as in QEMU. */
const nestingLimit = 1024;

const code = (character: string): number => character.charCodeAt(0);
const doubleQuote = code('"');
const singleQuote = code("'");
const backslash = code("\\");
const firstPrintable = 0x20;
/** Bytes from here on are in no UTF-8 text: a client sends one to get rid of what was left of another's message. */
const firstImpossible = 0xfe;

const whitespace: ReadonlySet<number> = new Set([..." \t\r\n"].map(code));
const scalar: ReadonlySet<number> = new Set([..."abcdefghijklmnopqrstuvwxyz0123456789+-.E"].map(code));
const nesting: ReadonlyMap<number, readonly [which: 0 | 1, step: number]> = new Map([
  [code("{"), [0, 1]],
  [code("}"), [0, -1]],
  [code("["), [1, 1]],
  [code("]"), [1, -1]],
]);

/**
 * Finds the messages in what a client sends, however it is cut into packets: JSON values one after the other, with or
 * without whitespace between them. As QEMU's parser does, it takes strings in single quotes too, and goes on behind
 * what is malformed, at the next line or object.
 */
export class JsonScanner {
  #bytes = Buffer.alloc(256);
  #length = 0;
  #state: "outside" | "double" | "single" | "skipping" = "outside";
  #escaped = false;
  #singleQuoted = false;
  /** How many objects and how many arrays are open. */
  readonly #open: [number, number] = [0, 0];

  /** Takes what has arrived; gives the messages that are complete by it. */
  *scan(bytes: Uint8Array): Generator<ScannedMessage> {
    for (let at = 0; at < bytes.length; ) {
      const end = this.#endOfPlainText(bytes, at);
      if (end > at) {
        this.#append(bytes.subarray(at, end));
        at = end;
      } else {
        yield* this.#take(bytes[at] as number);
        at += 1;
      }
      if (this.#length > sizeLimit) {
        yield this.#fail("JSON token size limit exceeded");
        this.#state = "skipping";
      }
    }
  }

  /** Where the bytes end that are nothing but text, if they are in a string. */
  #endOfPlainText(bytes: Uint8Array, start: number): number {
    if (this.#escaped || (this.#state !== "double" && this.#state !== "single")) {
      return start;
    }
    const quote = this.#state === "double" ? doubleQuote : singleQuote;
    for (let at = start; ; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte < firstPrintable || byte >= firstImpossible || byte === quote || byte === backslash) return at;
    }
  }

  *#take(byte: number): Generator<ScannedMessage> {
    switch (this.#state) {
      case "skipping":
        if (byte !== code("{")) {
          if (byte < firstPrintable || byte >= firstImpossible) this.#state = "outside";
          return;
        }
        this.#state = "outside";
        yield* this.#takeOutside(byte);
        return;
      case "outside":
        yield* this.#takeOutside(byte);
        return;
      default:
        yield* this.#takeInside(byte, this.#state === "double" ? doubleQuote : singleQuote);
    }
  }

  *#takeOutside(byte: number): Generator<ScannedMessage> {
    const nested = this.#open[0] > 0 || this.#open[1] > 0;
    if (!nested && this.#length > 0 && !scalar.has(byte)) {
      yield this.#finish();
    }
    if (whitespace.has(byte)) {
      if (this.#length > 0) this.#append(Uint8Array.of(byte));
      return;
    }
    if (byte === doubleQuote || byte === singleQuote) {
      this.#append(Uint8Array.of(byte));
      this.#singleQuoted ||= byte === singleQuote;
      this.#state = byte === doubleQuote ? "double" : "single";
      return;
    }
    const step = nesting.get(byte);
    if (step === undefined && !scalar.has(byte) && byte !== code(":") && byte !== code(",")) {
      yield this.#stray(byte);
      return;
    }
    this.#append(Uint8Array.of(byte));
    if (step !== undefined) this.#open[step[0]] += step[1];
    const [objects, arrays] = this.#open;
    if (objects + arrays > nestingLimit) {
      yield this.#fail("JSON nesting depth limit exceeded");
      this.#state = "skipping";
    } else if (objects < 0 || arrays < 0 || (objects === 0 && arrays === 0 && !scalar.has(byte))) {
      yield this.#finish();
    }
  }

  *#takeInside(byte: number, quote: number): Generator<ScannedMessage> {
    if (byte < firstPrintable || byte >= firstImpossible) {
      yield this.#stray(byte);
      return;
    }
    this.#append(Uint8Array.of(byte));
    if (this.#escaped) {
      this.#escaped = false;
    } else if (byte === backslash) {
      this.#escaped = true;
    } else if (byte === quote) {
      this.#state = "outside";
      if (this.#open[0] === 0 && this.#open[1] === 0) yield this.#finish();
    }
  }

  #append(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(length, this.#bytes.length * 2));
      this.#bytes.copy(larger);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  #finish(): ScannedMessage {
    const bytes = this.#bytes.subarray(0, this.#length);
    const singleQuoted = this.#singleQuoted;
    this.#reset();
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      return { text: singleQuoted ? withDoubleQuotes(text) : text };
    } catch {
      return { error: "invalid UTF-8 sequence in string" };
    }
  }

  /** A byte that can be nowhere, or not here. */
  #stray(byte: number): ScannedMessage {
    const shown = byte > firstPrintable && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`;
    const message = this.#fail(`stray '${shown}'`);
    this.#state = byte < firstPrintable || byte >= firstImpossible ? "outside" : "skipping";
    return message;
  }

  #fail(error: string): ScannedMessage {
    this.#reset();
    return { error };
  }

  #reset(): void {
    this.#length = 0;
    if (this.#bytes.length > 65_536) this.#bytes = Buffer.alloc(256);
    this.#state = "outside";
    this.#escaped = false;
    this.#singleQuoted = false;
    this.#open.fill(0);
  }
}

/** The same JSON with all its strings in double quotes. */
function withDoubleQuotes(text: string): string {
  return text.replace(
    /"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'/gs,
    (_whole, double: string | undefined, single: string | undefined) => {
      const inside = (double ?? single ?? "").replaceAll(/\\(.)|"/gs, (piece, escaped: string | undefined) =>
        escaped === "'" ? "'" : escaped === undefined ? '\\"' : piece,
      );
      return `"${inside}"`;
    },
  );
}
