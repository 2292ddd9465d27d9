import { type MonitorCommand, machineErrors, networkErrors } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { type Message, qmpFixture, type RawClient } from "./qmp-conversation.ts";

/** What QEMU's own test sends: nothing of it is a command, and each is refused. */
const malformed: readonly [string | Buffer, string][] = [
  ["{]\n", "GenericError: JSON parse error, "],
  [Buffer.from('{"bad \xff', "latin1"), "GenericError: JSON parse error, stray"],
  ["{\x01", "GenericError: JSON parse error, stray"],
  ["{'execute': 'nonexistent', 'id':'\n", "GenericError: JSON parse error, stray"],
  ["%p", "GenericError: JSON parse error, stray '%'"],
  ["null\n", "GenericError: QMP input must be a JSON object"],
  ["[1]", "GenericError: QMP input must be a JSON object"],
  ["{}", "GenericError: QMP input lacks member 'execute'"],
  ["{ 'execute': true }", "GenericError: QMP input member 'execute' must be a string"],
  ["{ 'execute': 'no-such-cmd', 'arguments': [] }", "GenericError: QMP input member 'arguments' must be an object"],
  ["{ 'execute': 'no-such-cmd', 'extra': true }", "GenericError: QMP input member 'extra' is unexpected"],
  ["{ 'exec-oob': 'stop' }", "GenericError: QMP input member 'exec-oob' is unexpected"],
];

async function expectMalformedRefused(client: RawClient): Promise<void> {
  for (const [text, refusal] of malformed) {
    expect(await client.refusal(text)).toContain(refusal);
    expect(await client.refusal("{ 'execute': 'no-such-cmd' }")).toMatch(/^CommandNotFound: /);
  }
}

describe("QMP", () => {
  it("greets with a version in QEMU's form, and offers no capability", async () => {
    const { client } = await qmpFixture();
    expect(await client().next()).toEqual({
      QMP: {
        version: {
          qemu: { major: expect.any(Number), minor: expect.any(Number), micro: expect.any(Number) },
          package: expect.stringMatching(/^cpr \d/),
        },
        capabilities: [],
      },
    });
  });

  it("takes no command before capabilities are negotiated, and negotiates once", async () => {
    const { client } = await qmpFixture();
    const one = client();
    await one.next();
    expect(await one.refusal('{"execute":"query-version"}')).toBe(
      "CommandNotFound: Expecting capabilities negotiation with 'qmp_capabilities'",
    );
    await expectMalformedRefused(one);
    expect(await one.refusal('{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}')).toBe(
      "GenericError: Capability oob not available",
    );
    expect(await one.refusal('{"execute":"qmp_capabilities","arguments":{"enable":["cap"]}}')).toContain(
      "does not accept value 'cap'",
    );
    expect(await one.ask('{"execute":"qmp_capabilities"}')).toEqual({ return: {} });
    expect(await one.refusal('{"execute":"qmp_capabilities"}')).toBe(
      "CommandNotFound: Capabilities negotiation is already complete, command ignored",
    );
    await expectMalformedRefused(one);
    expect(await one.ask('{"execute":"query-status"}')).toEqual({ return: { running: true, status: "running" } });
  });

  it("gives an id of any kind back as it was", async () => {
    const { client } = await qmpFixture();
    const one = client();
    await one.negotiate();
    for (const id of ["1", '"x"', "null", '{"a":[1,"b"]}', "1.5"]) {
      expect(await one.ask(`{"execute":"stop","id":${id}}`)).toEqual({ return: {}, id: JSON.parse(id) });
    }
    const { promise, resolve } = Promise.withResolvers<string>();
    one.socket.once("data", (bytes: Buffer) => resolve(bytes.toString()));
    one.send('{"execute":"stop","id":18446744073709551615}');
    expect(await promise).toContain('"id":18446744073709551615');
    await one.next();
    expect(await one.ask('{"execute":"no-such-cmd","id":2}')).toMatchObject({
      id: 2,
      error: { class: "CommandNotFound", desc: "The command no-such-cmd has not been found" },
    });
  });

  it("tells of an error by QEMU's class and text, and by code, category, hint and details beside them", async () => {
    const { client, machine } = await qmpFixture();
    const one = client();
    await one.negotiate();
    machine.failure = machineErrors.ERR_CPR_NOT_SUSPENDED({ runState: "running" });
    expect(await one.ask('{"execute":"system_wakeup"}')).toMatchObject({
      error: {
        class: "GenericError",
        desc: "Unable to wake up: guest is not in suspended state",
        cpr: { code: "ERR_CPR_NOT_SUSPENDED", category: "refused", details: { runState: "running" } },
      },
    });
    machine.failure = machineErrors.ERR_CPR_CHARACTER_DEVICE({ id: "serial9", known: [] });
    expect(await one.refusal('{"execute":"stop"}')).toMatch(/^DeviceNotFound: /);
  });

  it("takes commands that are cut into packets, and several in one, and answers in their order", async () => {
    const { client } = await qmpFixture();
    const one = client();
    await one.negotiate();
    for (const piece of ['{"exec', 'ute":"query-st', 'atus"', "}"]) {
      one.send(piece);
      await new Promise(setImmediate);
    }
    expect(await one.next()).toMatchObject({ return: { running: true } });
    one.send('{"execute":"stop","id":1}{"execute":"query-status","id":2}\n\n{"execute":"cont","id":3}');
    expect(await one.next()).toMatchObject({ id: 1 });
    expect(await one.next()).toMatchObject({ id: 2, return: { status: "paused" } });
    expect(await one.next()).toMatchObject({ id: 3 });
  });

  it("serves several clients at once, and one whose command takes long does not hold up another", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow: MonitorCommand = { name: "slow", summary: "slow", arguments: [], execute: () => promise };
    const { client } = await qmpFixture([slow]);
    const [one, two] = [client(), client()];
    await Promise.all([one.negotiate(), two.negotiate()]);
    one.send('{"execute":"slow","id":"one"}');
    expect(await two.ask('{"execute":"query-name"}')).toMatchObject({ return: { name: "fake" } });
    resolve();
    expect(await one.next()).toEqual({ id: "one", return: {} });
  });

  it("sends events with their time to those who have negotiated", async () => {
    const { client, machine } = await qmpFixture();
    const [one, two] = [client(), client()];
    await one.negotiate();
    await two.next();
    const begun = Date.now();
    machine.emit({ event: "STOP" });
    machine.emit({ event: "RESET", guest: true });
    machine.emit({ event: "RESET", guest: false });
    machine.emit({ event: "SHUTDOWN", guest: true, reason: "guest-shutdown" });
    machine.emit({ event: "MIGRATION", status: "active" });
    machine.emit({ event: "MIGRATION_PASS", pass: 1 });
    machine.emit({ event: "GUEST_PANICKED", report: "…" });
    machine.emit({
      ...{
        event: "BLOCK_IO_ERROR",
        device: "disk0",
        operation: "write",
        noSpace: true,
        reason: "No space left on device",
      },
      report: "…",
    });
    machine.emit({ event: "VSERPORT_CHANGE", id: "channel0", open: true });
    machine.emit({ event: "DEVICE_NEEDS_RESET", device: "net0", reason: "a chain of 257 descriptors", report: "…" });
    machine.emit({ event: "INTERNAL_ERROR", report: "no such instruction" });
    const timestamp = { seconds: expect.any(Number), microseconds: expect.any(Number) };
    const first = await one.next();
    expect(first).toEqual({ event: "STOP", timestamp });
    const { seconds, microseconds } = (first as Message)["timestamp"] as { seconds: number; microseconds: number };
    expect(Math.abs(seconds * 1000 + microseconds / 1000 - begun)).toBeLessThan(3_600_000);
    for (const [event, data] of [
      ["RESET", { guest: true, reason: "guest-reset" }],
      ["RESET", { guest: false, reason: "host-qmp-system-reset" }],
      ["SHUTDOWN", { guest: true, reason: "guest-shutdown" }],
      ["MIGRATION", { status: "active" }],
      ["MIGRATION_PASS", { pass: 1 }],
      ["GUEST_PANICKED", { action: "poweroff" }],
      [
        "BLOCK_IO_ERROR",
        {
          ...{ device: "disk0", "node-name": "disk0", operation: "write", action: "report", nospace: true },
          reason: "No space left on device",
        },
      ],
      ["VSERPORT_CHANGE", { id: "channel0", open: true }],
      ["X_DEVICE_NEEDS_RESET", { device: "net0", reason: "a chain of 257 descriptors" }],
    ]) {
      expect(await one.next()).toEqual({ event, data, timestamp });
    }
    expect(await one.next()).toEqual({ event: "STOP", timestamp });
    expect(await one.next()).toEqual({ event: "X_INTERNAL_ERROR", data: { report: "no such instruction" }, timestamp });
    // The other one has seen none of them.
    expect(await two.ask('{"execute":"qmp_capabilities"}')).toEqual({ return: {} });
  });

  it("lets a client go that does not read, and serves the others", async () => {
    const { client, machine } = await qmpFixture();
    const [deaf, other] = [client(), client()];
    await Promise.all([deaf.negotiate(), other.negotiate()]);
    deaf.socket.pause();
    const gone = new Promise((resolve) => deaf.socket.once("close", resolve));
    for (let count = 0; count < 2000; count += 1) {
      machine.emit({ event: "INTERNAL_ERROR", report: "x".repeat(1024) });
      // The other one reads all of them.
      expect(await other.next()).toMatchObject({ event: "STOP" });
      expect(await other.next()).toMatchObject({ event: "X_INTERNAL_ERROR" });
    }
    expect(await other.ask('{"execute":"query-name"}')).toMatchObject({ return: { name: "fake" } });
    deaf.socket.resume();
    await gone;
  });

  it("carries out no more commands of a client that takes no answers", async () => {
    let executed = 0;
    const long: MonitorCommand = {
      name: "long",
      summary: "long",
      arguments: [],
      execute: async () => {
        executed += 1;
        return "x".repeat(100_000);
      },
    };
    const { client } = await qmpFixture([long]);
    const one = client();
    await one.negotiate();
    one.socket.pause();
    one.send('{"execute":"long"}'.repeat(100));
    const other = client();
    await other.negotiate();
    for (let count = 0; count < 20; count += 1) await other.ask('{"execute":"query-name"}');
    expect(executed).toBeLessThan(50);
    one.socket.resume();
    for (let count = 0; count < 100; count += 1) expect(await one.next()).toMatchObject({ return: expect.anything() });
  });

  it("ends with a client that goes without having taken its answers", async () => {
    const long: MonitorCommand = {
      ...{ name: "long", summary: "long", arguments: [] },
      execute: async () => "x".repeat(2_000_000),
    };
    const { client, server } = await qmpFixture([long]);
    const one = client();
    await one.negotiate();
    one.socket.pause();
    one.send('{"execute":"long"}{"execute":"long"}');
    await new Promise((resolve) => setTimeout(resolve, 50));
    one.socket.destroy();
    await server.close();
  });

  it("carries out what came before a client ended its side, and ends the other", async () => {
    const { client, machine } = await qmpFixture();
    const one = client();
    await one.negotiate();
    one.socket.end('{"execute":"stop","id":1}{"execute":"cont","id":2}');
    expect(await one.next()).toMatchObject({ id: 1 });
    expect(await one.next()).toMatchObject({ id: 2 });
    expect(await one.next()).toBeUndefined();
    expect(machine.calls.map(([name]) => name).slice(-2)).toEqual(["stop", "cont"]);
  });

  it("answers the command that is under way when the server ends", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow: MonitorCommand = { name: "slow", summary: "slow", arguments: [], execute: () => promise };
    const { client, server } = await qmpFixture([slow]);
    const one = client();
    await one.negotiate();
    one.send('{"execute":"slow","id":1}{"execute":"query-name","id":2}');
    await new Promise((done) => setTimeout(done, 50));
    const closed = server.close();
    resolve();
    await closed;
    expect(await one.next()).toEqual({ id: 1, return: {} });
    expect(await one.next()).toBeUndefined();
  });
});

describe("arguments of QMP commands", () => {
  it.each([
    ['{"execute":"stop","arguments":{"a":1}}', "Parameter 'a' is unexpected"],
    ['{"execute":"human-monitor-command"}', "Parameter 'command-line' is missing"],
    [
      '{"execute":"human-monitor-command","arguments":{"command-line":3}}',
      "Invalid parameter type for 'command-line', expected: string",
    ],
    [
      '{"execute":"human-monitor-command","arguments":{"command-line":"","cpu-index":"a"}}',
      "Invalid parameter type for 'cpu-index', expected: integer",
    ],
    [
      '{"execute":"qmp_capabilities","arguments":{"enable":"x"}}',
      "Capabilities negotiation is already complete, command ignored",
    ],
  ])("%s is refused with QEMU's text", async (text, desc) => {
    const { client } = await qmpFixture();
    const one = client();
    await one.negotiate();
    expect(await one.ask(text)).toMatchObject({ error: { desc } });
  });
});

const channels = (...list: string[]) => `{"execute":"migrate","arguments":{"channels":[${list.join(",")}]}}`;
const main = (address: string) => channels(`{"channel-type":"main","addr":${address}}`);
const parameters = (members: string) => `{"execute":"migrate-set-capabilities","arguments":${members}}`;

describe("structured arguments", () => {
  it.each([
    ['{"execute":"migrate"}', "need either 'uri' or 'channels' argument"],
    ['{"execute":"migrate","arguments":{"uri":3}}', "Invalid parameter type for 'uri', expected: string"],
    [
      '{"execute":"migrate","arguments":{"channels":{"a":1}}}',
      "Invalid parameter type for 'channels', expected: array",
    ],
    [channels("3"), "Invalid parameter type for 'channels[0]', expected: object"],
    [main('{"transport":"foo"}'), "Parameter 'transport' does not accept value 'foo'"],
    [
      channels('{"channel-type":"blub","addr":{"transport":"file"}}'),
      "Parameter 'channel-type' does not accept value 'blub'",
    ],
    [
      channels('{"addr":{"transport":"file","filename":"x","offset":0}}'),
      "Parameter 'channels[0].channel-type' is missing",
    ],
    [main('{"transport":"file"}'), "Parameter 'channels[0].addr.filename' is missing"],
    [main('{"transport":"file","filename":"x"}'), "Parameter 'channels[0].addr.offset' is missing"],
    [main('{"transport":"file","filename":"x","offset":"a"}'), "Parameter 'channels[0].addr.offset' expects uint64"],
    [
      main('{"transport":"file","filename":"x","offset":0,"more":1}'),
      "Parameter 'channels[0].addr.more' is unexpected",
    ],
    [
      main('{"transport":"exec","args":[1]}'),
      "Invalid parameter type for 'channels[0].addr.args[0]', expected: string",
    ],
    [main('{"transport":"socket","type":"foo"}'), "Parameter 'type' does not accept value 'foo'"],
    [main('{"transport":"socket"}'), "Parameter 'channels[0].addr.type' is missing"],
    [
      '{"execute":"migrate","arguments":{"uri":"file:a","resume":true}}',
      "Cannot resume if there is no paused migration",
    ],
    ['{"execute":"migrate-continue","arguments":{"state":"foo"}}', "Parameter 'state' does not accept value 'foo'"],
    [
      parameters('{"capabilities":[{"capability":"foo","state":true}]}'),
      "Parameter 'capability' does not accept value 'foo'",
    ],
    [parameters('{"capabilities":[{"capability":"events"}]}'), "Parameter 'capabilities[0].state' is missing"],
    [
      parameters('{"capabilities":[{"capability":"events","state":1}]}'),
      "Invalid parameter type for 'capabilities[0].state', expected: boolean",
    ],
    [parameters('{"capabilities":[3]}'), "Invalid parameter type for 'capabilities[0]', expected: object"],
  ])("%s is refused as in QEMU", async (text, desc) => {
    const { client, machine } = await qmpFixture();
    const one = client();
    await one.negotiate();
    expect(await one.ask(text)).toMatchObject({ error: { class: "GenericError", desc } });
    expect(machine.calls).toEqual([]);
  });

  it("reach the VM", async () => {
    const { client, machine } = await qmpFixture();
    const one = client();
    await one.negotiate();
    await one.ask(parameters('{"capabilities":[{"capability":"events","state":true}]}'));
    await one.ask('{"execute":"migrate-set-parameters","arguments":{"mode":"cpr-reboot","max-bandwidth":1000}}');
    await one.ask(main('{"transport":"file","filename":"vm.state","offset":4096}'));
    await one.ask('{"execute":"migrate-incoming","arguments":{"uri":"file:vm.state"}}');
    expect(machine.calls.filter(([name]) => name !== "planMigration")).toEqual([
      ["setCapabilities", [{ capability: "events", state: true }]],
      ["setParameters", { mode: "cpr-reboot", "max-bandwidth": 1000 }],
      ["migrate", "file:vm.state,offset=4096"],
      ["migrateIncoming", "file:vm.state", { exitOnError: true }],
    ]);
  });
});

describe("what queries answer", () => {
  it("has QEMU's members", async () => {
    const { client } = await qmpFixture();
    const one = client();
    await one.negotiate();
    const query = async (execute: string) => (await one.ask(JSON.stringify({ execute })))?.["return"];
    expect(await query("query-migrate")).toEqual({});
    await one.ask('{"execute":"migrate","arguments":{"uri":"file:vm.state"}}');
    expect(await query("query-migrate")).toEqual({
      status: "completed",
      "total-time": 2,
      "setup-time": 1,
      downtime: 1,
      ram: {
        transferred: 4096,
        remaining: 0,
        total: 1_048_576,
        duplicate: 255,
        normal: 1,
        "normal-bytes": 4096,
        "dirty-pages-rate": 0,
        mbps: expect.closeTo(32.768),
        "dirty-sync-count": 1,
        "postcopy-requests": 0,
        "page-size": 4096,
        "multifd-bytes": 0,
        "pages-per-second": 256_000,
        "precopy-bytes": 0,
        "downtime-bytes": 4096,
        "postcopy-bytes": 0,
        "dirty-sync-missed-zero-copy": 0,
        "x-in-place": 0,
      },
    });
    expect(await query("query-memdev")).toMatchObject([
      {
        ...{ id: "ram0", size: 1_048_576, merge: false, dump: true, prealloc: false, share: true, reserve: true },
        ...{ "host-nodes": [], policy: "default" },
      },
    ]);
    expect(await query("query-cpus-fast")).toMatchObject([
      { "cpu-index": 0, target: "x86_64", "thread-id": process.pid, props: { "socket-id": 0 } },
    ]);
    expect(await query("query-balloon")).toEqual({ actual: 64 << 20 });
    expect(await query("query-chardev")).toEqual([
      { label: "serial0", filename: "stdio", "frontend-open": true },
      { label: "agent", filename: "disconnected:unix:/run/agent.sock,server=on", "frontend-open": false },
    ]);
    expect(await query("query-uuid")).toEqual({ UUID: "550e8400-e29b-41d4-a716-446655440000" });
    expect(await query("query-migrate-capabilities")).toContainEqual({ capability: "events", state: false });
    expect(await query("query-migrate-parameters")).toMatchObject({ mode: "normal" });
    const names = ((await query("query-commands")) as { name: string }[]).map(({ name }) => name);
    expect(names).toContain("qmp_capabilities");
    expect(names).toContain("migrate-set-parameters");
    // What is for people only is none of QMP's business.
    expect(names.filter((name) => name === "x-help" || name === "x-migrate-set-parameter")).toEqual([]);
    expect(await one.refusal('{"execute":"x-help"}')).toBe("CommandNotFound: The command x-help has not been found");
  });
});

describe("balloon", () => {
  it("takes bytes from programs and MiB from people, and tells what comes of it", async () => {
    const { client, machine } = await qmpFixture();
    const one = client();
    await one.negotiate();
    expect(await one.ask('{"execute":"balloon","arguments":{"value":536870912}}')).toMatchObject({ return: {} });
    const line = (text: string): string =>
      JSON.stringify({ execute: "human-monitor-command", arguments: { "command-line": text } });
    expect(await one.ask(line("balloon 512"))).toMatchObject({ return: "" });
    expect(await one.ask(line("balloon 1G"))).toMatchObject({ return: "" });
    expect(machine.calls).toEqual([536_870_912, 536_870_912, 2 ** 30].map((bytes) => ["setBalloon", bytes]));
    expect(await one.refusal('{"execute":"balloon","arguments":{"value":0}}')).toBe(
      "GenericError: Parameter 'target' expects a size",
    );
    machine.failure = machineErrors.ERR_CPR_NO_BALLOON({});
    expect(await one.refusal('{"execute":"query-balloon"}')).toBe(
      "DeviceNotActive: No balloon device has been activated",
    );
    machine.emit({ event: "BALLOON_CHANGE", actual: 536_870_912 });
    expect(await one.next()).toMatchObject({ event: "BALLOON_CHANGE", data: { actual: 536_870_912 } });
  });
});

describe("set_link", () => {
  it("takes a truth from programs, and on or off from people", async () => {
    const { client, machine } = await qmpFixture();
    const one = client();
    await one.negotiate();
    const ask = '{"execute":"set_link","arguments":{"name":"net0","up":false}}';
    expect(await one.ask(ask)).toMatchObject({ return: {} });
    const line = { execute: "human-monitor-command", arguments: { "command-line": "set_link net0 on" } };
    expect(await one.ask(JSON.stringify(line))).toMatchObject({ return: "" });
    expect(machine.calls).toEqual([
      ["setLink", "net0", false],
      ["setLink", "net0", true],
    ]);
    machine.failure = networkErrors.ERR_CPR_NO_LINK({ name: "net0", known: [] });
    expect(await one.refusal(ask)).toBe("DeviceNotFound: Device 'net0' not found");
  });
});

describe("human-monitor-command", () => {
  it("gives what a person would have read, errors too", async () => {
    const { client } = await qmpFixture();
    const one = client();
    await one.negotiate();
    const line = async (text: string) =>
      (await one.ask(JSON.stringify({ execute: "human-monitor-command", arguments: { "command-line": text } })))?.[
        "return"
      ];
    expect(await line("info status")).toBe("VM status: running\r\n");
    expect(await line("stop")).toBe("");
    expect(await line("info balloon")).toBe("balloon: actual=64\r\n");
    expect(await line("info chardev")).toBe(
      "serial0: filename=stdio\r\nagent: filename=disconnected:unix:/run/agent.sock,server=on\r\n",
    );
    expect(await line("nonsense")).toContain("unknown command: 'nonsense'\r\n");
  });
});
