import type { Worker } from "node:worker_threads";
import { machineErrors } from "../errors/machine-errors.ts";
import { deserializeError, serializeError } from "../errors.ts";
import { beginMachineThread } from "../machine-thread.ts";
import type { DeviceSection } from "../stream/description-section.ts";
import type { GuestTime } from "./guest-time.ts";
import type {
  ExecutionStatistics,
  MachineBlueprint,
  MachineControl,
  MachineDescription,
  MachineEvent,
} from "./machine-control.ts";
import type { MachineCall, MachineMessage, MachineMethod, MachineThreadData } from "./remote-machine.ts";

interface PendingCall {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A machine on a thread of its own, as the main thread sees it. */
export class MachineThread implements MachineControl {
  readonly #worker: Worker;
  readonly #onEvent: (event: MachineEvent) => void;
  readonly #pending = new Map<number, PendingCall>();
  readonly #exited: Promise<void>;
  #nextCall = 0;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;

  /** @param thread - one that has begun already and has no machine yet. */
  constructor(data: MachineThreadData, onEvent: (event: MachineEvent) => void, thread: Worker = beginMachineThread()) {
    this.#onEvent = onEvent;
    this.#worker = thread;
    this.#worker.ref();
    this.#worker.on("message", (message: MachineMessage) => this.#receive(message));
    this.#worker.on("error", (error) => this.#fail(error));
    this.#exited = new Promise((resolve) => {
      this.#worker.on("exit", () => {
        this.#fail(new Error(this.#closing === undefined ? "it ended by itself" : "it was ended"));
        resolve();
      });
    });
    this.#worker.postMessage(data);
  }

  build(blueprint: MachineBlueprint): Promise<MachineDescription> {
    return this.#call("build", blueprint) as Promise<MachineDescription>;
  }

  boot(): Promise<void> {
    return this.#call("boot") as Promise<void>;
  }

  start(): Promise<void> {
    return this.#call("start") as Promise<void>;
  }

  pause(): Promise<void> {
    return this.#call("pause") as Promise<void>;
  }

  reset(): Promise<void> {
    return this.#call("reset") as Promise<void>;
  }

  acknowledge(): Promise<void> {
    return this.#call("acknowledge") as Promise<void>;
  }

  wakeUp(): Promise<string | undefined> {
    return this.#call("wakeUp") as Promise<string | undefined>;
  }

  releaseDisks(): Promise<void> {
    return this.#call("releaseDisks") as Promise<void>;
  }

  claimDisks(): Promise<void> {
    return this.#call("claimDisks") as Promise<void>;
  }

  save(): Promise<readonly DeviceSection[]> {
    return this.#call("save") as Promise<readonly DeviceSection[]>;
  }

  prepareLoad(sections: readonly DeviceSection[]): Promise<void> {
    return this.#call("prepareLoad", sections) as Promise<void>;
  }

  load(guestTime: GuestTime): Promise<void> {
    return this.#call("load", guestTime) as Promise<void>;
  }

  branch(): Promise<void> {
    return this.#call("branch") as Promise<void>;
  }

  powerDown(): Promise<void> {
    return this.#call("powerDown") as Promise<void>;
  }

  setBalloon(target: number): Promise<void> {
    return this.#call("setBalloon", target) as Promise<void>;
  }

  queryBalloon(): Promise<number> {
    return this.#call("queryBalloon") as Promise<number>;
  }

  setLink(name: string, up: boolean): Promise<void> {
    return this.#call("setLink", name, up) as Promise<void>;
  }

  input(characterDevice: string, bytes: Uint8Array): Promise<void> {
    return this.#call("input", characterDevice, bytes) as Promise<void>;
  }

  outputTaken(characterDevice: string, length: number): Promise<void> {
    return this.#call("outputTaken", characterDevice, length) as Promise<void>;
  }

  setOpened(characterDevice: string, opened: boolean): Promise<void> {
    return this.#call("setOpened", characterDevice, opened) as Promise<void>;
  }

  statistics(): Promise<ExecutionStatistics> {
    return this.#call("statistics") as Promise<ExecutionStatistics>;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A machine that does not answer any more is ended all the same.
    const deadline = setTimeout(() => void this.#worker.terminate(), 5000);
    await this.#call("close").catch(() => undefined);
    await this.#worker.terminate();
    clearTimeout(deadline);
    await this.#exited;
  }

  #call(method: MachineMethod, ...parameters: readonly unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const call = this.#nextCall++;
      this.#pending.set(call, { resolve, reject });
      const message: MachineCall = { call, method, parameters };
      this.#worker.postMessage(message);
    });
  }

  #receive(message: MachineMessage): void {
    if ("event" in message) {
      this.#onEvent(message.event);
      return;
    }
    const pending = this.#pending.get(message.call);
    this.#pending.delete(message.call);
    if ("error" in message) {
      pending?.reject(deserializeError(message.error));
    } else {
      pending?.resolve(message.result);
    }
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) {
      return;
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#failure = machineErrors.ERR_CPR_MACHINE_THREAD({ reason }, { cause });
    for (const { reject } of this.#pending.values()) {
      reject(this.#failure);
    }
    this.#pending.clear();
    if (this.#closing === undefined) {
      this.#onEvent({ kind: "failed", error: serializeError(this.#failure) });
    }
  }
}
