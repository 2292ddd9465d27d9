import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, it, onTestFinished } from "vitest";
import { CprProcess } from "../../../tools/cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import type { InitramfsEntry } from "../../../tools/initramfs.ts";
import { buildSuite } from "./qemu-suite.ts";
import { scratchMachine } from "./scratch.ts";

/**
 * Lines that are not compared: results that no manual defines (16-bit SHLD and SHRD by more than 16), and those of
 * instructions that the CPU model lacks.
 */
const leftOut = "^sh[lr]dw .* C=0*[13][1-9a-f] \\|^[tl]zcnt";

/** Runs each program, compares its output with the one it had on the host, and shows where the two part. */
const init = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
for program in /suite/*; do
  name=\${program##*/}
  "$program" >/output 2>/errors
  status=$?
  zcat "/expected/$name.gz" | grep -av "${leftOut}" >/expected-output
  grep -av "${leftOut}" /output >/defined-output
  if cmp -s /expected-output /defined-output; then same=same; else same=different; fi
  echo "RESULT $name $status $same"
  [ $same = same ] || diff /expected-output /defined-output | head -n 30
  head -n 5 /errors
done
echo "SUITE ENDS"
poweroff -f
`;

it("QEMU's test-i386 and its relatives print in the guest what they print on the host", {
  timeout: 1_200_000,
}, async () => {
  const { kernel, busybox } = await guestAssets();
  const machine = scratchMachine(kernel, { size: "512M" });
  const folder = join(machine.ram, "..");
  const programs = await buildSuite(folder);
  const lines = programs.reduce((sum, { output }) => sum + output.toString("latin1").split("\n").length, 0);
  // A host may execute no 32-bit programs.
  expect(lines).toBeGreaterThan(programs.some(({ name }) => name.endsWith("-32")) ? 15_000 : 13_000);
  const entries = programs.flatMap(({ name, path, output }): InitramfsEntry[] => [
    { path: `suite/${name}`, kind: "file", data: readFileSync(path), mode: 0o755 },
    { path: `expected/${name}.gz`, kind: "file", data: gzipSync(output) },
  ]);
  const links = ["cmp", "diff", "zcat"].map(
    (name): InitramfsEntry => ({ path: `bin/${name}`, kind: "link", target: "busybox" }),
  );
  const initrd = join(folder, "suite.cpio");
  writeFileSync(initrd, busyboxInitramfs(readFileSync(busybox), init, [...links, ...entries]));
  const append = "console=ttyS0 quiet cryptomgr.notests panic=-1";
  const process = new CprProcess([...machine.options(["-initrd", initrd, "-append", append]), "-no-reboot"]);
  onTestFinished(() => process.kill("SIGKILL"));
  const { status } = await process.ended;
  const text = readFileSync(machine.console, "latin1").replaceAll("\r", "");
  expect(status, text).toBe(0);
  const results = [...text.matchAll(/^RESULT (\S+) (\d+) (\w+)$/gm)].map(([, name, status, same]) => ({
    name,
    status: Number(status),
    same,
  }));
  const expected = programs.map(({ name, status }) => ({ name, status, same: "same" }));
  const byName = (first: { name?: string | undefined }, second: { name?: string | undefined }) =>
    (first.name ?? "").localeCompare(second.name ?? "");
  expect(results.sort(byName), text).toEqual(expected.sort(byName));
  expect(text).toContain("SUITE ENDS");
});
