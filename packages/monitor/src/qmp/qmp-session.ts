import type { Readable, Writable } from "node:stream";
import type { MonitorCommand, MonitorContext, VirtualMachineEvent } from "@cpr/core";
import { DescriptorInbox } from "../descriptor-inbox.ts";
import { monitorErrors } from "../monitor-errors.ts";
import { taken } from "../taken.ts";
import { versionInformation } from "../version.ts";
import { checkArguments } from "./check-arguments.ts";
import { JsonScanner, type ScannedMessage } from "./json-scanner.ts";
import { qmpEvents } from "./qmp-events.ts";
import { encodeMessage, errorMember, identifierIn, type QmpRequest, readRequest } from "./qmp-messages.ts";

/** How many bytes a client may leave unread before it is taken for dead and let go. */
const unreadLimit = 1024 * 1024;

/** How many bytes may be unread when the next command is carried out: a client must take its answers. */
const pauseLimit = 64 * 1024;

/** How long a client has to take what it was sent before the connection is closed. */
const farewellMilliseconds = 1000;

/** Where a client's messages come from and where the answers go: often two sides of one socket. */
export interface QmpStreams {
  readonly input: Readable;
  readonly output: Writable;
  /** Takes the descriptors that came with a chunk of the input; absent if none can come. */
  takeDescriptors?(chunk: Buffer): readonly number[];
}

/** A message that waits to be carried out, and what came with it. */
interface ReceivedMessage {
  readonly message: ScannedMessage;
  readonly descriptors: readonly number[];
}

/**
 * One client of QMP: greeting, negotiation of capabilities, commands one after the other, events. It never stops the
 * VM: to a client that does not read, nothing more is sent.
 */
export class QmpSession {
  readonly #context: MonitorContext;
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #scanner = new JsonScanner();
  readonly #waiting: ReceivedMessage[] = [];
  readonly #inbox = new DescriptorInbox();
  #arrived: number[] = [];
  #negotiated = false;
  #working: Promise<void> | undefined;
  /** Fulfilled when the client is gone and its last command was carried out. */
  readonly done: Promise<void>;

  constructor(context: Omit<MonitorContext, "conversation">, { input, output, takeDescriptors }: QmpStreams) {
    const inbox = takeDescriptors === undefined ? {} : { takeDescriptor: () => this.#inbox.take() };
    this.#context = { ...context, conversation: { audience: "programs", ...inbox } };
    this.#input = input;
    this.#output = output;
    this.done = new Promise((resolve) => {
      output.on("close", () => void (this.#working ?? Promise.resolve()).then(resolve));
    });
    void this.done.then(() => {
      this.#discardWaiting();
      this.#inbox.put(this.#arrived);
      this.#inbox.close();
    });
    // A connection that breaks closes, which is all there is to know.
    input.on("error", () => undefined);
    output.on("error", () => undefined);
    this.#send({ QMP: { version: versionInformation(), capabilities: [] } });
    input.on("data", (bytes: Buffer) => {
      this.#arrived.push(...(takeDescriptors?.(bytes) ?? []));
      this.#receive([...this.#scanner.scan(bytes)]);
      if (this.#working === undefined && this.#waiting.length > 0) {
        this.#working = this.#work().finally(() => {
          this.#working = undefined;
          this.#input.resume();
        });
      }
    });
    // Commands that came before the end are carried out and answered.
    input.on("end", () => void this.#farewell());
  }

  /** Descriptors come with the end of a chunk, and so belong to the last message in it, or to the next if none is complete. */
  #receive(messages: readonly ScannedMessage[]): void {
    for (const [index, message] of messages.entries()) {
      const last = index === messages.length - 1;
      this.#waiting.push({ message, descriptors: last ? this.#arrived : [] });
      if (last) this.#arrived = [];
    }
  }

  /** Tells the client what has happened, if it is so far. */
  tell(event: VirtualMachineEvent): void {
    if (this.#negotiated) {
      for (const each of qmpEvents(event)) this.#send({ ...each });
    }
  }

  /** Ends the conversation: the command that is under way is answered, later ones are not carried out. */
  async close(): Promise<void> {
    this.#discardWaiting();
    await this.#farewell();
  }

  #discardWaiting(): void {
    for (const { descriptors } of this.#waiting.splice(0)) this.#inbox.put(descriptors);
  }

  async #farewell(): Promise<void> {
    await this.#working;
    if (this.#output.destroyed) return;
    const timer = setTimeout(() => this.#output.destroy(), farewellMilliseconds);
    this.#output.end(() => {
      clearTimeout(timer);
      this.#output.destroy();
    });
    await this.done;
    clearTimeout(timer);
  }

  async #work(): Promise<void> {
    // Commands that have arrived wait in the socket meanwhile: a client cannot pile them up here.
    this.#input.pause();
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#inbox.put(next.descriptors);
      this.#send(await this.#answer(next.message));
      if (this.#output.writableLength > pauseLimit) await taken(this.#output);
      if (this.#output.destroyed) this.#discardWaiting();
    }
  }

  async #answer(message: ScannedMessage): Promise<Readonly<Record<string, unknown>>> {
    const text = "text" in message ? message.text : undefined;
    const id = text === undefined ? undefined : identifierIn(text);
    const identified = id === undefined ? {} : { id };
    try {
      if ("error" in message) throw monitorErrors.ERR_CPR_QMP_SYNTAX({ problem: message.error });
      return { ...identified, return: (await this.#execute(readRequest(message.text))) ?? {} };
    } catch (error) {
      return { ...identified, error: errorMember(error) };
    }
  }

  async #execute({ execute, values }: QmpRequest): Promise<unknown> {
    if (!this.#negotiated && execute !== "qmp_capabilities") {
      throw monitorErrors.ERR_CPR_QMP_NOT_NEGOTIATED({});
    }
    const command = this.#find(execute);
    if (command === undefined) {
      throw monitorErrors.ERR_CPR_QMP_COMMAND_NOT_FOUND({ command: execute });
    }
    if (this.#negotiated && execute === "qmp_capabilities") {
      throw monitorErrors.ERR_CPR_QMP_NEGOTIATED({});
    }
    checkArguments(command, values);
    const result = await command.execute(this.#context, values);
    this.#negotiated ||= execute === "qmp_capabilities";
    return result;
  }

  #find(name: string): MonitorCommand | undefined {
    return this.#context.commands.find((command) => command.name === name && command.onlyFor !== "people");
  }

  #send(message: Readonly<Record<string, unknown>>): void {
    if (this.#output.destroyed || this.#output.writableEnded) return;
    this.#output.write(encodeMessage(message));
    if (this.#output.writableLength > unreadLimit) {
      this.#output.destroy();
    }
  }
}
