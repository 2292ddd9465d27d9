import { execFileSync } from "node:child_process";
import { constants, openSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  createVirtualMachine,
  definePlugin,
  discoverPlugins,
  isCprError,
  Kernel,
  type MemorySupports,
  MigrationMode,
  type PluginRecord,
  parseMemoryObject,
  Transport,
  type TransportSupports,
  type VirtualMachine,
} from "@cpr/core";
import { injectable } from "@cpr/core/di";
import { buildGuestProgram, changingPages } from "@cpr/guest-programs";
import { MemoryTransport, PipeTransport } from "@cpr/testkit/fakes";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { expectOneMoment } from "./one-moment.ts";

/** RAM of the guests: as much as the program `pages` needs. */
export const ramSize = changingPages.end;

/** How a memory object is written; `folder` is one of its own. No object is the machine's default. */
export const memories: Readonly<Record<string, (folder: string) => string | undefined>> = {
  "no object": () => undefined,
  "memory-backend-memfd": () => `memory-backend-memfd,id=ram0,size=${ramSize},share=on`,
  "memory-backend-shm": () => `memory-backend-shm,id=ram0,size=${ramSize}`,
  "file, share=on": (folder) => `memory-backend-file,id=ram0,size=${ramSize},mem-path=${folder}/ram0,share=on`,
  "file, share=off": (folder) => `memory-backend-file,id=ram0,size=${ramSize},mem-path=${folder}/ram0`,
};

/** How the two sides name a place of a transport, and what is known of it that no `supports` tells. */
interface Place {
  readonly outgoing: string;
  readonly incoming: string;
  /** A file that has the whole stream. */
  readonly file?: string;
  /** Gives both sides what their URIs name. */
  readonly connect?: (source: VirtualMachine, target: VirtualMachine) => void;
}

/** Every transport that is installed must be here: a new one is not forgotten. */
const places: Readonly<Record<string, (folder: string) => Promise<Place>>> = {
  file: async (folder) => {
    const file = join(folder, "vm.state");
    return { outgoing: `file:${file}`, incoming: `file:${file}`, file };
  },
  exec: async (folder) => {
    const file = join(folder, "vm.exec");
    return { outgoing: `exec:cat > ${file}`, incoming: `exec:cat ${file}`, file };
  },
  tcp: async () => same(`tcp:127.0.0.1:${await freePort()}`),
  unix: async (folder) => same(`unix:${folder}/socket`),
  // The loopback of the host, at any of its addresses.
  vsock: async () => ({ outgoing: "vsock:1:44444", incoming: "vsock:4294967295:44444" }),
  fd: async (folder) => ({
    ...same("fd:stream"),
    connect: (source, target) => {
      const pipe = join(folder, "pipe");
      rmSync(pipe, { force: true });
      execFileSync("mkfifo", [pipe]);
      // Only a pipe that has a reader can be opened for writing without waiting.
      target.descriptors.name("stream", openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK));
      source.descriptors.name("stream", openSync(pipe, constants.O_WRONLY));
    },
  }),
  memory: async () => same("memory:vm"),
  pipe: async () => same("pipe:vm"),
};

const same = (uri: string): Place => ({ outgoing: uri, incoming: uri });

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** One way to move a guest. */
export interface Cell {
  readonly mode: MigrationMode;
  readonly transport: Transport;
  readonly capabilities: readonly string[];
}

export const cellName = ({ mode, transport, capabilities }: Cell): string =>
  [mode.name, `${transport.scheme}:`, ...capabilities].join(" ");

/** Transports that no package of ours has: core cannot know their names. */
const thirdParty: PluginRecord = {
  name: "cpr-transports-in-memory",
  version: "1.0.0",
  description: "Transports of the testkit, as a plugin of somebody else.",
  path: "/nowhere/package.json",
  module: "file:///nowhere/plugin.js",
  manifest: { api: 1, plugin: "./plugin", provides: { transport: ["memory", "pipe"] } },
};

@injectable()
class Shelf extends MemoryTransport {
  constructor() {
    super();
  }
}

@injectable()
class Pipe extends PipeTransport {}

/** A kernel with the built-in plugins and the third party's. */
export function matrixKernel(): Kernel {
  const builtIn = discoverPlugins({ application: join(cprCommand, "../../package.json") });
  return new Kernel([...builtIn, thirdParty], {
    importPlugin: async (record) =>
      record !== thirdParty
        ? import(record.module)
        : {
            default: definePlugin({
              name: thirdParty.name,
              setup: (context) => {
                context.contribute(Transport, Shelf);
                context.contribute(Transport, Pipe);
              },
            }),
          },
  });
}

/** What changes where RAM goes. */
const placing = [[], ["x-ignore-shared"]] as const;
/** What changes how it is copied. */
const layouts = [["mapped-ram"], ["mapped-ram", "x-ignore-shared"], ["mapped-ram", "multifd"], ["multifd"]] as const;

/**
 * All cells that the plugins of a kernel make.
 *
 * @param memory - which RAM: of those that are copied in any case, one is enough for each way to copy.
 */
export async function allCells(kernel: Kernel, memory: string): Promise<Cell[]> {
  const capabilitySets = ["no object", "file, share=on"].includes(memory) ? [...placing, ...layouts] : placing;
  const [modes, transports] = await Promise.all([kernel.all(MigrationMode), kernel.all(Transport)]);
  return modes.flatMap((mode) =>
    transports.flatMap((transport) => capabilitySets.map((capabilities) => ({ mode, transport, capabilities }))),
  );
}

/** Schemes that this host has only by name, and the codes with which their transports say so: no `supports` tells that. */
export async function unreachableTransports(kernel: Kernel): Promise<ReadonlyMap<string, string>> {
  const [transport, place] = [await kernel.get(Transport, "vsock"), await places["vsock"]?.("")];
  const { outgoing, incoming } = place as Place;
  const uri = (text: string) => ({ text, scheme: "vsock", rest: text.slice("vsock:".length) });
  const listening = new AbortController();
  const source = transport.openSource(uri(incoming), { signal: listening.signal }).then(
    (opened) => opened.close().catch(() => undefined),
    () => undefined,
  );
  try {
    await delay(20);
    await (await transport.openSink(uri(outgoing))).abort();
    return new Map();
  } catch (error) {
    if (!isCprError(error)) throw error;
    return new Map([["vsock", error.code]]);
  } finally {
    listening.abort();
    await source;
  }
}

/** What becomes of a cell. */
export type Outcome = `refused: ${string}` | "moves, RAM in place" | "moves, RAM copied";

/** Computes what must become of a cell from what its parts state about themselves. */
export function expectedOutcome(
  { mode, transport, capabilities }: Cell,
  memory: MemorySupports,
  unreachable: ReadonlyMap<string, string>,
): Outcome {
  const { stores, seekable, parallel }: TransportSupports = transport.supports;
  // Threads write pages to places of their own, beside the one that writes the rest.
  const places = seekable && parallel;
  if (capabilities.includes("mapped-ram") && !places) return "refused: ERR_CPR_TRANSPORT_SEEKABLE";
  if (capabilities.includes("multifd") && !(places && capabilities.includes("mapped-ram"))) {
    return "refused: ERR_CPR_TRANSPORT_CHANNELS";
  }
  if (mode.name === "cpr-reboot" && !stores) return "refused: ERR_CPR_REBOOT_STREAMS";
  const missing = unreachable.get(transport.scheme);
  if (missing !== undefined) return `refused: ${missing}`;
  const inPlace = capabilities.includes("x-ignore-shared") && memory.shared && memory.survivesProcessExit;
  return inPlace ? "moves, RAM in place" : "moves, RAM copied";
}

/** What the tests need of a VM beyond its interface: its RAM, mapped here. */
interface WithRam {
  readonly ram: {
    readonly blocks: readonly { readonly bytes: Uint8Array; readonly backing: { readonly supports: MemorySupports } }[];
  };
}

/** A guest that goes from cell to cell: the VM that loaded it in one is the one that is saved in the next. */
export class Traveller {
  readonly #kernel: Kernel;
  readonly #backend: string;
  readonly #processorModel: string | undefined;
  readonly #memory: (folder: string) => string | undefined;
  readonly #unreachable: ReadonlyMap<string, string>;
  readonly #newFolder: () => string;
  #folder: string;
  #machine: VirtualMachine | undefined;

  constructor(options: {
    readonly kernel: Kernel;
    readonly backend: string;
    readonly processorModel: string | undefined;
    readonly memory: (folder: string) => string | undefined;
    readonly unreachable: ReadonlyMap<string, string>;
    readonly newFolder: () => string;
  }) {
    this.#kernel = options.kernel;
    this.#backend = options.backend;
    this.#processorModel = options.processorModel;
    this.#memory = options.memory;
    this.#unreachable = options.unreachable;
    this.#newFolder = options.newFolder;
    this.#folder = options.newFolder();
  }

  async start(): Promise<void> {
    this.#machine = await this.#create(this.#folder, undefined);
    await countsOn(this.#machine);
  }

  /** What the guest's RAM states about itself. */
  get memorySupports(): MemorySupports {
    return blockOf(this.#present).backing.supports;
  }

  /** Moves the guest, and checks that it was moved whole, or that nothing has happened to it. */
  async move(cell: Cell): Promise<Outcome> {
    const source = this.#present;
    choose(source, cell);
    const makePlace = places[cell.transport.scheme];
    if (makePlace === undefined) throw new Error(`say in the matrix how '${cell.transport.scheme}:' is used`);
    const place = await makePlace(this.#folder);
    return cell.transport.supports.stores ? this.#throughStore(cell, place) : this.#throughStream(cell, place);
  }

  async end(): Promise<void> {
    await this.#machine?.quit();
  }

  async #throughStore(cell: Cell, place: Place): Promise<Outcome> {
    const source = this.#present;
    const refused = await codeOf(source.migrate(place.outgoing));
    if (refused !== undefined) return this.#untouched(refused);
    const { ram, inPlace } = await saved(source);
    if (place.file !== undefined && inPlace && statSync(place.file).size > 1024 * 1024) {
      throw new Error(`RAM stayed in place, but ${place.file} has ${statSync(place.file).size} bytes`);
    }
    await source.quit();
    const target = await this.#create(this.#folder, "defer");
    this.#machine = target;
    choose(target, cell);
    await target.stop();
    await target.migrateIncoming(place.incoming);
    return this.#arrived(ram, inPlace);
  }

  async #throughStream(cell: Cell, place: Place): Promise<Outcome> {
    const source = this.#present;
    // Whether it is refused does not depend on whether somebody listens.
    const refused = await codeOf(source.migrate(place.outgoing));
    if (refused === undefined) throw new Error("it streams to nobody");
    if (!connecting.includes(refused) || this.#unreachable.has(cell.transport.scheme)) return this.#untouched(refused);
    // The same RAM if it stays in place, which the source hands over; it can be copied only to other RAM.
    const { shared, survivesProcessExit } = this.memorySupports;
    const stays = cell.capabilities.includes("x-ignore-shared") && shared && survivesProcessExit;
    const folder = stays ? this.#folder : this.#newFolder();
    const target = await this.#create(folder, "defer");
    try {
      choose(target, cell);
      await target.stop();
      place.connect?.(source, target);
      const loaded = codeOf(target.migrateIncoming(place.incoming));
      while (connecting.includes((await codeOf(source.migrate(place.outgoing))) ?? "")) {
        await delay(5);
      }
      const { ram, inPlace } = await saved(source);
      const failed = await loaded;
      if (failed !== undefined) throw new Error(`the target refuses: ${failed}`);
      await source.quit();
      this.#machine = target;
      this.#folder = folder;
      return await this.#arrived(ram, inPlace);
    } catch (error) {
      await target.quit();
      throw error;
    }
  }

  async #untouched(code: string): Promise<Outcome> {
    await countsOn(this.#present);
    return `refused: ${code}`;
  }

  /** The guest was loaded and stands still. */
  async #arrived(ram: Uint8Array, inPlace: boolean): Promise<Outcome> {
    const target = this.#present;
    if (Buffer.compare(blockOf(target).bytes, ram) !== 0) throw new Error("RAM is not what it was");
    await target.cont();
    await countsOn(target);
    return inPlace ? "moves, RAM in place" : "moves, RAM copied";
  }

  get #present(): VirtualMachine {
    if (this.#machine === undefined) throw new TypeError("start() comes first");
    return this.#machine;
  }

  async #create(folder: string, incoming: string | undefined): Promise<VirtualMachine> {
    const object = this.#memory(folder);
    return createVirtualMachine(this.#kernel, {
      name: "traveller",
      ramSize,
      memoryObjects: object === undefined ? [] : [parseMemoryObject(object)],
      backend: this.#backend,
      ...(this.#processorModel === undefined ? {} : { processorModel: this.#processorModel }),
      machine: { machine: "pc", processorCount: 1, kernel: buildGuestProgram("pages"), serial: [] },
      characterDevices: new Map(),
      ...(incoming === undefined ? {} : { incoming }),
    });
  }
}

/** The codes of those who find nobody at the other end. */
const connecting: readonly string[] = ["ERR_CPR_SOCKET_CONNECT", "ERR_CPR_PIPE_TRANSPORT", "ERR_CPR_FD_UNKNOWN"];

async function codeOf(promise: Promise<void>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    if (isCprError(error)) return error.code;
    throw error;
  }
}

function blockOf(machine: VirtualMachine): WithRam["ram"]["blocks"][number] {
  const [block] = (machine as unknown as WithRam).ram.blocks;
  if (block === undefined) throw new Error("no RAM");
  return block;
}

function choose({ settings }: VirtualMachine, { mode, capabilities }: Cell): void {
  settings.setParameter("mode", mode.name);
  for (const name of new Set([...placing, ...layouts].flat())) {
    settings.setCapability(name, capabilities.includes(name));
  }
}

/** Waits for the end of an outgoing migration: all RAM as it is then, one moment of the guest. */
async function saved(source: VirtualMachine): Promise<{ ram: Uint8Array; inPlace: boolean }> {
  const { status, errorDescription, ram } = await source.migrationDone();
  if (status !== "completed" || source.runState !== "postmigrate") {
    throw new Error(`the save ended as ${status}, ${source.runState}: ${errorDescription}`);
  }
  const bytes = Uint8Array.from(blockOf(source).bytes);
  expectOneMoment(bytes);
  return { ram: bytes, inPlace: ram?.inPlace === ramSize };
}

/** Waits until the guest has changed its RAM, that is, executes. */
async function countsOn(machine: VirtualMachine): Promise<void> {
  const { bytes } = blockOf(machine);
  const before = bytes[changingPages.start];
  for (let waited = 0; bytes[changingPages.start] === before; waited += 2) {
    if (waited > 20_000) throw new Error(`the guest does not execute: ${machine.runState}`);
    await delay(2);
  }
}
