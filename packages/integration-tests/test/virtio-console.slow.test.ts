import { readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { CprProcess } from "../../../tools/cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import { loadModules, moduleEntries } from "../../../tools/lab/kernel-modules.ts";
import { scratchMachine } from "./scratch.ts";

const mebibyte = 1 << 20;
const portName = "org.example.echo";
const upLine = "cpr guest: virtio is up";
/** What the guest fills memory with, and gives free again. */
const filled = 64;

/** Finds its port by its name and answers each line in it; `fill` uses memory, and `free` gives it free again. */
const init = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
${loadModules()}
until [ -c /dev/hvc0 ] && [ -n "$port" ]; do
  for each in /sys/class/virtio-ports/*; do
    [ "$(cat $each/name)" = ${portName} ] && port=/dev/\${each##*/}
  done
  sleep 0.1
done
exec 3<>$port
echo "${upLine}" >/dev/hvc0
while :; do
  while read -r line <&3; do
    case "$line" in
      fill) yes "not zero" | head -c ${filled}m >/tmp/memory ;;
      free) rm /tmp/memory ;;
      suspend) echo mem >/sys/power/state ;;
    esac
    echo "echo: $line" >&3
  done
  sleep 0.1
done
`;

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    if (await condition()) return;
    await delay(100);
  }
  throw new Error(`${what} did not happen`);
}

/** How large a checkpoint is with all RAM in it. */
async function sizeOfCopy(process: CprProcess, path: string): Promise<number> {
  expect(await process.command(`migrate file:${path}`)).toBe("");
  const { size } = statSync(path);
  unlinkSync(path);
  expect(await process.command("cont")).toBe("");
  return size;
}

/** Sends a line to the guest and gives what it answers. */
async function ask(path: string, line: string): Promise<string> {
  let text = "";
  const client = connect(path).on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  onTestFinished(() => void client.destroy());
  client.write(`${line}\n`);
  await until(() => text.endsWith("\n"), `an answer to '${line}'`);
  client.destroy();
  return text.trim();
}

it("a guest has a console and a port, in the next process and after a sleep too, and gives back what it does not use", {
  timeout: 600_000,
}, async () => {
  const { kernel, modules: folder, busybox } = await guestAssets();
  const machine = scratchMachine(kernel, { size: "192M" });
  const place = (name: string): string => join(machine.ram, "..", name);
  const files = moduleEntries(folder, ["virtio_pci", "virtio_balloon", "virtio_console"]);
  writeFileSync(place("initramfs"), busyboxInitramfs(readFileSync(busybox), init, files));
  const options = machine.options([
    ...["-accel", "interp", "-initrd", place("initramfs")],
    ...["-append", "console=ttyS0 console=hvc0 cryptomgr.notests panic=-1 quiet"],
    ...["-chardev", `file,id=hvc,path=${place("hvc.log")},append=on`],
    ...["-chardev", `socket,id=echo,path=${place("echo.sock")},server=on,wait=off`],
    ...["-device", "virtconsole,chardev=hvc"],
    ...["-device", `virtserialport,chardev=echo,name=${portName}`],
    ...["-device", "virtio-balloon-pci,free-page-reporting=on"],
  ]);
  const first = new CprProcess(options);
  onTestFinished(() => first.kill("SIGKILL"));
  await first.ready();
  await until(() => readFileSync(place("hvc.log"), "latin1").includes(upLine), "the guest's console");
  expect(await ask(place("echo.sock"), "one")).toBe("echo: one");

  // Memory that was used and is free again leaves the file that the RAM is in.
  const used = (): number => statSync(machine.ram).blocks * 512;
  expect(await ask(place("echo.sock"), "fill")).toBe("echo: fill");
  const most = used();
  const largest = await sizeOfCopy(first, place("copy.state"));
  expect(await ask(place("echo.sock"), "free")).toBe("echo: free");
  await until(() => used() < most - ((filled * 3) / 4) * mebibyte, "the report of free pages");
  expect(await sizeOfCopy(first, place("copy.state"))).toBeLessThan(largest - ((filled * 3) / 4) * mebibyte);
  expect(await first.command("balloon 128")).toBe("");
  await until(async () => (await first.command("info balloon")) === "balloon: actual=128", "the balloon");

  await first.chooseReboot();
  expect(await first.command(`migrate file:${machine.state}`)).toBe("");
  await first.quit();
  const second = new CprProcess([...options, "-incoming", "defer"]);
  onTestFinished(() => second.kill("SIGKILL"));
  await second.ready();
  await second.chooseReboot();
  expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
  expect(await ask(place("echo.sock"), "two")).toBe("echo: two");
  expect(await second.command("info balloon")).toBe("balloon: actual=128");
  // A client that waits while the guest sleeps has its answer afterwards.
  const answer = ask(place("echo.sock"), "suspend");
  await until(
    async () => (await second.command("info status")) === "VM status: paused (suspended)",
    "the guest's suspend",
  );
  expect(await second.command("system_wakeup")).toBe("");
  expect(await answer).toBe("echo: suspend");
  // The guest has taken all back before it slept.
  await until(
    async () => (await second.command("info balloon")) === "balloon: actual=128",
    "the balloon after the sleep",
  );
  expect(await second.command("balloon 192")).toBe("");
  await until(async () => (await second.command("info balloon")) === "balloon: actual=192", "the deflation");
  expect(readFileSync(machine.console, "latin1")).not.toMatch(/BUG:|Call Trace|no module/);
});
