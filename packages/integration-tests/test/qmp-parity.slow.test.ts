import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { buildGuestProgram } from "@cpr/guest-programs";
import { QmpClient } from "@cpr/monitor";
import { describe, expect, it, onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { scratchFolder } from "./scratch.ts";

const qemu = "qemu-system-x86_64";
const hasQemu = spawnSync(qemu, ["--version"]).status === 0;
if (!hasQemu) console.error(`NOTE: there is no ${qemu} here, so its answers are not compared with ours.`);

type Message = Readonly<Record<string, unknown>>;

/** One conversation with a VM over QMP, message by message. */
class Conversation {
  readonly events: string[] = [];
  readonly closed: Promise<unknown>;
  readonly #socket: Socket;
  readonly #answers: Message[] = [];
  #rest = "";
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    // QEMU does not end its connections, it drops them.
    socket.on("error", () => undefined);
    this.closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("data", (bytes: Buffer) => {
      const lines = (this.#rest + bytes.toString()).split("\r\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) this.#take(JSON.parse(line) as Message);
      this.#wake();
    });
  }

  async next(): Promise<Message> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer !== undefined) return answer;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Takes the greeting, negotiates, and asks for the events of migrations. */
  async begin(...more: string[]): Promise<void> {
    await this.next();
    await this.execute("qmp_capabilities");
    const capabilities = ["events", ...more].map((capability) => ({ capability, state: true }));
    await this.execute("migrate-set-capabilities", { capabilities });
    await this.execute("migrate-set-parameters", { mode: "cpr-reboot" });
  }

  /** Waits for an event, and asks harmless questions meanwhile. */
  async until(event: string): Promise<void> {
    while (!this.events.includes(event)) await this.execute("query-name");
  }

  /** Waits for the end of a migration: QEMU tells of it before the VM is in postmigrate. */
  async saved(): Promise<void> {
    await this.until("MIGRATION completed");
    while (((await this.execute("query-status")) as Message)["status"] !== "postmigrate");
  }

  async ask(text: string): Promise<Message> {
    this.#socket.write(`${text}\n`);
    return this.next();
  }

  async execute(execute: string, values: object = {}): Promise<unknown> {
    const answer = await this.ask(JSON.stringify({ execute, arguments: values }));
    expect(answer, execute).toHaveProperty("return");
    return answer["return"];
  }

  #take(message: Message): void {
    const { event, data } = message as { event?: string; data?: object };
    if (event === undefined) this.#answers.push(message);
    else this.events.push([event, ...Object.values(data ?? {})].join(" "));
  }
}

/** Starts a program with a QMP socket. */
async function socketOf(command: string, options: readonly string[]): Promise<string> {
  const path = join(scratchFolder(), "qmp.sock");
  const child: ChildProcess = spawn(command, [...options, "-qmp", `unix:${path},server=on,wait=off`], {
    stdio: "ignore",
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
  return path;
}

/** Our client, as soon as somebody listens. */
async function connectClient(path: string): Promise<QmpClient> {
  for (;;) {
    try {
      return await QmpClient.connect(path);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Starts a program and converses with it. */
async function converse(command: string, options: readonly string[]): Promise<Conversation> {
  const path = await socketOf(command, options);
  for (;;) {
    // The file is there before anybody listens.
    const socket = connect(path);
    try {
      await once(socket, "connect");
      return new Conversation(socket);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The same conversation with QEMU and with cpr, beyond greeting and negotiation. */
async function both(...options: string[]): Promise<readonly [theirs: Conversation, ours: Conversation]> {
  const common = ["-m", "64M", "-name", "guest", "-uuid", "550e8400-e29b-41d4-a716-446655440000", ...options];
  return Promise.all([
    converse(qemu, ["-nodefaults", "-display", "none", "-machine", "pc,accel=tcg", ...common]),
    converse(process.execPath, [
      ...[cprCommand, "run", "-kernel", buildGuestProgram("counter"), "-serial", "null", "-monitor", "none", ...common],
    ]),
  ]);
}

const errorOf = ({ error }: Message): Message => {
  const { class: name, desc } = (error ?? {}) as Message;
  return { class: name, desc };
};

const channels = (...list: string[]) => `{"execute":"migrate","arguments":{"channels":[${list.join(",")}]}}`;
const main = (address: string) => channels(`{"channel-type":"main","addr":${address}}`);
const file = '{"channel-type":"main","addr":{"transport":"file","filename":"x","offset":0}}';
const set = (name: string, members: string) => `{"execute":"migrate-set-${name}","arguments":{${members}}}`;

/** What is refused, and must be refused in the same words. */
const refused: readonly string[] = [
  '{"execute":"qmp_capabilities"}',
  '{"execute":"nonsense"}',
  "null",
  "[1]",
  "{}",
  '{"execute":true}',
  '{"execute":"stop","arguments":[]}',
  '{"execute":"stop","extra":1}',
  '{"execute":"stop","arguments":{"a":1}}',
  '{"execute":"human-monitor-command"}',
  '{"execute":"human-monitor-command","arguments":{"command-line":3}}',
  '{"execute":"system_wakeup"}',
  '{"execute":"migrate"}',
  '{"execute":"migrate","arguments":{"uri":"foo:bar"}}',
  '{"execute":"migrate","arguments":{"uri":"foo"}}',
  '{"execute":"migrate","arguments":{"uri":3}}',
  '{"execute":"migrate","arguments":{"uri":"file:x,offset=0x20M"}}',
  '{"execute":"migrate","arguments":{"uri":"file:x","resume":true}}',
  channels(),
  channels("3"),
  channels(file, file),
  channels('{"channel-type":"blub","addr":{"transport":"file"}}'),
  channels('{"addr":{"transport":"file","filename":"x","offset":0}}'),
  main('{"transport":"foo"}'),
  main('{"transport":"file"}'),
  main('{"transport":"file","filename":"x"}'),
  main('{"transport":"file","filename":"x","offset":"a"}'),
  main('{"transport":"file","filename":"x","offset":0,"more":1}'),
  main('{"transport":"exec","args":[1]}'),
  main('{"transport":"exec"}'),
  main('{"transport":"socket"}'),
  main('{"transport":"socket","type":"foo"}'),
  main('{"transport":"socket","type":"unix"}'),
  main('{"transport":"socket","type":"inet","host":"localhost"}'),
  '{"execute":"migrate","arguments":{"channels":{"a":1}}}',
  '{"execute":"migrate-incoming","arguments":{"uri":"file:x"}}',
  '{"execute":"migrate-continue"}',
  '{"execute":"migrate-continue","arguments":{"state":"foo"}}',
  '{"execute":"migrate-continue","arguments":{"state":"pre-switchover"}}',
  set("capabilities", ""),
  set("capabilities", '"capabilities":[3]'),
  set("capabilities", '"capabilities":[{"capability":"foo","state":true}]'),
  set("capabilities", '"capabilities":[{"capability":"events"}]'),
  set("capabilities", '"capabilities":[{"capability":"events","state":1}]'),
  set("parameters", '"foo":1'),
  set("parameters", '"mode":"foo"'),
  set("parameters", '"mode":3'),
  set("parameters", '"max-bandwidth":"foo"'),
  set("parameters", '"direct-io":1'),
];

/** What is refused in other words than QEMU 10.0's: later ones have ours, or ours do not tell how it is done. */
const otherwise: Readonly<Record<string, string>> = {
  [set("parameters", '"multifd-channels":0')]: "Option multifd_channels expects a value between 1 and 255",
  [set("parameters", '"downtime-limit":3000000')]:
    "Option downtime_limit expects an integer in the range of 0 to 2000000 ms",
  '{"execute":"migrate","arguments":{"uri":"file:/nowhere/vm.state"}}':
    "Could not open '/nowhere/vm.state': No such file or directory",
};

/** Where ours has the same members as theirs, and of the same types. */
function expectSameShape(theirs: unknown, ours: unknown, path: string): void {
  expect(typeof ours, path).toBe(typeof theirs);
  if (Array.isArray(theirs)) {
    if (theirs.length > 0) expectSameShape(theirs[0], (ours as unknown[])[0], `${path}[0]`);
  } else if (typeof theirs === "object" && theirs !== null) {
    for (const [name, value] of Object.entries(theirs)) {
      expectSameShape(value, (ours as Message)[name], `${path}.${name}`);
    }
  }
}

/**
 * What has happened, without how often RAM was gone through, what the guest did (they are different ones), and how the start
 * went before anybody was there to see.
 */
const story = ({ events }: Conversation): readonly string[] =>
  events
    .slice(events[0] === "RESUME" ? 1 : 0)
    .filter((event) => !event.startsWith("MIGRATION_PASS ") && event !== "RESET true guest-reset");

/** Only where there is a QEMU to compare with. */
const compared = describe.runIf(hasQemu);

compared("QMP beside QEMU's", () => {
  it("refuses what is malformed, unknown or wrong in the same words", async () => {
    const [theirs, ours] = await both("-S");
    // QEMU offers the capability `oob`, and we do not.
    await Promise.all([theirs.next(), ours.next()]);
    for (const each of ['{"execute":"query-status"}', '{"execute":"qmp_capabilities","arguments":{"enable":"x"}}']) {
      expect(errorOf(await ours.ask(each))).toEqual(errorOf(await theirs.ask(each)));
    }
    await Promise.all([theirs, ours].map((conversation) => conversation.execute("qmp_capabilities")));
    const differences: unknown[] = [];
    for (const each of refused) {
      const [wanted, got] = [errorOf(await theirs.ask(each)), errorOf(await ours.ask(each))];
      if (!isDeepStrictEqual(wanted, got)) differences.push({ request: each, wanted, got });
    }
    expect(differences).toEqual([]);
    for (const [each, desc] of Object.entries(otherwise)) {
      expect(errorOf(await theirs.ask(each)), each).toMatchObject({ class: "GenericError" });
      expect(errorOf(await ours.ask(each)), each).toEqual({ class: "GenericError", desc });
    }
  });

  it("is spoken by our client with QEMU too", async () => {
    const path = await socketOf(qemu, ["-nodefaults", "-display", "none", "-machine", "pc,accel=tcg", "-S"]);
    await using client = await connectClient(path);
    expect((await client.version()).qemu.major).toBeGreaterThanOrEqual(8);
    const resumed = client.event(({ event }) => event === "RESUME");
    await client.execute("cont");
    await resumed;
    expect(await client.execute("query-status")).toMatchObject({ status: "running" });
    await expect(client.execute("system_wakeup")).rejects.toMatchObject({
      code: "ERR_CPR_QMP_REFUSED",
      message: "Unable to wake up: guest is not in suspended state",
      details: { class: "GenericError" },
    });
  });

  it("answers queries with the same members, and tells of a migration by the same events", async () => {
    const folder = scratchFolder();
    const object = (name: string) => `memory-backend-file,id=ram0,size=64M,mem-path=${join(folder, name)},share=on`;
    const [theirs, ours] = await Promise.all([
      converse(qemu, [
        ...["-nodefaults", "-display", "none", "-machine", "pc,accel=tcg,memory-backend=ram0", "-m", "64M"],
        ...["-name", "guest", "-object", object("theirs")],
      ]),
      converse(process.execPath, [
        ...[cprCommand, "run", "-kernel", buildGuestProgram("counter"), "-serial", "null", "-monitor", "none"],
        ...["-name", "guest", "-object", object("ours"), "-m", "64M"],
      ]),
    ]);
    const queries = async (conversation: Conversation): Promise<Message> => ({
      version: await conversation.execute("query-version"),
      status: await conversation.execute("query-status"),
      name: await conversation.execute("query-name"),
      uuid: await conversation.execute("query-uuid"),
      processors: await conversation.execute("query-cpus-fast"),
      memory: await conversation.execute("query-memdev"),
      parameters: await conversation.execute("query-migrate-parameters"),
      migration: await conversation.execute("query-migrate"),
    });
    const answers: Message[] = [];
    for (const [index, conversation] of [theirs, ours].entries()) {
      await conversation.begin("x-ignore-shared");
      await conversation.execute("migrate", { uri: `file:${join(folder, `${index}.state`)}` });
      await conversation.saved();
      answers.push(await queries(conversation));
    }
    const [of = {}, ourAnswers = {}] = answers;
    expectSameShape(of, ourAnswers, "answers");
    expect(ourAnswers["status"]).toEqual(of["status"]);
    expect(story(ours)).toEqual(story(theirs));
  });

  it("tells what happens to a VM by the same events in the same order", async () => {
    const folder = scratchFolder();
    const outgoing = await both();
    for (const [index, conversation] of outgoing.entries()) {
      await conversation.begin("pause-before-switchover");
      for (const command of ["stop", "stop", "cont", "cont", "system_reset", "system_powerdown"]) {
        await conversation.execute(command);
      }
      await conversation.ask('{"execute":"migrate","arguments":{"uri":"file:/nowhere/vm.state"}}');
      expect(await conversation.execute("query-status")).toMatchObject({ running: true });
      await conversation.execute("migrate", { uri: `file:${join(folder, `${index}.state`)}` });
      await conversation.until("MIGRATION pre-switchover");
      expect(await conversation.ask('{"execute":"cont"}')).toMatchObject({
        error: { desc: "Migration is not finalized yet" },
      });
      await conversation.execute("migrate-continue", { state: "pre-switchover" });
      await conversation.saved();
      await conversation.execute("cont");
      await conversation.execute("quit");
      await conversation.closed;
    }
    expect(story(outgoing[1])).toEqual(story(outgoing[0]));

    const incoming = await both("-incoming", "defer");
    for (const [index, conversation] of incoming.entries()) {
      await conversation.begin();
      expect(await conversation.execute("query-status")).toEqual({ running: false, status: "inmigrate" });
      await conversation.execute("migrate-incoming", { uri: `file:${join(folder, `${index}.state`)}` });
      await conversation.until("MIGRATION completed");
      expect(await conversation.execute("query-status")).toEqual({ running: true, status: "running" });
    }
    expect(story(incoming[1])).toEqual(story(incoming[0]));
  });
});
