import { checkpointPurposes } from "../migration-mode.ts";

/** The value of a migration parameter. */
export type ParameterValue = string | number | boolean;

/** What is known about a migration parameter of QEMU (QAPI MigrationParameters). */
export interface ParameterDefinition {
  readonly initial: ParameterValue;
  /** Setting it has an effect, or needs none here. If not, setting it is refused. */
  readonly supported: boolean;
  /** For an integer: the least and the greatest value. */
  readonly range?: readonly [least: number, greatest: number];
  /** An integer that may carry a size suffix, as bytes: the suffix that a person means who writes none. */
  readonly size?: "B" | "M";
  /** What it expects, in QEMU's words; follows from the range if undefined. */
  readonly expects?: string;
  /** The words that it can be. */
  readonly words?: readonly string[];
}

const integer = (initial: number, least: number, greatest: number, supported = false): ParameterDefinition => ({
  initial,
  supported,
  range: [least, greatest],
});

/** QEMU's monitor reads a bandwidth without a suffix as MiB/s. Management programs write nearly 2^63 for no limit. */
const bandwidth = (supported = false): ParameterDefinition => ({
  initial: 0,
  supported,
  range: [0, 2 ** 64],
  size: "M",
  expects: "an integer in the range of 0 to 18446744073709551615 bytes/second",
});

const percentage = (initial: number): ParameterDefinition => ({
  ...integer(initial, 1, 99),
  expects: "an integer in the range of 1 to 99",
});

/** All migration modes that QEMU has, whether they are installed here or not. */
export const qemuModes: readonly string[] = ["normal", "cpr-reboot", "cpr-transfer", "cpr-exec"];

/** All parameters that QEMU has, in its order, and ours behind them. `mode` takes the names of the installed migration modes. */
export const parameterDefinitions: Readonly<Record<string, ParameterDefinition>> = {
  "announce-initial": integer(50, 0, 100_000),
  "announce-max": integer(550, 0, 100_000),
  "announce-rounds": integer(5, 0, 1000),
  "announce-step": integer(100, 0, 10_000),
  "throttle-trigger-threshold": { ...integer(50, 1, 100), expects: "an integer in the range of 1 to 100" },
  "cpu-throttle-initial": percentage(20),
  "cpu-throttle-increment": percentage(10),
  "cpu-throttle-tailslow": { initial: false, supported: false },
  "max-cpu-throttle": percentage(99),
  "tls-creds": { initial: "", supported: false },
  "tls-hostname": { initial: "", supported: false },
  "tls-authz": { initial: "", supported: false },
  // Bytes per second. QEMU begins with 128 MiB/s; here 0, which is no limit: the guest stands still meanwhile.
  "max-bandwidth": bandwidth(true),
  "avail-switchover-bandwidth": bandwidth(),
  // Milliseconds. The VM is stopped for the whole of a migration, so there is nothing to limit.
  "downtime-limit": {
    ...integer(300, 0, 2_000_000, true),
    expects: "an integer in the range of 0 to 2000000 ms",
  },
  "x-checkpoint-delay": integer(20_000, 0, 0xffff_ffff),
  "multifd-channels": integer(2, 1, 255, true),
  "multifd-compression": {
    initial: "none",
    supported: false,
    words: ["none", "zlib", "zstd", "qatzip", "qpl", "uadk"],
  },
  "multifd-zlib-level": integer(1, 0, 9),
  "multifd-zstd-level": integer(1, 0, 20),
  "multifd-qatzip-level": integer(1, 1, 9),
  "xbzrle-cache-size": { ...integer(64 * 1024 * 1024, 4096, Number.MAX_SAFE_INTEGER), size: "B" },
  "max-postcopy-bandwidth": bandwidth(),
  "block-bitmap-mapping": { initial: "", supported: false },
  "x-vcpu-dirty-limit-period": integer(1000, 1, 1000),
  "vcpu-dirty-limit": integer(1, 1, Number.MAX_SAFE_INTEGER),
  mode: { initial: "normal", supported: true },
  "zero-page-detection": { initial: "legacy", supported: false, words: ["none", "legacy", "multifd"] },
  "direct-io": { initial: false, supported: true },
  "cpr-exec-command": { initial: "", supported: false },
  // Ids of host files, with commas between them, that may have changed since the VM was saved.
  "x-accept-changed-files": { initial: "", supported: true },
  // What a checkpoint is to outlive: the process, or the host's kernel too.
  "x-checkpoint-for": { initial: "restart", supported: true, words: checkpointPurposes },
  // Whether the guest's clocks stand still while it is in a checkpoint, or are moved ahead when it is loaded.
  "x-guest-time": { initial: "still", supported: true, words: ["still", "advance"] },
};
