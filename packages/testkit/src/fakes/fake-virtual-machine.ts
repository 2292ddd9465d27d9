import {
  DescriptorRegistry,
  type IncomingOptions,
  type MigrationForecast,
  type MigrationInformation,
  type MigrationSettings,
  type MigrationStatus,
  type OutgoingOptions,
  type RunState,
  type VirtualMachine,
  type VirtualMachineEvent,
} from "@cpr/core";

/**
 * A VM that does nothing but remember what it was told: for tests of monitor commands. Every operation succeeds at once,
 * unless {@link failure} is set.
 */
export class FakeVirtualMachine implements VirtualMachine {
  readonly name: string = "fake";
  readonly uuid: string | undefined = "550e8400-e29b-41d4-a716-446655440000";
  runState: RunState = "running";
  /** The operations that were called, with their arguments. */
  readonly calls: (readonly unknown[])[] = [];
  /** What every operation fails with. */
  failure: Error | undefined;
  readonly notices: readonly string[] = [];
  readonly settings: MigrationSettings;
  readonly descriptors: DescriptorRegistry = new DescriptorRegistry();
  readonly ended: VirtualMachine["ended"];
  readonly #capabilities = new Map([
    ["events", false],
    ["x-ignore-shared", false],
  ]);
  readonly #parameters = new Map<string, string | number | boolean>([
    ["max-bandwidth", 0],
    ["mode", "normal"],
  ]);
  readonly #listeners: ((event: VirtualMachineEvent) => void)[] = [];
  #resolveEnded: (end: Awaited<VirtualMachine["ended"]>) => void = () => undefined;
  #information: MigrationInformation = { status: "none", mode: "normal", blockedReasons: [] };

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.settings = {
      capabilities: () => this.#capabilities,
      setCapability: (name, on) => {
        this.#note("setCapability", name, on);
        this.#capabilities.set(name, on);
      },
      setCapabilities: (list) => {
        this.#note("setCapabilities", list);
        for (const { capability, state } of list) {
          this.#capabilities.set(capability, state);
        }
      },
      parameters: () => this.#parameters,
      setParameter: (name, value) => {
        this.#note("setParameter", name, value);
        this.#parameters.set(name, value);
      },
      setParameters: (values) => {
        this.#note("setParameters", values);
        for (const [name, value] of Object.entries(values)) {
          this.#parameters.set(name, value as string | number | boolean);
        }
      },
    };
  }

  async stop(): Promise<void> {
    this.#note("stop");
    this.runState = "paused";
  }

  async cont(): Promise<void> {
    this.#note("cont");
    this.runState = "running";
  }

  async reset(): Promise<void> {
    this.#note("reset");
  }

  async powerDown(): Promise<void> {
    this.#note("powerDown");
  }

  async setBalloon(target: number): Promise<void> {
    this.#note("setBalloon", target);
  }

  async queryBalloon(): Promise<number> {
    this.#note("queryBalloon");
    return 64 << 20;
  }

  async setLink(name: string, up: boolean): Promise<void> {
    this.#note("setLink", name, up);
  }

  async wakeUp(): Promise<void> {
    this.#note("wakeUp");
  }

  async input(characterDevice: string, bytes: Uint8Array): Promise<void> {
    this.#note("input", characterDevice, bytes);
  }

  async migrate(uri: string, options?: OutgoingOptions): Promise<void> {
    this.#note("migrate", uri, ...(options === undefined ? [] : [options]));
    this.runState = "postmigrate";
    const ram = {
      total: 1 << 20,
      transferred: 4096,
      remaining: 0,
      inPlace: 0,
      zeroPages: 255,
      normalPages: 1,
      passes: 1,
    };
    const times = { totalTime: 2, setupTime: 1, downtime: 1 };
    this.#information = { status: "completed", mode: "normal", ...times, ram, blockedReasons: [] };
  }

  async migrationDone(): Promise<MigrationInformation> {
    return this.#information;
  }

  async migrateCancel(): Promise<void> {
    this.#note("migrateCancel");
  }

  async migrateContinue(state: MigrationStatus): Promise<void> {
    this.#note("migrateContinue", state);
  }

  async planMigration(uri: string): Promise<MigrationForecast> {
    this.#note("planMigration", uri);
    const size = 1 << 20;
    const location = "/dev/shm/ram0";
    const reason = `RAM 'ram0' (${location}) is shared and can be found again, so it stays in place`;
    const place = { location, survivesReboot: false, inPlace: true, reason, looksShared: false };
    return {
      uri,
      mode: String(this.#parameters.get("mode")),
      purpose: "restart",
      runState: this.runState,
      capabilities: [...this.#capabilities].flatMap(([name, on]) => (on ? [name] : [])),
      transport: {
        scheme: "file",
        supports: { stores: true, seekable: true, parallel: true, passesDescriptors: false },
      },
      refusals: [],
      blockedReasons: [],
      ram: [{ id: "ram0", size, ...place, copied: 0 }],
      copied: 0,
    };
  }

  async migrateIncoming(uri: string, options?: IncomingOptions): Promise<void> {
    this.#note("migrateIncoming", uri, ...(options === undefined ? [] : [options]));
    this.runState = "running";
  }

  queryMigrate(): MigrationInformation {
    return this.#information;
  }

  queryMemory(): ReturnType<VirtualMachine["queryMemory"]> {
    return [{ id: "ram0", size: 1 << 20, share: true, prealloc: false, location: "/dev/shm/ram0" }];
  }

  async queryBlock(): ReturnType<VirtualMachine["queryBlock"]> {
    return [
      {
        ...{ id: "disk0", driver: "raw", path: "/srv/disk.raw", readOnly: false, discard: "unmap", locking: true },
        ...{ cache: { direct: false, noFlush: false }, size: 1 << 30, actualSize: 1 << 20, user: "virtio0" },
      },
    ];
  }

  queryCharacterDevices(): ReturnType<VirtualMachine["queryCharacterDevices"]> {
    return [
      { id: "serial0", filename: "stdio", listening: true },
      { id: "agent", filename: "disconnected:unix:/run/agent.sock,server=on", listening: false },
    ];
  }

  async queryExecution(): ReturnType<VirtualMachine["queryExecution"]> {
    return { backend: "fake", processors: 1, instructions: 12_345 };
  }

  on(listener: (event: VirtualMachineEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** Tells the listeners that something has happened. */
  emit(event: VirtualMachineEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async quit(): Promise<void> {
    this.#note("quit");
    this.#resolveEnded({ reason: "quit" });
  }

  #note(...call: readonly unknown[]): void {
    this.calls.push(call);
    if (this.failure !== undefined) {
      throw this.failure;
    }
  }
}
