import type { MonitorCommand, VirtualMachine } from "@cpr/core";
import { HumanMonitor, LineHistory, MonitorSession, type QmpServer } from "@cpr/monitor";
import type { StandardStreams } from "./configuration.ts";
import { ConsoleMultiplexer } from "./console-multiplexer.ts";

/** Connects standard input and output with the console and the monitor. Returns what gives the terminal back. */
export function attachStreams(
  machine: VirtualMachine,
  commands: readonly MonitorCommand[],
  streams: StandardStreams,
  qmp: QmpServer,
): () => void {
  const { stdin, stdout } = process;
  if (streams.qmp) {
    qmp.serve({ input: stdin, output: stdout });
    return () => stdin.destroy();
  }
  const monitor = new HumanMonitor({ machine, commands });
  if (streams.monitor === "line") {
    const terminal = stdin.isTTY === true && stdout.isTTY === true;
    const history = LineHistory.ofUser();
    const session = new MonitorSession(monitor, { input: stdin, output: stdout, terminal, history });
    return () => {
      session.close();
      stdin.destroy();
    };
  }
  if (streams.console === undefined) {
    return () => undefined;
  }
  const { console } = streams;
  if (streams.monitor === "shared" && stdin.isTTY === true) {
    return attachTerminal(machine, monitor, console);
  }
  stdin.on("data", (bytes: Buffer) => {
    stdin.pause();
    void machine.input(console, bytes).then(() => stdin.resume());
  });
  return () => stdin.destroy();
}

function attachTerminal(machine: VirtualMachine, monitor: HumanMonitor, console: string): () => void {
  const { stdin, stdout } = process;
  let session: MonitorSession | undefined;
  const multiplexer = new ConsoleMultiplexer({
    toConsole: (bytes) => void machine.input(console, bytes),
    quit: () => void machine.quit(),
    show: (text) => stdout.write(text),
    focus: (side) => {
      stdout.write(side === "monitor" ? "\r\n" : "\r\n[console]\r\n");
      if (side === "monitor") {
        const streams = { input: multiplexer.monitorInput, output: stdout, terminal: true };
        session = new MonitorSession(monitor, { ...streams, history: LineHistory.ofUser() });
      } else {
        session?.close();
      }
    },
  });
  multiplexer.attach(stdin);
  return () => {
    session?.close();
    stdin.setRawMode(false);
    stdin.destroy();
  };
}
