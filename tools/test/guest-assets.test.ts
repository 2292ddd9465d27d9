import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sourcesOfRelease, withBackports } from "../debian-archive.ts";
import { busyboxInitramfs, countingInit, firstLine, parseTick } from "../guest-assets.ts";
import { initramfs } from "../initramfs.ts";

/** Reads an archive of the format `newc` as Documentation/driver-api/early-userspace/buffer-format.rst describes it. */
function readArchive(archive: Uint8Array): { name: string; mode: number; device: string; data: string }[] {
  const bytes = Buffer.from(archive);
  const aligned = (offset: number): number => (offset + 3) & ~3;
  const entries = [];
  for (let at = 0; ; ) {
    expect(bytes.toString("latin1", at, at + 6)).toBe("070701");
    const field = (index: number): number =>
      Number.parseInt(bytes.toString("latin1", at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const dataAt = aligned(at + 110 + field(11));
    const name = bytes.toString("latin1", at + 110, at + 110 + field(11) - 1);
    if (name === "TRAILER!!!") return entries;
    const data = bytes.toString("latin1", dataAt, dataAt + field(6));
    entries.push({ name, mode: field(1), device: `${field(9)}:${field(10)}`, data });
    at = aligned(dataAt + field(6));
  }
}

test("an initramfs holds its entries, and the folders that they are in before them", () => {
  const archive = initramfs([
    { path: "usr/lib/data", kind: "file", data: "12345", mode: 0o600 },
    { path: "usr/link", kind: "link", target: "lib/data" },
    { path: "dev/console", kind: "character-device", major: 5, minor: 1 },
  ]);
  expect(readArchive(archive)).toEqual([
    { name: "usr", mode: 0o040755, device: "0:0", data: "" },
    { name: "usr/lib", mode: 0o040755, device: "0:0", data: "" },
    { name: "usr/lib/data", mode: 0o100600, device: "0:0", data: "12345" },
    { name: "usr/link", mode: 0o120777, device: "0:0", data: "lib/data" },
    { name: "dev", mode: 0o040755, device: "0:0", data: "" },
    { name: "dev/console", mode: 0o020600, device: "5:1", data: "" },
  ]);
});

test("an entry replaces an earlier one of the same path", () => {
  const archive = busyboxInitramfs(Buffer.from("busybox"), countingInit, [
    { path: "init", kind: "file", data: "other", mode: 0o755 },
  ]);
  expect(readArchive(archive).filter(({ name }) => name === "init")).toMatchObject([{ data: "other" }]);
});

test("/init says that userspace runs before anything else, in a script that a shell accepts", () => {
  expect(countingInit.split("\n")[1]).toBe(`echo "${firstLine}"`);
  const folder = mkdtempSync(join(tmpdir(), "cpr-init-"));
  try {
    writeFileSync(join(folder, "init"), countingInit);
    execFileSync("sh", ["-n", join(folder, "init")], { stdio: "pipe" });
    expect(readFileSync(join(folder, "init"), "utf8")).toBe(countingInit);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a tick is told from other lines of the console", () => {
  expect(parseTick("tick 12 uptime 34.56")).toEqual({ tick: 12, uptime: 34.56 });
  expect(parseTick("tick 0 uptime 1.13\r")).toEqual({ tick: 0, uptime: 1.13 });
  expect(parseTick("[    0.000000] tick 1 uptime 2.00")).toBeUndefined();
  expect(parseTick("tick 1 uptime")).toBeUndefined();
});

test("backports come from the mirrors and keys that are configured, in either style of source", () => {
  expect(withBackports("Types: deb\nSuites: bookworm bookworm-updates\nComponents: main\n")).toBe(
    "Types: deb\nSuites: bookworm bookworm-updates bookworm-backports\nComponents: main\n",
  );
  expect(withBackports("deb [signed-by=/k.gpg] http://mirror/debian bookworm-updates main\n")).toBe(
    "deb [signed-by=/k.gpg] http://mirror/debian bookworm-updates main\n" +
      "deb [signed-by=/k.gpg] http://mirror/debian bookworm-backports main\n",
  );
  expect(withBackports("Suites: bookworm-security\n")).toBe("Suites: bookworm-security\n");
});

test("of package sources those are kept that have binary packages of the release", () => {
  const wanted =
    "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n";
  const security = wanted.replace("bookworm bookworm-updates", "bookworm-security");
  const other = wanted.replace("bookworm bookworm-updates", "nodistro");
  const source = wanted.replace("Types: deb", "Types: deb-src");
  expect(sourcesOfRelease([wanted, other, source, security].join("\n"), "bookworm")).toBe(`${wanted}\n${security}\n`);

  const line =
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm main\n";
  const lines = [
    "# a comment\n",
    line,
    "deb http://mirror.example/debian sid main\n",
    line.replace("deb ", "deb-src "),
  ];
  expect(sourcesOfRelease(lines.join(""), "bookworm")).toBe(line);
  expect(sourcesOfRelease(line.replace("bookworm", "bookworm-updates"), "bookworm")).toContain("bookworm-updates");
});
