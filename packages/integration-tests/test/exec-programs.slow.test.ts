import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { findProgram, findSshServer } from "./host-programs.ts";
import { type ScratchMachine, scratchFolder, scratchMachine } from "./scratch.ts";

const kernel = buildGuestProgram("counter");
const tickOf = (line: string): number | undefined => {
  const match = /^tick (\d+) /.exec(line);
  return match === null ? undefined : Number(match[1]);
};

async function start(machine: ScratchMachine, path: string, ...more: string[]): Promise<CprProcess> {
  const process = new CprProcess(machine.options(more), { PATH: path });
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  await process.chooseReboot();
  return process;
}

/** Saves a guest through one command and loads it through another one: it goes on where it was. */
async function carries(outgoing: string, incoming: string, path = process.env["PATH"] ?? ""): Promise<ScratchMachine> {
  const machine = scratchMachine(kernel);
  const first = await start(machine, path);
  // RAM is in the stream too, so that it is not small.
  await first.command("migrate_set_capability x-ignore-shared off");
  await new FileLines(machine.console).until(tickOf, 30);
  expect(await first.command(`migrate exec:${outgoing.replaceAll("STATE", machine.state)}`)).toBe("");
  expect(await first.command("info status")).toBe("VM status: paused (postmigrate)");
  await first.quit();
  const last = lastTick(machine);
  const second = await start(machine, path, "-incoming", "defer");
  await second.command("migrate_set_capability x-ignore-shared off");
  expect(await second.command(`migrate_incoming exec:${incoming.replaceAll("STATE", machine.state)}`)).toBe("");
  expect(await second.command("info status")).toBe("VM status: running");
  await new FileLines(machine.console).until((line) => (tickOf(line) === last + 2 ? true : undefined), 30);
  return machine;
}

const lastTick = ({ console }: ScratchMachine): number =>
  Math.max(
    ...readFileSync(console, "latin1")
      .split(/\r?\n/)
      .map((line) => tickOf(line) ?? 0),
  );

const magic: Readonly<Record<string, string>> = { gzip: "1f8b", zstd: "28b52ffd", xz: "fd377a58", age: "6167652d" };

// The documented examples, with the program that they need and Debian's package of it.
it.for([
  ["gzip", "gzip", "gzip -c > STATE", "gzip -dc STATE"],
  ["zstd", "zstd", "zstd -q -T0 -c > STATE", "zstd -q -dc STATE"],
  ["xz", "xz-utils", "xz -0 -c > STATE", "xz -dc STATE"],
  [
    "age",
    "age",
    "age-keygen -o STATE.key 2> /dev/null && age -r $(age-keygen -y STATE.key) > STATE",
    "age -d -i STATE.key STATE",
  ],
] as const)("exec: carries a checkpoint through %s", async ([program, debianPackage, outgoing, incoming], { skip }) => {
  const found = await findProgram(program, debianPackage);
  if ("missing" in found) return skip(found.missing);
  const path = `${process.env["PATH"]}${delimiter}${dirname(found.path)}`;
  const { state } = await carries(outgoing, incoming, path);
  expect(
    readFileSync(state)
      .subarray(0, (magic[program] as string).length / 2)
      .toString("hex"),
  ).toBe(magic[program]);
});

it("exec: carries a checkpoint through cat, and keeps an older one if it is written beside and renamed", async () => {
  const { state } = await carries("cat > STATE.new && mv STATE.new STATE", "cat STATE");
  expect(readFileSync(state).subarray(0, 4).toString()).toBe("QEVM");
  expect(existsSync(`${state}.new`)).toBe(false);
});

it("exec: carries a checkpoint through ssh", async ({ skip }) => {
  const server = await findSshServer();
  if ("missing" in server) return skip(server.missing);
  // The server is the client's other end of a pipe: no port, no process that stays.
  const folder = scratchFolder();
  const key = join(folder, "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  execFileSync("cp", [`${key}.pub`, join(folder, "authorized")]);
  writeFileSync(
    join(folder, "sshd_config"),
    ["UsePAM no", "StrictModes no", `HostKey ${key}`, `AuthorizedKeysFile ${folder}/authorized`, "PermitRootLogin yes"]
      .join("\n")
      .concat("\n"),
  );
  writeFileSync(
    join(folder, "ssh_config"),
    [
      "Host storage",
      `  ProxyCommand ${server.path} -i -f ${folder}/sshd_config`,
      `  User ${userInfo().username}`,
      `  IdentityFile ${key}`,
      "  IdentitiesOnly yes",
      "  BatchMode yes",
      "  StrictHostKeyChecking no",
      "  UserKnownHostsFile /dev/null",
      "  LogLevel ERROR",
      "",
    ].join("\n"),
  );
  const ssh = `ssh -F ${folder}/ssh_config storage`;
  const { state } = await carries(`${ssh} 'cat > STATE'`, `${ssh} cat STATE`);
  expect(readFileSync(state).subarray(0, 4).toString()).toBe("QEVM");

  const machine = scratchMachine(kernel);
  const process = await start(machine, globalThis.process.env["PATH"] ?? "");
  await new FileLines(machine.console).until(tickOf, 30);
  expect(await process.command(`migrate exec:${ssh} 'cat > /nowhere/vm.state'`)).toMatch(
    /^Error: The command '.*' failed with exit status \d+: .*(No such file or directory|nonexistent)/,
  );
  expect(await process.command("info status")).toBe("VM status: running");
});

it("exec: a command that hangs is ended by migrate_cancel, and the guest runs on", async () => {
  const machine = scratchMachine(kernel);
  const process = await start(machine, globalThis.process.env["PATH"] ?? "");
  const lines = new FileLines(machine.console);
  await lines.until(tickOf, 30);
  await process.command("migrate_set_capability x-ignore-shared off");
  const marker = join(dirname(machine.state), "pid");
  expect(await process.command(`migrate -d exec:echo $$ > ${marker}; sleep 1000`)).not.toContain("Error");
  expect(await process.command("info migrate")).toMatch(/Migration status: (active|device)/);
  await process.command("migrate_cancel");
  await expect
    .poll(async () => process.command("info migrate"), { timeout: 20_000 })
    .toContain("Migration status: cancelled");
  expect(await process.command("info status")).toBe("VM status: running");
  const last = lastTick(machine);
  await lines.until((line) => ((tickOf(line) ?? 0) > last ? true : undefined), 30);
  const pid = readFileSync(marker, "latin1").trim();
  await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 20_000 }).toBe(false);
});

it("exec: a command that writes too little leaves the VM waiting, and it can be told to try again", async () => {
  const machine = scratchMachine(kernel);
  const path = globalThis.process.env["PATH"] ?? "";
  const first = await start(machine, path);
  await new FileLines(machine.console).until(tickOf, 30);
  expect(await first.command(`migrate exec:cat > ${machine.state}`)).toBe("");
  await first.quit();
  const second = await start(machine, path, "-incoming", "defer");
  expect(await second.command(`migrate_incoming exec:head -c 1000 ${machine.state}`)).toMatch(/^Error: /);
  expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
  expect(await second.command(`migrate_incoming exec:cat ${machine.state}; exit 5`)).toContain("exit status 5");
  expect(await second.command(`migrate_incoming exec:cat ${machine.state}; kill -9 $$`)).toContain("signal SIGKILL");
  expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
  expect(await second.command(`migrate_incoming exec:cat ${machine.state}`)).toBe("");
  expect(await second.command("info status")).toBe("VM status: running");
});
