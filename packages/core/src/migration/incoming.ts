import { setTimeout as delay } from "node:timers/promises";
import { bootsDiffer } from "../boot-id.ts";
import { memoryErrors } from "../errors/memory-errors.ts";
import { migrationErrors } from "../errors/migration-errors.ts";
import { streamErrors } from "../errors/stream-errors.ts";
import type { MemoryOwnership } from "../memory-provider.ts";
import type { CheckpointPurpose } from "../migration-mode.ts";
import { findProcessorModel, missingFeatures } from "../processor-model.ts";
import type { CopiedPages } from "../ram-copy/ram-copy-threads.ts";
import { decodeState } from "../state/codec.ts";
import type { StateOf } from "../state/schema.ts";
import { type Checkpoint, readCheckpoint } from "../stream/checkpoint-reader.ts";
import type { StreamConfiguration } from "../stream/configuration-section.ts";
import type { DeviceSection } from "../stream/description-section.ts";
import { globalState, globalStateName, interpretGlobalState, type SavedRunState } from "../stream/global-state.ts";
import type { RamBlockEntry } from "../stream/ram-section.ts";
import type { TransportSource } from "../transport.ts";
import type { RamBlock } from "../vm/guest-ram.ts";
import { capabilityDefinitions } from "./capabilities.ts";
import { noticesBranch, takeContinuation } from "./continuation.ts";
import { checkFiles, hostFilesOf } from "./host-files.ts";
import {
  checkPages,
  clearRam,
  closeSource,
  copiedBlocks,
  copyRam,
  isMapped,
  RamCopier,
  readerOf,
} from "./incoming-ram.ts";
import type { MigrationRecord } from "./migration-record.ts";
import { type Phase, untilAborted } from "./phase.ts";
import { incomingRefusals, type MigrationIntent, refuse } from "./preflight.ts";
import { type MappedRam, RamChannels } from "./ram-channels.ts";
import { decodeUuid } from "./uuid.ts";

/** An incoming migration: what it was asked for, and what its phases hand on to each other. */
export interface IncomingMigration extends MigrationIntent {
  readonly record: MigrationRecord;
  /** Given when the VM ends meanwhile. */
  readonly signal: AbortSignal;
  source?: TransportSource | undefined;
  /** With mapped-ram. */
  ramChannels?: RamChannels | undefined;
  /** With mapped-ram: what the stream has of the blocks that are copied. */
  mappedRam?: readonly (MappedRam & CopiedPages)[];
  checkpoint?: Checkpoint;
  saved?: SavedRunState;
  sections?: readonly DeviceSection[];
  /** RAM whose lock another VM had when this one was made. */
  locked?: Set<MemoryOwnership>;
  /** RAM was written to. */
  ramTouched?: boolean;
}

/**
 * Loading a VM, step by step. The whole stream is read and checked before RAM or a device is touched; whatever fails,
 * the VM waits as before and can be told to load again.
 *
 * NOTE: RAM has an exception. If the stream can be read only once, or if all RAM is private memory, which is empty while
 * the VM waits, pages go to RAM while the rest is still to be checked. If that fails, the RAM is cleared again.
 */
export const incomingPhases: readonly Phase<IncomingMigration>[] = [
  { name: "Judge whether the VM can be loaded in this way", run: judge },
  { name: "Lock the RAM that is copied to", run: lockCopied, undo: unlockRam },
  { name: "Open the place that the URI names", status: "setup", run: openSource, undo: closeSourceQuietly },
  { name: "Read the stream and check all of it", status: "active", run: readStream, undo: clearRam },
  { name: "Take over RAM in place from the VM that had it", run: takeOverRam, undo: unlockRam },
  { name: "Check that RAM in place belongs to this checkpoint", run: checkBinding },
  { name: "Check that the files of the host are the same that devices depend on", run: checkHostFiles },
  { name: "Check the states of vCPUs and devices", run: checkStates },
  { name: "Check the pages of RAM that have places of their own in the stream", needed: isMapped, run: checkPages },
  { name: "Copy RAM from the stream", run: copyRam, undo: clearRam },
  { name: "Put vCPUs and devices in their states", run: putStates },
  {
    name: "Tell the devices if the guest may go on from this checkpoint for the second time",
    needed: ({ subject }) => noticesBranch(subject),
    run: tellOfBranch,
  },
];

function judge(migration: IncomingMigration): void {
  refuse(incomingRefusals(migration));
}

/** How long a VM that has sent all it had may take to give up its RAM. */
const handOverMilliseconds = 10_000;

function lockCopied(migration: IncomingMigration): void {
  for (const block of copiedBlocks(migration)) {
    if (!lock(migration, block)) {
      throw memoryErrors.ERR_CPR_MEMORY_BUSY({ path: block.backing.location });
    }
  }
}

async function takeOverRam(migration: IncomingMigration): Promise<void> {
  const { subject, transport, signal } = migration;
  const until = performance.now() + (transport.supports.stores ? 0 : handOverMilliseconds);
  for (const block of subject.ram.blocks) {
    while (!lock(migration, block)) {
      if (performance.now() > until) {
        throw memoryErrors.ERR_CPR_MEMORY_BUSY({ path: block.backing.location });
      }
      await delay(2, undefined, { signal });
    }
  }
}

function lock(migration: IncomingMigration, { backing: { ownership } }: RamBlock): boolean {
  if (ownership === undefined || ownership.held) {
    return true;
  }
  const locked = ownership.acquire();
  if (locked) {
    migration.locked ??= new Set();
    migration.locked.add(ownership);
  }
  return locked;
}

/** Whoever had the RAM can have it back. */
async function unlockRam({ locked }: IncomingMigration): Promise<void> {
  for (const ownership of locked ?? []) {
    ownership.release();
  }
  locked?.clear();
}

async function openSource(migration: IncomingMigration): Promise<void> {
  const { subject, transport, uri, signal } = migration;
  migration.source = await transport.openSource(uri, { signal, descriptors: subject.descriptors });
  if (isMapped(migration)) {
    migration.ramChannels = await RamChannels.open(subject.ram, migration.source, migration.channels);
  }
}

async function closeSourceQuietly(migration: IncomingMigration): Promise<void> {
  // The failure that led here says more than the one of closing after it.
  await closeSource(migration).catch(() => undefined);
}

/** Whether pages go to RAM while the stream is read for the first time; see {@link incomingPhases}. */
function readsOnce({ subject }: IncomingMigration, source: TransportSource): boolean {
  return (
    source.readAt === undefined || subject.ram.blocks.every(({ backing }) => !backing.supports.survivesProcessExit)
  );
}

async function readStream(migration: IncomingMigration): Promise<void> {
  const { subject, transport, signal, record } = migration;
  const source = migration.source as TransportSource;
  const once = readsOnce(migration, source);
  const copier = new RamCopier(migration);
  const reading = readCheckpoint(readerOf(source, signal), {
    configuration: (configuration) => checkConfiguration(migration, configuration),
    blocks: (blocks) => {
      checkBlocks(subject.ram.blocks, blocks);
      if (once) {
        copier.blocks(blocks);
      }
    },
    page: (block, offset, contents) => {
      if (once) {
        copier.page(block, offset, contents);
      }
    },
  });
  const checkpoint = await reading.catch(async (error: unknown) => {
    // If the command at the other end failed, that is why the stream is not as it should be.
    await closeSource(migration);
    throw error;
  });
  migration.checkpoint = checkpoint;
  if (once) {
    copier.finish();
    if (!isMapped(migration)) {
      await closeSource(migration);
    }
  }
  checkFacts(migration, checkpoint);
  const rebooted = rebootedSince(migration);
  if (rebooted !== undefined && transport.supports.stores) {
    record.notices.push(
      `The host was rebooted since the checkpoint was written, which was made for a ${rebooted}; or this is another host`,
    );
  }
  record.ramTotal = subject.ram.size;
  record.ramCopied = checkpoint.facts.ram.reduce((sum, { size, inPlace }) => sum + (inPlace ? 0 : size), 0);
}

function checkConfiguration({ subject, capabilities, record }: IncomingMigration, received: StreamConfiguration): void {
  if (received.machine !== subject.machine) {
    throw streamErrors.ERR_CPR_STREAM_MACHINE({ received: received.machine, local: subject.machine });
  }
  for (const name of received.capabilities) {
    if (capabilityDefinitions[name]?.recorded !== true) {
      throw streamErrors.ERR_CPR_STREAM_CAPABILITY_UNKNOWN({ name });
    }
  }
  for (const [name, { recorded }] of Object.entries(capabilityDefinitions)) {
    const here = capabilities.has(name);
    const there = received.capabilities.includes(name);
    if (recorded === true && here !== there) {
      throw streamErrors.ERR_CPR_STREAM_CAPABILITY({ name, received: there, local: here });
    }
  }
  // The stream has a UUID if it is to be validated; what is set here does not matter, as in QEMU.
  if (received.uuid === undefined) {
    return;
  }
  const uuid = decodeUuid(received.uuid);
  if (subject.uuid === undefined) {
    record.notices.push(`UUID is received ${uuid}, but local uuid isn't set`);
  } else if (uuid !== subject.uuid.toLowerCase()) {
    throw streamErrors.ERR_CPR_STREAM_UUID({ received: uuid, local: subject.uuid });
  }
}

function checkBlocks(local: readonly RamBlock[], received: readonly RamBlockEntry[]): void {
  for (const { id, size, address } of received) {
    const block = local.find((each) => each.id === id);
    if (block === undefined) {
      throw streamErrors.ERR_CPR_STREAM_RAM_UNKNOWN({ id, known: local.map((each) => each.id) });
    }
    if (size !== block.bytes.length) {
      throw streamErrors.ERR_CPR_STREAM_RAM_SIZE({ id, received: size, local: block.bytes.length });
    }
    if (address !== undefined && address !== block.guestAddress) {
      throw streamErrors.ERR_CPR_STREAM_RAM_ADDRESS({ id, received: address, local: block.guestAddress });
    }
  }
  for (const { id } of local) {
    if (!received.some((each) => each.id === id)) {
      throw streamErrors.ERR_CPR_STREAM_RAM_MISSING({ id });
    }
  }
}

/** Checks what the stream says about itself against what it contains and against this VM. */
function checkFacts(migration: IncomingMigration, { head, sections, facts, length }: Checkpoint): void {
  const fail = (problem: string) => streamErrors.ERR_CPR_STREAM_FORMAT({ position: length, problem });
  const { processor } = migration.subject;
  if (facts.processor.model !== processor.model || facts.processor.count !== processor.count) {
    const describe = ({ model, count }: typeof processor): string =>
      `${count} vCPU${count === 1 ? "" : "s"} '${model}'`;
    throw streamErrors.ERR_CPR_STREAM_PROCESSOR({
      received: describe(facts.processor),
      local: describe(processor),
      missing: lackingFeatures(facts.processor.model, processor.model),
    });
  }
  for (const [index, { id, mapped }] of head.blocks.entries()) {
    const block = facts.ram.find((each) => each.id === id);
    if (block === undefined) {
      throw fail(`nothing is said about RAM block '${id}'`);
    }
    if (block.inPlace && ((head.pages[index] as number) > 0 || mapped !== undefined)) {
      throw fail(`block ${id} should not be migrated !`);
    }
    if (!block.inPlace && mapped === undefined && head.configuration.capabilities.includes("mapped-ram")) {
      throw fail(`the pages of RAM block '${id}' have no place`);
    }
  }
  const section = sections.find(({ id }) => id === globalStateName);
  if (section === undefined) {
    throw streamErrors.ERR_CPR_STREAM_SECTION_MISSING({ device: globalStateName, instance: 0 });
  }
  const state = decodeState(globalStateName, globalState, section) as StateOf<typeof globalState>;
  migration.saved = interpretGlobalState(state);
  migration.sections = sections.filter((each) => each !== section);
}

/** Features that a guest was given and the vCPUs of this VM lack; none if one of the models is not known here. */
function lackingFeatures(received: string, local: string): readonly string[] {
  const [given, here] = [received, local].map(findProcessorModel);
  return given === undefined || here === undefined
    ? []
    : missingFeatures(given, (feature) => here.features.has(feature));
}

async function checkBinding(migration: IncomingMigration): Promise<void> {
  const { subject, checkpoint, mode, capabilities } = migration;
  const rebooted = rebootedSince(migration);
  const { ram, generation } = (checkpoint as Checkpoint).facts;
  for (const { id, backing, mark } of subject.ram.blocks) {
    const facts = ram.find((each) => each.id === id);
    if (facts?.inPlace !== true) {
      continue;
    }
    const { location, created, supports } = backing;
    if (!capabilities.has("x-ignore-shared") || !mode.keepsInPlace(supports)) {
      throw migrationErrors.ERR_CPR_RAM_NOT_IN_PLACE({ id, location });
    }
    const belongs = mark?.read().includes(generation) === true;
    const { survivesReboot } = supports;
    if (created || (!belongs && rebooted !== undefined && !survivesReboot)) {
      throw migrationErrors.ERR_CPR_RAM_GONE({ id, location, created, survivesReboot, rebooted });
    }
    if (facts.bound && !belongs) {
      throw migrationErrors.ERR_CPR_RAM_MOVED_ON({ id, location, mark: mark?.path, rebooted });
    }
  }
}

/** What a checkpoint was made for that was written before the host was rebooted, if that is known. */
function rebootedSince({ subject, checkpoint }: IncomingMigration): CheckpointPurpose | undefined {
  const { origin } = (checkpoint as Checkpoint).facts;
  return origin !== undefined && bootsDiffer(origin.bootId, subject.bootId) ? origin.purpose : undefined;
}

async function checkHostFiles({ subject, checkpoint, acceptedFiles, signal }: IncomingMigration): Promise<void> {
  const { files = [] } = (checkpoint as Checkpoint).facts;
  await untilAborted(checkFiles(hostFilesOf(subject), files, acceptedFiles), signal);
}

async function checkStates({ subject, sections, signal }: IncomingMigration): Promise<void> {
  await untilAborted(subject.control.prepareLoad(sections as readonly DeviceSection[]), signal);
}

async function putStates({ subject, signal, guestTime }: IncomingMigration): Promise<void> {
  await untilAborted(subject.control.load(guestTime), signal);
}

async function tellOfBranch({ subject, checkpoint, record, signal }: IncomingMigration): Promise<void> {
  if (!takeContinuation((checkpoint as Checkpoint).facts.generation)) {
    await untilAborted(subject.control.branch(), signal);
    record.notices.push("The guest may have gone on from this checkpoint before, so it was given a new generation");
  }
}
