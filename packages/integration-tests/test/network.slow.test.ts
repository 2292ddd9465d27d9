import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import { loadModules, moduleEntries, networkModules } from "./guest-modules.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";
import { slowBytes } from "./slow-server.ts";

const downloadSize = 1 << 20;
const sum = createHash("sha256").update(slowBytes(downloadSize)).digest("hex");
/** How many seconds the guest has for anything, on a slow machine. */
const patience = 240;
const trouble = /no module|WARNING:|BUG:|Call Trace|Oops|NETDEV WATCHDOG|virtio_net.*(?:error|fail)/;

/** `/init` of a guest with an address, that does what follows. */
const networkInit = (address: string, gateway: string, script: string): string => `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
${loadModules(networkModules)}
ip link set eth0 up
ip address add ${address}/24 dev eth0
ip route add default via ${gateway}
read -r mac </sys/class/net/eth0/address
echo "card $mac"
${script}
while :; do sleep 1; done
`;

const download = (host: string, port: number | string): string =>
  `echo "download $(nc ${host} ${port} </dev/null | sha256sum)"`;

async function makeMachine(init: string): Promise<{ machine: ScratchMachine; options: string[] }> {
  const { kernel, busybox, modules } = await guestAssets();
  const machine = scratchMachine(kernel, { size: "192M" });
  const initramfs = join(machine.state, "..", "initramfs.cpio");
  const applets = ["ip", "nc"].map((name) => ({ path: `bin/${name}`, kind: "link", target: "busybox" }) as const);
  const entries = [...moduleEntries(modules, networkModules), ...applets];
  writeFileSync(initramfs, busyboxInitramfs(readFileSync(busybox), init, entries));
  const append = "console=ttyS0 cryptomgr.notests panic=-1";
  return { machine, options: machine.options(["-accel", "interp", "-initrd", initramfs, "-append", append]) };
}

async function start(options: readonly string[], under: readonly string[] = []): Promise<CprProcess> {
  const process = new CprProcess(options, {}, under);
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  return process;
}

/** Saves the guest, and loads it in a process that is started while the first still is there. */
async function replace(
  process: CprProcess,
  machine: ScratchMachine,
  next: () => Promise<CprProcess>,
): Promise<CprProcess> {
  await process.chooseReboot();
  expect(await process.command(`migrate -d file:${machine.state}`)).toBe("");
  await expect.poll(() => process.command("info status"), { timeout: 60_000 }).toBe("VM status: paused (postmigrate)");
  const other = await next();
  await other.chooseReboot();
  await process.quit();
  expect(await other.command(`migrate_incoming file:${machine.state}`)).toBe("");
  return other;
}

const readConsole = ({ console: path }: ScratchMachine): string =>
  existsSync(path) ? readFileSync(path, "latin1") : "";

/** A network namespace with a tap that has an address; undefined if this process may not make one. */
function makeNamespace(tap: string, address: string): readonly string[] | undefined {
  const name = `cpr-test-${process.pid}`;
  const ip = (...words: string[]): void => void execFileSync("ip", words, { stdio: "ignore" });
  try {
    ip("netns", "add", name);
  } catch {
    return undefined;
  }
  onTestFinished(() => ip("netns", "delete", name));
  for (const words of [
    ["tuntap", "add", "dev", tap, "mode", "tap"],
    ["address", "add", `${address}/24`, "dev", tap],
    ["link", "set", tap, "up"],
  ]) {
    ip("-n", name, ...words);
  }
  return ["ip", "netns", "exec", name];
}

/** The lines that a program prints, one after the other. */
function linesOf(child: ChildProcess): () => Promise<string> {
  const iterator = createInterface({ input: child.stdout as NonNullable<ChildProcess["stdout"]> })[
    Symbol.asyncIterator
  ]();
  return async () => String((await iterator.next()).value);
}

describe("a network card of Debian's kernel", () => {
  it("carries one long download over a tap through a checkpoint", { timeout: 900_000 }, async ({ skip }) => {
    const [host, guest] = ["10.77.0.1", "10.77.0.2"];
    const under = makeNamespace("tap0", host) ?? skip("NOTE: network namespaces and taps need root");
    const words = [...under, process.execPath, join(import.meta.dirname, "slow-server.ts"), host, String(downloadSize)];
    const server = spawn(words[0] as string, words.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void server.kill());
    const told = linesOf(server);
    const port = (await told()).replace("port ", "");
    const { machine, options } = await makeMachine(networkInit(guest, host, download(host, port)));
    const network = ["-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0"];
    let vm = await start([...options, ...network], under);
    const lines = new FileLines(machine.console);
    expect(await lines.until((line) => /^card (\S+)/.exec(line)?.[1], patience)).toBe("52:54:00:12:34:56");
    expect(await told()).toMatch(new RegExp(`^begin ${guest.replaceAll(".", "\\.")} `));
    vm = await replace(vm, machine, () => {
      expect(readConsole(machine)).not.toMatch(/^download/m);
      return start([...options, ...network, "-incoming", "defer"], under);
    });
    // The same connection: no other begins before the end of the first.
    expect(await told()).toBe("end");
    const fresh = new FileLines(machine.console);
    expect(await fresh.until((line) => /^download (\w{64})/.exec(line)?.[1], patience)).toBe(sum);
    expect(readConsole(machine)).not.toMatch(trouble);
    await vm.quit();
  });

  it("announces itself to a switch after a checkpoint", { timeout: 600_000 }, async () => {
    const { machine, options } = await makeMachine(networkInit("10.77.0.2", "10.77.0.1", "echo ready"));
    const path = join(machine.state, "..", "switch.sock");
    /** What each process has sent, the bytes of one connection after the other. */
    const sent: Buffer[][] = [];
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      const connection: Buffer[] = [];
      sent.push(connection);
      sockets.push(socket.on("data", (bytes: Buffer) => connection.push(bytes)).on("error", () => undefined));
    }).listen(path);
    await once(server, "listening");
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const network = ["-netdev", `stream,id=n0,server=off,addr.type=unix,addr.path=${path}`];
    const card = ["-device", "virtio-net-pci,netdev=n0,mac=52:54:00:77:00:02"];
    let vm = await start([...options, ...network, ...card]);
    await new FileLines(machine.console).until((line) => (line === "ready" ? true : undefined), patience);
    vm = await replace(vm, machine, () => start([...options, ...network, ...card, "-incoming", "defer"]));
    // Ethernet to all, ARP request, of and for the guest's own address.
    const gratuitous = /f{12}52540077000208060001080006040001525400770002(0a4d0002).{12}\1/;
    const heard = (): string => Buffer.concat(sent[1] ?? []).toString("hex");
    await expect.poll(heard, { timeout: patience * 1000 }).toMatch(gratuitous);
    expect(sent).toHaveLength(2);
    expect(readConsole(machine)).not.toMatch(trouble);
    await vm.quit();
  });
});
