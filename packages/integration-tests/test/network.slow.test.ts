import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { ensureDebianPackages } from "../../../tools/debian-archive.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import { loadModules, moduleEntries } from "../../../tools/lab/kernel-modules.ts";
import { makeTapNetwork, mayMakeTaps } from "../../../tools/tap-network.ts";
import { LongDownload } from "./downloads.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";

/** How many seconds the guest has for anything, on a slow machine. */
const patience = 240;
const trouble = /no module|WARNING:|BUG:|Call Trace|Oops|NETDEV WATCHDOG|virtio_net.*(?:error|fail)/;

/** `/init` of a guest with an address, that does what follows. */
const networkInit = (address: string, gateway: string, script: string): string => `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
${loadModules()}
ip link set eth0 up
ip address add ${address} dev eth0
ip route add default via ${gateway}
read -r mac </sys/class/net/eth0/address
echo "card $mac"
${script}
while :; do sleep 1; done
`;

async function makeMachine(init: string): Promise<{ machine: ScratchMachine; options: string[] }> {
  const { kernel, busybox, modules } = await guestAssets();
  const machine = scratchMachine(kernel, { size: "192M" });
  const initramfs = join(machine.state, "..", "initramfs.cpio");
  const applets = ["ip", "nc"].map((name) => ({ path: `bin/${name}`, kind: "link", target: "busybox" }) as const);
  const entries = [...moduleEntries(modules, ["virtio_pci", "virtio_net"]), ...applets];
  writeFileSync(initramfs, busyboxInitramfs(readFileSync(busybox), init, entries));
  const append = "console=ttyS0 cryptomgr.notests panic=-1";
  return { machine, options: machine.options(["-accel", "interp", "-initrd", initramfs, "-append", append]) };
}

async function start(options: readonly string[]): Promise<CprProcess> {
  const process = new CprProcess(options);
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

describe("a network card of Debian's kernel", () => {
  it.skipIf(!mayMakeTaps())(
    "carries one long download over a tap through a checkpoint",
    {
      timeout: 900_000,
    },
    async () => {
      const tap = await makeTapNetwork();
      onTestFinished(() => tap.remove());
      const download = new LongDownload();
      let connections = 0;
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        connections += 1;
        download.feed(socket.on("error", () => undefined).resume());
      }).listen(0, tap.hostAddress);
      await once(server, "listening");
      onTestFinished(() => void server.close());
      const { port } = server.address() as AddressInfo;
      const script = `echo "download $(nc ${tap.hostAddress} ${port} </dev/null | sha256sum)"`;
      const { machine, options } = await makeMachine(networkInit(`${tap.guestAddress}/30`, tap.hostAddress, script));
      const backend = `tap,id=n0,ifname=${tap.device},script=no,downscript=no`;
      const network = ["-netdev", backend, "-device", "virtio-net-pci,netdev=n0"];
      let vm = await start([...options, ...network]);
      const lines = new FileLines(machine.console);
      expect(await lines.until((line) => /^card (\S+)/.exec(line)?.[1], patience)).toBe("52:54:00:12:34:56");
      await expect.poll(() => download.sent, { timeout: patience * 1000 }).toBeGreaterThan(20);
      vm = await replace(vm, machine, () => start([...options, ...network, "-incoming", "defer"]));
      const before = download.sent;
      // More than what the host's end of the connection holds by itself.
      await expect.poll(() => download.sent, { timeout: patience * 1000 }).toBeGreaterThan(before + 500);
      download.end();
      const fresh = new FileLines(machine.console);
      const sum = await fresh.until((line) => /^download (\w{64})/.exec(line)?.[1], patience);
      expect(sum).toBe(download.sum());
      // The same connection, from one process to the other.
      expect(connections).toBe(1);
      expect(readConsole(machine)).not.toMatch(trouble);
      await vm.quit();
    },
  );

  it("carries downloads through passt, before and after a checkpoint", { timeout: 900_000 }, async () => {
    await ensureDebianPackages(["passt"]);
    // More than the connection between passt and the card holds by itself.
    const data = randomBytes(8 << 20);
    const sum = createHash("sha256").update(data).digest("hex");
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => undefined).resume();
      socket.end(data);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const script = `while :; do echo "download $(nc 10.0.2.2 ${port} </dev/console | sha256sum)"; sleep 1; done`;
    const { machine, options } = await makeMachine(networkInit("10.0.2.15/24", "10.0.2.2", script));
    const network = ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0"];
    let vm = await start([...options, ...network]);
    const complete = (line: string) => line.startsWith(`download ${sum}`) || undefined;
    await new FileLines(machine.console).until(complete, patience);
    vm = await replace(vm, machine, () => start([...options, ...network, "-incoming", "defer"]));
    // The download that was under way has ended with the old passt.
    const fresh = new FileLines(machine.console);
    for (let count = 0; count < 2; count++) await fresh.until(complete, patience);
    expect(readConsole(machine)).not.toMatch(trouble);
    await vm.quit();
  });

  it("announces itself to a switch after a checkpoint", { timeout: 600_000 }, async () => {
    const { machine, options } = await makeMachine(networkInit("10.77.0.2/24", "10.77.0.1", "echo ready"));
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
