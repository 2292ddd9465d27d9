import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** How many lines are kept. */
const limit = 500;

/** The lines that a person has typed, the newest first, kept in a file from one session to the next. */
export class LineHistory {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** The lines of this user, in `$XDG_STATE_HOME/cpr` or `~/.local/state/cpr`. */
  static ofUser(): LineHistory {
    const { XDG_STATE_HOME: state } = process.env;
    const folder = state === undefined || state === "" ? join(homedir(), ".local", "state") : state;
    return new LineHistory(join(folder, "cpr", "monitor-history"));
  }

  /** The lines; none if there is no file, or none that can be read. */
  read(): string[] {
    try {
      return readFileSync(this.#path, "utf8").split("\n").filter(Boolean).slice(0, limit);
    } catch {
      return [];
    }
  }

  /** Keeps the lines. Where that cannot be done, nobody is bothered with it. */
  write(lines: readonly string[]): void {
    const temporary = `${this.#path}.${process.pid}.tmp`;
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
      writeFileSync(
        temporary,
        lines
          .slice(0, limit)
          .map((line) => `${line}\n`)
          .join(""),
        { mode: 0o600 },
      );
      renameSync(temporary, this.#path);
    } catch {
      // The next session begins without them.
    }
  }
}
