import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { scratchFolder } from "./scratch.ts";

/** Runs `cpr run` on a terminal of its own, made by script(1), and types at it. */
function onTerminal(words: readonly string[], folder = scratchFolder()) {
  const line = [process.execPath, cprCommand, "run", ...words].map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qefc", line, "/dev/null"], {
    // The lines that are typed are kept in that folder.
    env: { ...process.env, TERM: "vt100", XDG_STATE_HOME: folder },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let screen = "";
  child.stdout.on("data", (bytes: Buffer) => {
    screen += bytes.toString("latin1");
  });
  const status = new Promise<number | null>((resolve) => child.on("close", resolve));
  return {
    status,
    type: (keys: string) => child.stdin.write(keys),
    /** Waits until something appears that was not there when `after` was taken. */
    async shows(pattern: RegExp): Promise<void> {
      for (let attempt = 0; attempt < 400; attempt += 1) {
        if (pattern.test(screen)) return;
        await delay(50);
      }
      throw new Error(`${pattern} did not appear: ${JSON.stringify(screen.slice(-400))}`);
    },
    clear: () => {
      screen = "";
    },
  };
}

describe("cpr run on a terminal", () => {
  it("shows the guest's console, goes to the monitor and back with Ctrl-a c, and quits with Ctrl-a x", async () => {
    const terminal = onTerminal(["-m", "64M", "-kernel", buildGuestProgram("counter")]);
    await terminal.shows(/counter is up/);
    terminal.type("\x01c");
    await terminal.shows(/\(cpr\) /);
    terminal.type("info status\r");
    await terminal.shows(/VM status: running/);
    terminal.type("info mi\t");
    await terminal.shows(/info migrate/);
    terminal.type("\x15\x01c");
    await terminal.shows(/\[console\]/);
    terminal.clear();
    await terminal.shows(/tick \d+ uptime/);
    terminal.type("\x01x");
    expect(await terminal.status).toBe(0);
  });

  it("gives keys to the guest: its own command to end works", async () => {
    const terminal = onTerminal(["-m", "64M", "-kernel", buildGuestProgram("counter"), "-no-reboot"]);
    await terminal.shows(/counter is up/);
    terminal.type("q");
    await terminal.shows(/end/);
    expect(await terminal.status).toBe(0);
  });

  it("shows how far a migration is, gives it up with Ctrl-C, and remembers the lines in the next process", async () => {
    const folder = scratchFolder();
    const words = ["-m", "64M", "-kernel", buildGuestProgram("pages"), "-serial", "null", "-monitor", "stdio"];
    const first = onTerminal(words, folder);
    await first.shows(/\(cpr\) /);
    await delay(1000);
    first.type("migrate_set_parameter max-bandwidth 1M\r");
    first.type(`migrate file:${join(folder, "vm.state")}\r`);
    await first.shows(/\[#*\.+\] \d+% \d+ MiB\/s, .* left/);
    first.type("\x03");
    await first.shows(/Migration cancelled; the VM is as it was before\./);
    first.type("info status\r");
    await first.shows(/VM status: running/);
    first.type("quit\r");
    expect(await first.status).toBe(0);

    const second = onTerminal(words, folder);
    await second.shows(/\(cpr\) /);
    second.type("\x1b[A\x1b[A\r");
    await second.shows(/VM status: running/);
    second.type("quit\r");
    expect(await second.status).toBe(0);
  });
});
