import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CprProcess } from "../../../tools/cpr-process.ts";
import { copyDisk, debianImage } from "../../../tools/debian-image.ts";
import { SystemConsole } from "../../../tools/system-console.ts";
import { makeTapNetwork, mayMakeTaps, type TapNetwork } from "../../../tools/tap-network.ts";
import { beginCommand } from "./command.ts";
import { LongDownload, serve } from "./downloads.ts";
import { packageRepository } from "./package-repository.ts";

/** Writes what it makes up, and reads it back from the disk itself, until it is told to stop. */
const diskLoad = `#!/bin/sh
pass=0
while [ ! -e /root/stop ]; do
  file=/root/load-$((pass % 3))
  written=$(head -c 3M /dev/urandom | tee $file | sha256sum)
  sync $file
  read=$(dd if=$file iflag=direct bs=64k status=none | sha256sum)
  [ "$written" = "$read" ] && echo "pass $pass right" || echo "pass $pass WRONG"
  pass=$((pass + 1))
done
`;

/** Leaves out what these tests have no use for: it takes a third of the time until somebody can log in. */
const withoutDelay =
  "cryptomgr.notests quiet systemd.show_status=0 module_blacklist=kvm_amd,kvm,powernow_k8,fuse,loop,drm,dm_mod,efi_pstore " +
  "systemd.mask=systemd-resolved.service systemd.mask=getty@tty1.service";

/** A running guest: its process, and the shell of somebody who is logged in. */
interface Running {
  readonly process: CprProcess;
  readonly shell: SystemConsole;
}

// One boot for all: each test goes on with what the one before has left.
describe.skipIf(!mayMakeTaps())("Debian with systemd, a disk, a network and an agent", () => {
  const folder = mkdtempSync("/dev/shm/cpr-test-");
  const path = (name: string): string => join(folder, name);
  const running: CprProcess[] = [];
  let network: TapNetwork;
  let options: string[];
  let guest: Running;

  beforeAll(async () => {
    const image = await debianImage();
    await copyDisk(image.disk, path("disk.img"));
    network = await makeTapNetwork();
    const address = `ip=${network.guestAddress}::${network.hostAddress}:${network.mask}::eth0:none`;
    const socket = (id: string): string => `socket,id=${id},path=${path(`${id}.sock`)},server=on,wait=off`;
    options = [
      ...["-accel", "interp", "-m", "512M"],
      ...["-object", `memory-backend-file,id=ram0,size=512M,mem-path=${path("ram0")},share=on`],
      ...["-kernel", image.kernel, "-initrd", image.initrd],
      ...["-append", `${image.append} ${address} net.ifnames=0 ${withoutDelay}`],
      ...["-drive", `file=${path("disk.img")},format=raw,if=virtio`],
      ...["-netdev", `tap,id=n0,ifname=${network.device},script=no,downscript=no`],
      ...["-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"],
      ...["-chardev", socket("qga0"), "-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"],
      ...["-chardev", socket("hvc0"), "-device", "virtconsole,chardev=hvc0"],
      ...["-serial", `unix:${path("com1.sock")},server=on,wait=off`],
      ...["-qmp", `unix:${path("vm.qmp")},server=on,wait=off`],
    ];
    guest = await start();
    await guest.shell.logIn(600);
  }, 900_000);

  afterAll(() => {
    for (const process of running) process.kill("SIGKILL");
    network?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Starts a process and connects to its serial port. */
  async function start(more: readonly string[] = []): Promise<Running> {
    const process = new CprProcess([...options, ...more]);
    running.push(process);
    await process.ready();
    return { process, shell: await SystemConsole.connect(path("com1.sock")) };
  }

  const status = (): Promise<string> => guest.process.command("info status");

  /** Waits for a status: what is under way on the disk takes its time, and so does the guest's way to sleep. */
  async function reaches(wanted: string): Promise<void> {
    const deadline = performance.now() + 120_000;
    while ((await status()) !== `VM status: ${wanted}` && performance.now() < deadline) await delay(100);
    expect(await status()).toBe(`VM status: ${wanted}`);
  }

  /** Sends a command to the agent's socket, and returns the answer if one is to be waited for. */
  async function agent(execute: string, isAnswered: boolean): Promise<string> {
    const socket = connect(path("qga0.sock"));
    await once(socket, "connect");
    socket.write(`{"execute":"${execute}"}\n`);
    if (!isAnswered) {
      socket.end();
      await once(socket, "close");
      return "";
    }
    const [bytes] = (await once(socket, "data", { signal: AbortSignal.timeout(120_000) })) as [Buffer];
    socket.destroy();
    return bytes.toString();
  }

  /** Ends the process, whose guest is saved, and starts another one, which waits for it. */
  async function startNext(): Promise<void> {
    guest.shell.close();
    await guest.process.quit();
    guest = await start(["-incoming", "defer"]);
  }

  /** Ends the process, whose guest is saved, and has another one carry it on. */
  async function replace(): Promise<void> {
    await startNext();
    expect(await guest.process.command("info status")).toBe("VM status: paused (inmigrate)");
    await guest.process.chooseReboot();
    expect(await guest.process.command(`migrate_incoming file:${path("vm.state")}`)).toBe("");
  }

  /** What the kernel complains of. */
  const complaints = async (): Promise<string> =>
    (
      await guest.shell.run(
        "dmesg | grep -E 'I/O error|Call Trace|BUG:|WARNING:|stall|hung|blocked for|Buffer I/O|EXT4-fs (error|warning)'",
      )
    ).output;

  it("boots to a login with all of its services", { timeout: 300_000 }, async () => {
    expect(await guest.shell.ask("systemctl is-system-running --wait", 240)).toBe("running");
    expect(await complaints()).toBe("");
    expect(await guest.shell.ask("cat /proc/1/comm")).toBe("systemd");
    expect(await guest.shell.ask("findmnt -no SOURCE,FSTYPE /")).toMatch(/^\/dev\/vda\s+ext4$/);
  });

  it("asks for a login on the console of virtio as well", { timeout: 120_000 }, async () => {
    const console = await SystemConsole.connect(path("hvc0.sock"));
    console.type("\n");
    await console.logIn(90);
    expect(await console.ask("tty")).toBe("/dev/hvc0");
    console.close();
  });

  it("installs a package with apt from a repository in its network", { timeout: 300_000 }, async () => {
    const files = packageRepository(folder, "greeting", "#!/bin/sh\necho hello from a package\n");
    const server = await serve(network.hostAddress, (request, response) => {
      const file = files.get((request.url ?? "").replace(/^\/\.\//, "/"));
      response.statusCode = file === undefined ? 404 : 200;
      response.end(file);
    });
    const source = `deb [trusted=yes] ${server.url} ./`;
    await guest.shell.ask(`echo '${source}' >/etc/apt/sources.list`);
    await guest.shell.ask("apt-get -qq update", 240);
    await guest.shell.ask("apt-get -qq install -y greeting </dev/null", 240);
    expect(await guest.shell.ask("greeting")).toBe("hello from a package");
    server.close();
  });

  it("has its agent answer", { timeout: 180_000 }, async () => {
    expect(JSON.parse(await agent("guest-ping", true))).toEqual({ return: {} });
  });

  it("carries a load on disk and network through a checkpoint", { timeout: 600_000 }, async () => {
    const download = new LongDownload();
    const server = await serve(network.hostAddress, (_request, response) => download.feed(response));
    await guest.shell.ask(`cat >/root/load.sh <<'END'\n${diskLoad}END`);
    await guest.shell.ask("sh /root/load.sh >/root/load.log 2>&1 & true");
    await guest.shell.ask(`{ wget -q -t 1 -O - ${server.url}/ | sha256sum >/root/sum; } & true`);
    while (download.sent < 100) await delay(20);
    await guest.shell.ask("until grep -q right /root/load.log; do sleep 0.2; done", 240);
    const passes = async (): Promise<number> => Number(await guest.shell.ask("wc -l </root/load.log"));
    const before = await passes();

    await guest.process.chooseReboot();
    expect(await guest.process.command(`migrate -d file:${path("vm.state")}`)).toBe("");
    await reaches("paused (postmigrate)");
    await replace();
    expect(await guest.process.command("info status")).toBe("VM status: running");

    await guest.shell.ask(`until [ $(wc -l </root/load.log) -gt ${before + 2} ]; do sleep 0.2; done`, 240);
    const already = download.sent;
    while (download.sent < already + 100) await delay(20);
    download.end();
    await guest.shell.ask("touch /root/stop; wait", 240);
    expect(await guest.shell.ask("cat /root/sum")).toBe(`${download.sum()}  -`);
    expect(await guest.shell.ask("grep -cv right /root/load.log || true")).toBe("0");
    expect(await complaints()).toBe("");
    server.close();
  });

  it("goes through the example of QEMU's documentation with a suspended guest", { timeout: 300_000 }, async () => {
    expect(await status()).toBe("VM status: running");
    await agent("guest-suspend-ram", false);
    await reaches("paused (suspended)");
    await guest.process.chooseReboot();
    expect(await guest.process.command(`migrate -d file:${path("vm.state")}`)).toBe("");
    await reaches("paused (postmigrate)");

    await replace();
    expect(await status()).toBe("VM status: paused (suspended)");
    expect(await guest.process.command("system_wakeup")).toBe("");
    expect(await status()).toBe("VM status: running");

    await guest.shell.untilAwake(120);
    expect(await guest.shell.ask("dmesg")).toContain("PM: suspend exit");
    expect(JSON.parse(await agent("guest-ping", true))).toEqual({ return: {} });
    expect(await complaints()).toBe("");
  });

  it("is suspended and saved by one command, and loaded and woken by another", { timeout: 300_000 }, async () => {
    const words = ["--suspend-guest", "--agent", "qga0.sock"];
    expect(await beginCommand(folder, ["save", "vm.qmp", "vm.state", ...words]).ended).toMatchObject({ status: 0 });
    await startNext();
    expect(await beginCommand(folder, ["load", "vm.qmp", "vm.state", "--wakeup"]).ended).toMatchObject({ status: 0 });
    expect(await status()).toBe("VM status: running");
    await guest.shell.untilAwake(120);
    expect(await guest.shell.ask("dmesg | grep -c 'PM: suspend exit'")).toBe("2");
  });

  it("powers off, and leaves a file system in order", { timeout: 300_000 }, async () => {
    guest.shell.type("poweroff\n");
    expect((await guest.process.ended).status).toBe(0);
    execFileSync("/usr/sbin/e2fsck", ["-f", "-n", path("disk.img")], { stdio: "pipe" });
  });
});
