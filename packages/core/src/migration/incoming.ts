import { setTimeout as delay } from "node:timers/promises";
import { memoryErrors } from "../errors/memory-errors.ts";
import { migrationErrors } from "../errors/migration-errors.ts";
import { streamErrors } from "../errors/stream-errors.ts";
import type { MemoryOwnership } from "../memory-provider.ts";
import { findProcessorModel, missingFeatures } from "../processor-model.ts";
import { decodeState } from "../state/codec.ts";
import type { StateOf } from "../state/schema.ts";
import { type Checkpoint, readCheckpoint, readPages } from "../stream/checkpoint-reader.ts";
import type { StreamConfiguration } from "../stream/configuration-section.ts";
import type { DeviceSection } from "../stream/description-section.ts";
import { pageSize } from "../stream/format.ts";
import { globalState, globalStateName, interpretGlobalState, type SavedRunState } from "../stream/global-state.ts";
import type { RamBlockEntry, RamVisitor } from "../stream/ram-section.ts";
import type { TransportSource } from "../transport.ts";
import type { RamBlock } from "../vm/guest-ram.ts";
import { capabilityDefinitions } from "./capabilities.ts";
import { checkFiles, hostFilesOf } from "./host-files.ts";
import type { MigrationRecord } from "./migration-record.ts";
import { type Phase, untilAborted } from "./phase.ts";
import { incomingRefusals, type MigrationIntent, refuse } from "./preflight.ts";
import { decodeUuid } from "./uuid.ts";

/** An incoming migration: what it was asked for, and what its phases hand on to each other. */
export interface IncomingMigration extends MigrationIntent {
  readonly record: MigrationRecord;
  /** Given when the VM ends meanwhile. */
  readonly signal: AbortSignal;
  source?: TransportSource | undefined;
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
  { name: "Copy RAM from the stream", run: copyRam, undo: clearRam },
  { name: "Put vCPUs and devices in their states", run: putStates },
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
}

/** The command or socket at the other end may tell only now that it failed. */
async function closeSource(migration: IncomingMigration): Promise<void> {
  const { source } = migration;
  migration.source = undefined;
  await source?.close();
}

async function closeSourceQuietly(migration: IncomingMigration): Promise<void> {
  // The failure that led here says more than the one of closing after it.
  await closeSource(migration).catch(() => undefined);
}

function isSeekable(source: TransportSource): source is TransportSource & Required<Pick<TransportSource, "readAt">> {
  return source.readAt !== undefined;
}

/** Whether pages go to RAM while the stream is read for the first time; see {@link incomingPhases}. */
function readsOnce({ subject }: IncomingMigration, source: TransportSource): boolean {
  return !isSeekable(source) || subject.ram.blocks.every(({ backing }) => !backing.supports.survivesProcessExit);
}

async function readStream(migration: IncomingMigration): Promise<void> {
  const { subject, signal, record } = migration;
  const source = migration.source as TransportSource;
  const once = readsOnce(migration, source);
  const copier = new RamCopier(migration);
  const reading = readCheckpoint((buffer) => untilAborted(source.read(buffer), signal), {
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
    await closeSource(migration);
  }
  checkFacts(migration, checkpoint);
  record.ramTotal = subject.ram.size;
  record.ramCopied = checkpoint.facts.ram.reduce((sum, { size, inPlace }) => sum + (inPlace ? 0 : size), 0);
}

function checkConfiguration({ subject, capabilities }: IncomingMigration, received: StreamConfiguration): void {
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
  if (capabilities.has("validate-uuid") && received.uuid !== undefined && subject.uuid !== undefined) {
    const uuid = decodeUuid(received.uuid);
    if (uuid !== subject.uuid.toLowerCase()) {
      throw streamErrors.ERR_CPR_STREAM_UUID({ received: uuid, local: subject.uuid });
    }
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
  for (const [index, { id }] of head.blocks.entries()) {
    const block = facts.ram.find((each) => each.id === id);
    if (block === undefined) {
      throw fail(`nothing is said about RAM block '${id}'`);
    }
    if (block.inPlace && (head.pages[index] as number) > 0) {
      throw fail(`block ${id} should not be migrated !`);
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

async function checkBinding({ subject, checkpoint, mode, capabilities }: IncomingMigration): Promise<void> {
  const { ram, generation } = (checkpoint as Checkpoint).facts;
  for (const { id, backing, mark } of subject.ram.blocks) {
    const facts = ram.find((each) => each.id === id);
    if (facts?.inPlace !== true) {
      continue;
    }
    const { location } = backing;
    if (!capabilities.has("x-ignore-shared") || !mode.keepsInPlace(backing.supports)) {
      throw migrationErrors.ERR_CPR_RAM_NOT_IN_PLACE({ id, location });
    }
    if (facts.bound && mark?.read().includes(generation) !== true) {
      throw migrationErrors.ERR_CPR_RAM_MOVED_ON({ id, location });
    }
  }
}

async function checkHostFiles({ subject, checkpoint, acceptedFiles, signal }: IncomingMigration): Promise<void> {
  const { files = [] } = (checkpoint as Checkpoint).facts;
  await untilAborted(checkFiles(hostFilesOf(subject), files, acceptedFiles), signal);
}

async function checkStates({ subject, sections, signal }: IncomingMigration): Promise<void> {
  await untilAborted(subject.control.prepareLoad(sections as readonly DeviceSection[]), signal);
}

async function copyRam(migration: IncomingMigration): Promise<void> {
  const { source, checkpoint, signal } = migration;
  const { head, facts } = checkpoint as Checkpoint;
  if (source !== undefined && isSeekable(source) && facts.ram.some(({ inPlace }) => !inPlace)) {
    const copier = new RamCopier(migration);
    let position = 0;
    const read = async (buffer: Uint8Array): Promise<number> => {
      const count = await untilAborted(source.readAt(position, buffer), signal);
      position += count;
      return count;
    };
    await readPages(read, head, copier);
    copier.finish();
  }
  await closeSource(migration);
}

async function putStates({ subject, signal, guestTime }: IncomingMigration): Promise<void> {
  await untilAborted(subject.control.load(guestTime), signal);
}

/** RAM that a failed load has written to is cleared: it was empty before, or held what no checkpoint knows. */
async function clearRam(migration: IncomingMigration): Promise<void> {
  if (migration.ramTouched === true) {
    migration.ramTouched = false;
    for (const block of copiedBlocks(migration)) {
      block.bytes.fill(0);
    }
  }
}

/** The blocks whose contents are in the stream; before that is known, all that could not stay in place here. */
function copiedBlocks({ subject, mode, capabilities, checkpoint }: IncomingMigration): readonly RamBlock[] {
  return subject.ram.blocks.filter(({ id, backing }) =>
    checkpoint === undefined
      ? !(capabilities.has("x-ignore-shared") && mode.keepsInPlace(backing.supports))
      : checkpoint.facts.ram.some((facts) => facts.id === id && !facts.inPlace),
  );
}

/** Puts pages into RAM, and zeros where the stream has no page. */
class RamCopier implements RamVisitor {
  readonly #migration: IncomingMigration;
  #targets: readonly (RamBlock | undefined)[] = [];

  constructor(migration: IncomingMigration) {
    this.#migration = migration;
  }

  blocks(blocks: readonly RamBlockEntry[]): void {
    const copied = copiedBlocks(this.#migration);
    this.#targets = blocks.map(({ id }) => copied.find((block) => block.id === id));
    for (const { bytes, backing, mark } of copied) {
      // What the RAM was left in place for, if it was, cannot be loaded any more: also not if this load fails, or is killed.
      mark?.remove();
      // Private memory is empty. A file may hold what another VM has left there.
      if (backing.supports.survivesProcessExit) {
        for (const [start, end] of backing.dataRanges()) {
          this.#migration.ramTouched = true;
          bytes.fill(0, start, end);
        }
      }
    }
  }

  page(block: number, offset: number, contents: Uint8Array | undefined): void {
    const target = this.#targets[block];
    const { record } = this.#migration;
    if (target === undefined) {
      throw streamErrors.ERR_CPR_STREAM_FORMAT({
        position: 0,
        problem: `the stream has pages for RAM block ${block}, which could stay in place here, and it can be read only once`,
      });
    }
    this.#migration.ramTouched = true;
    if (contents === undefined) {
      target.bytes.fill(0, offset, offset + pageSize);
      record.progress.zeroPages += 1;
    } else {
      target.bytes.set(contents, offset);
      record.progress.normalPages += 1;
    }
  }

  finish(): void {
    const { record, subject } = this.#migration;
    record.progress.scanned = subject.ram.size;
  }
}
