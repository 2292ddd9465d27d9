import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Scenario } from "../scenario.ts";

const run = promisify(execFile);

/** What the lab is there to offer: what `cpr` gives its guests of a processor, and what a fast backend needs of KVM. */
const expected =
  "KVM_CAP_IRQCHIP KVM_CAP_SPLIT_IRQCHIP KVM_CAP_TSC_DEADLINE_TIMER KVM_CAP_ADJUST_CLOCK KVM_CAP_IMMEDIATE_EXIT KVM_CAP_XSAVE " +
  "KVM_CAP_XCRS KVM_CAP_VCPU_EVENTS KVM_CAP_DEBUGREGS KVM_CAP_SIGNAL_MSI KVM_CAP_IRQFD KVM_CAP_IOEVENTFD sse2 sse3 ssse3 cx16 " +
  "sse4_1 sse4_2 x2apic popcnt xsave rdrand fsgsbase smep smap umip syscall nx pdpe1gb rdtscp lm lahf_lm";

/** A guest whose instructions the kernel emulates one by one executes about a million of them a second. */
const fullSpeed = 20e6;

export const scenario: Scenario = {
  description: "What /dev/kvm in the lab host can do, and how fast it runs a guest",
  seconds: 170,
  programs: ["kvm-probe"],
  async run({ report }) {
    const { stdout } = await run("kvm-probe");
    report(stdout.trimEnd());
    const answers = new Map(
      stdout.split("\n").map((line): [string, number] => {
        const [name = "", value = ""] = line.split(" ");
        return [name, Number(value)];
      }),
    );
    const missing = expected.split(" ").filter((name) => !((answers.get(name) ?? 0) > 0));
    if (missing.length > 0) throw new Error(`KVM in the lab host lacks ${missing.join(", ")}.`);
    const rate = answers.get("instructions_per_second") ?? 0;
    if (!(rate > fullSpeed)) throw new Error(`A guest executes no more than ${rate} instructions a second.`);
  },
};
