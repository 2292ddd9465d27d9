import { constants } from "node:os";
import type { Worker } from "node:worker_threads";
import { createVirtualMachine, DeviceModel, Kernel, MonitorCommand, type VirtualMachine } from "@cpr/core";
import { CharacterBackends } from "./character-backends/character-backends.ts";
import { planRun } from "./configuration.ts";
import { describeDevices, helpAsked } from "./device-options.ts";
import { installedPlugins } from "./installed-plugins.ts";
import type { RunOptions } from "./run-options.ts";

/** `cpr run`. Fulfilled with the exit status when the VM has ended. */
export async function run(options: RunOptions, thread?: Worker): Promise<number> {
  for (const text of options.device) {
    const help = helpAsked(text);
    if (help === undefined) continue;
    await using kernel = new Kernel(installedPlugins(options.plugin));
    process.stdout.write(describeDevices(await kernel.all(DeviceModel), help.model));
    return 0;
  }
  const { configuration, characterDevices: ends, streams, sockets: wanted } = planRun(options);
  await using kernel = new Kernel(installedPlugins(options.plugin));
  let monitor: ReturnType<typeof loadMonitor> | undefined;
  // Not needed by most, and the start should be short.
  const sockets =
    wanted.length === 0 ? undefined : await (await import("./monitor-sockets.ts")).MonitorSockets.open(wanted);
  using removal = new DisposableStack();
  removal.defer(() => sockets?.close());
  const characterBackends = await CharacterBackends.open(ends);
  removal.defer(() => characterBackends.release());
  let machine: VirtualMachine | undefined;
  const quit = (signal: NodeJS.Signals): void => {
    if (machine === undefined) {
      sockets?.close();
      characterBackends.release();
      process.exit(128 + constants.signals[signal]);
    }
    void machine.quit("host-signal");
  };
  process.on("SIGTERM", quit).on("SIGINT", quit).on("SIGHUP", quit);
  await sockets?.wait();
  await characterBackends.wait();
  // A checkpoint that is named at the start is loaded when programs can see how that goes, and give it up.
  const { incoming } = configuration;
  const uri = incoming === "defer" ? undefined : incoming;
  const { devices: characterDevices } = characterBackends;
  const waiting = { ...configuration, ...(uri === undefined ? {} : { incoming: "defer" }), characterDevices };
  machine = await createVirtualMachine(kernel, waiting, {
    ...(thread === undefined ? {} : { thread }),
    meanwhile: () => {
      monitor = loadMonitor(kernel);
      // Whoever needs it is told.
      monitor.catch(() => undefined);
    },
  });
  for (const notice of machine.notices) {
    process.stderr.write(`cpr: ${notice}\n`);
  }
  machine.on((event) => {
    if ("report" in event && event.report !== undefined) {
      process.stderr.write(`${event.event}\n${event.report}\n`);
    }
  });
  const { attachStreams, QmpServer, commands } = await (monitor ?? loadMonitor(kernel));
  const qmp = new QmpServer(machine, commands);
  sockets?.serve(machine, commands, qmp);
  if (uri !== undefined) {
    const loaded = machine.migrateIncoming(uri, { exitOnError: true }).catch(() => undefined);
    await Promise.race([loaded, machine.ended]);
  }
  const release = attachStreams(machine, commands, streams, qmp);
  const end = await machine.ended;
  sockets?.close();
  await qmp.close();
  release();
  if (end.reason === "not-loaded") {
    throw end.error;
  }
  return end.reason === "internal-error" ? 9 : 0;
}

/** Loads what a start does not need before there is a VM. */
async function loadMonitor(kernel: Kernel) {
  const [{ attachStreams }, { QmpServer }, commands] = await Promise.all([
    import("./attach-streams.ts"),
    import("@cpr/monitor"),
    kernel.all(MonitorCommand),
  ]);
  return { attachStreams, QmpServer, commands };
}
