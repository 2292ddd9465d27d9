import { setTimeout as delay } from "node:timers/promises";
import { programVersion } from "../program-version.ts";
import { CheckpointWriter } from "../stream/checkpoint-writer.ts";
import { type CheckpointFacts, type DeviceSection, factsFormat } from "../stream/description-section.ts";
import { encodeGlobalState, globalStateName, type SavedRunState } from "../stream/global-state.ts";
import type { RamBlockEntry } from "../stream/ram-section.ts";
import { systemReason } from "../system-reason.ts";
import type { TransportSink } from "../transport.ts";
import type { RamBlock } from "../vm/guest-ram.ts";
import { capabilityDefinitions } from "./capabilities.ts";
import { grantContinuation, noticesBranch, takeContinuation } from "./continuation.ts";
import { newGeneration } from "./generation.ts";
import { hostFilesOf, observeFiles } from "./host-files.ts";
import type { MigrationRecord } from "./migration-record.ts";
import { type Phase, untilAborted } from "./phase.ts";
import { type OutgoingIntent, outgoingRefusals, refuse } from "./preflight.ts";
import { RamChannels } from "./ram-channels.ts";
import { noticesAbout, placeRam, type RamPlacement } from "./ram-placement.ts";
import { encodeUuid } from "./uuid.ts";

/** An outgoing migration: what it was asked for, and what its phases hand on to each other. */
export interface OutgoingMigration extends OutgoingIntent {
  readonly record: MigrationRecord;
  /** Given when the user cancels. */
  readonly signal: AbortSignal;
  /** Fulfilled when the user says `migrate-continue`. */
  readonly continued: Promise<void>;
  sink?: TransportSink;
  /** With mapped-ram, if there is RAM to copy. */
  ramChannels?: RamChannels | undefined;
  before?: SavedRunState;
  facts?: CheckpointFacts;
  sections?: readonly DeviceSection[];
  writer?: CheckpointWriter;
  /** What has been bound, and the generation that it was bound to before: that of a checkpoint from which the VM has not run yet. */
  bound?: { readonly block: RamBlock; readonly before: readonly string[] }[];
  /** The generation of the checkpoint from which one VM may go on. */
  granted?: string | undefined;
}

/**
 * Saving a VM, step by step. Whatever fails, and whenever the user cancels, the steps that were taken are taken back
 * in reverse order: the VM is what it was, and what stood at the URI before still stands there.
 */
export const outgoingPhases: readonly Phase<OutgoingMigration>[] = [
  { name: "Judge whether the VM can be saved in this way", foreground: true, run: judge },
  {
    name: "Open the place that the URI names, while the guest still runs",
    foreground: true,
    status: "setup",
    run: openSink,
    undo: abortSink,
  },
  { name: "Stop the VM", run: stopMachine, undo: resumeMachine },
  { name: "Decide which RAM stays in place", status: "active", run: decide },
  { name: "Write the header and the RAM that does not stay in place", run: writeRam },
  {
    name: "Wait for `migrate-continue`, if `pause-before-switchover` is on",
    needed: ({ capabilities }) => capabilities.has("pause-before-switchover"),
    status: "pre-switchover",
    run: waitForContinue,
  },
  { name: "Take the states of vCPUs and devices", status: "device", run: takeStates },
  {
    name: "Note what the files of the host are like that devices depend on",
    needed: ({ subject }) => hostFilesOf(subject).length > 0,
    run: noteFiles,
  },
  { name: "Write the states", run: writeStates },
  { name: "Bind the RAM that stays in place to this checkpoint", run: bindRam, undo: unbindRam },
  {
    name: "Grant the right to go on from this checkpoint to the first that takes it",
    needed: ({ subject }) => noticesBranch(subject),
    run: grant,
    undo: withdraw,
  },
  {
    name: "Give up the disks to the VM that will be loaded",
    needed: ({ subject }) => subject.blockDevices.length > 0,
    run: ({ subject }) => subject.control.releaseDisks(),
    undo: ({ subject }) => subject.control.claimDisks(),
  },
  { name: "Make the checkpoint durable and visible", run: commit },
  {
    name: "Give up RAM in place to the VM that goes on with it",
    run: giveUpRam,
  },
];

function judge(migration: OutgoingMigration): void {
  refuse(outgoingRefusals(migration));
}

async function openSink(migration: OutgoingMigration): Promise<void> {
  const { subject, transport, uri, signal } = migration;
  migration.sink = await transport.openSink(uri, { signal, descriptors: subject.descriptors });
  const { mode, capabilities, channels } = migration;
  if (capabilities.has("mapped-ram") && placeRam(subject.ram.blocks, mode, capabilities).some(isCopied)) {
    migration.ramChannels = await RamChannels.open(subject.ram, migration.sink, channels);
  }
}

const isCopied = ({ inPlace }: RamPlacement): boolean => !inPlace;

async function closeChannels(migration: OutgoingMigration): Promise<void> {
  const { ramChannels } = migration;
  migration.ramChannels = undefined;
  await ramChannels?.close();
}

async function abortSink(migration: OutgoingMigration): Promise<void> {
  try {
    await closeChannels(migration);
  } finally {
    await migration.sink?.abort();
  }
}

async function stopMachine(migration: OutgoingMigration): Promise<void> {
  migration.signal.throwIfAborted();
  migration.before = await migration.subject.stopForMigration();
  migration.record.guestStopped();
}

async function resumeMachine({ before, subject }: OutgoingMigration): Promise<void> {
  if (before !== undefined) {
    await subject.resumeAfterMigration(before);
  }
}

function decide(migration: OutgoingMigration): void {
  const { subject, mode, capabilities, purpose, record } = migration;
  const placements = placeRam(subject.ram.blocks, mode, capabilities);
  record.notices.push(...noticesAbout(placements));
  record.ramTotal = subject.ram.size;
  record.ramCopied = placements.reduce((sum, { block, inPlace }) => sum + (inPlace ? 0 : block.bytes.length), 0);
  migration.facts = {
    format: factsFormat,
    mode: mode.name,
    generation: newGeneration(),
    origin: { purpose, bootId: subject.bootId, writer: { program: "cpr", version: programVersion() } },
    processor: subject.processor,
    ram: placements.map(({ block: { id, bytes, mark }, inPlace }) => ({
      id,
      size: bytes.length,
      inPlace,
      bound: inPlace && mark !== undefined,
    })),
  };
}

async function writeRam(migration: OutgoingMigration): Promise<void> {
  const { subject, capabilities, sink, signal, record } = migration;
  const recorded = [...capabilities].filter((name) => capabilityDefinitions[name]?.recorded === true);
  const mapped = recorded.includes("mapped-ram");
  const { write, writeAt } = sink as TransportSink;
  const put =
    mapped && writeAt !== undefined ? writeAt.bind(sink) : (_: number, bytes: Uint8Array) => write.call(sink, bytes);
  const writer = new CheckpointWriter((bytes, position) => untilAborted(put(position, bytes), signal), {
    machine: subject.machine,
    capabilities: recorded,
    ...(capabilities.has("validate-uuid") && subject.uuid !== undefined ? { uuid: encodeUuid(subject.uuid) } : {}),
  });
  migration.writer = writer;
  record.beginPass();
  writer.writeHeader();
  const withAddresses = recorded.includes("x-ignore-shared");
  const blocks = subject.ram.blocks.map(({ id, bytes, guestAddress }) => ({
    id,
    size: bytes.length,
    ...(withAddresses ? { address: guestAddress } : {}),
  }));
  const { ram } = migration.facts as CheckpointFacts;
  const copied = subject.ram.blocks.filter((_, index) => ram[index]?.inPlace !== true);
  if (mapped) {
    await writeMappedRam(migration, writer, blocks, copied);
  } else {
    await writePlainRam(migration, writer, blocks, copied);
  }
}

/** RAM in the order of the stream, page by page. */
async function writePlainRam(
  { signal, record, bandwidth }: OutgoingMigration,
  writer: CheckpointWriter,
  blocks: readonly RamBlockEntry[],
  copied: readonly RamBlock[],
): Promise<void> {
  const begun = performance.now();
  const contents = copied.map(({ id, bytes, backing }) => ({ id, bytes, dataRanges: backing.dataRanges() }));
  await writer.writeRam(blocks, contents, {
    progress: record.progress,
    checkpoint: async ({ position }) => {
      signal.throwIfAborted();
      if (bandwidth !== undefined) {
        const early = (position / bandwidth) * 1000 - (performance.now() - begun);
        if (early > 1) {
          await delay(early, undefined, { signal });
        }
      }
    },
  });
}

/** Every page at its own place in the file, by several threads. */
async function writeMappedRam(
  migration: OutgoingMigration,
  writer: CheckpointWriter,
  blocks: readonly RamBlockEntry[],
  copied: readonly RamBlock[],
): Promise<void> {
  const { ramChannels, signal, record, bandwidth } = migration;
  const { progress } = record;
  await writer.writeMappedRam(blocks, new Set(copied.map(({ id }) => id)), ramChannels?.start ?? 0, (places) => {
    const mapped = places.map(({ mapped }, index) => ({ block: copied[index] as RamBlock, mapped }));
    return (ramChannels as RamChannels).write(mapped, { signal, progress, bandwidth });
  });
  await closeChannels(migration);
}

async function waitForContinue({ continued, signal }: OutgoingMigration): Promise<void> {
  await untilAborted(continued, signal);
}

async function takeStates(migration: OutgoingMigration): Promise<void> {
  const { subject, before, signal } = migration;
  const globalSection = { id: globalStateName, instance: 0, ...encodeGlobalState(before as SavedRunState) };
  const sections = await untilAborted(subject.control.save(), signal);
  migration.sections = [globalSection, ...sections];
}

async function noteFiles(migration: OutgoingMigration): Promise<void> {
  const files = await untilAborted(observeFiles(hostFilesOf(migration.subject)), migration.signal);
  migration.facts = { ...(migration.facts as CheckpointFacts), files };
}

async function writeStates({ writer, sections, facts }: OutgoingMigration): Promise<void> {
  for (const section of sections as readonly DeviceSection[]) {
    (writer as CheckpointWriter).writeSection(section);
  }
  await (writer as CheckpointWriter).finish(facts as CheckpointFacts);
}

async function bindRam(migration: OutgoingMigration): Promise<void> {
  const { generation, ram } = migration.facts as CheckpointFacts;
  migration.bound = [];
  for (const [index, block] of migration.subject.ram.blocks.entries()) {
    if (ram[index]?.inPlace === true) {
      await untilAborted(block.backing.flush(), migration.signal);
      if (block.mark !== undefined) {
        const before = block.mark.read();
        migration.bound.push({ block, before });
        block.mark.write([...before, generation]);
      }
    }
  }
}

async function unbindRam({ bound }: OutgoingMigration): Promise<void> {
  for (const { block, before } of bound ?? []) {
    block.mark?.write(before);
  }
}

function grant(migration: OutgoingMigration): void {
  const { facts, record } = migration;
  const { generation } = facts as CheckpointFacts;
  try {
    grantContinuation(generation);
    migration.granted = generation;
  } catch (error) {
    record.notices.push(
      `The guest will be given a new generation when it is loaded: it could not be noted that it has not gone on yet: ${systemReason(error)}`,
    );
  }
}

async function withdraw({ granted }: OutgoingMigration): Promise<void> {
  if (granted !== undefined) {
    takeContinuation(granted);
  }
}

async function commit({ sink, signal }: OutgoingMigration): Promise<void> {
  await untilAborted((sink as TransportSink).commit(), signal);
}

/** Without a mark nobody could tell whether another VM has used it meanwhile, and a VM that is stored may go on itself. */
function giveUpRam({ subject, facts, transport }: OutgoingMigration): void {
  const { ram, generation } = facts as CheckpointFacts;
  subject.ram.handOver(
    subject.ram.blocks.filter(
      ({ mark }, index) => ram[index]?.inPlace === true && (mark !== undefined || !transport.supports.stores),
    ),
    generation,
  );
}
