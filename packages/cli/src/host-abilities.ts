import type { HostAbility, HostFinding } from "@cpr/core";

/** Whether a host can be used for something. */
export interface AbilityVerdict {
  readonly ability: HostAbility;
  /** What that is, to be read after "this host can". */
  readonly meaning: string;
  readonly verdict: "yes" | "limited" | "no";
  /** What of the host it is due to, unless the verdict is `yes`. */
  readonly because: readonly string[];
}

const meanings: Readonly<Record<HostAbility, string>> = {
  run: "run VMs",
  "full-speed": "run VMs at the speed of its processor",
  restart: "restart cpr under its VMs, with their RAM in place",
  reboot: "carry VMs over a reboot, with their RAM in files on a disk",
  "replace-kernel": "replace its kernel under its VMs, with their RAM in place",
};

/** What a host can be used for, from everything that was found of it. */
export function judgeAbilities(findings: readonly HostFinding[]): readonly AbilityVerdict[] {
  return (Object.keys(meanings) as HostAbility[]).map((ability) => {
    const needed = findings.filter(({ neededFor }) => neededFor?.includes(ability));
    const enough = findings.filter(({ enoughFor }) => enoughFor?.includes(ability));
    const lacking = needed.filter(({ status }) => status === "missing");
    const offers = enough.filter(({ status }) => status !== "missing");
    const limits = [
      ...needed.filter(({ status }) => status === "limited"),
      ...(offers.some(({ status }) => status === "ready") ? [] : offers),
    ];
    const impossible = lacking.length > 0 || offers.length === 0;
    const because = impossible ? [...lacking, ...(offers.length === 0 ? enough : [])] : limits;
    return {
      ability,
      meaning: meanings[ability],
      verdict: impossible ? "no" : limits.length > 0 ? "limited" : "yes",
      because: because.map(({ subject, found }) => (found.includes(subject) ? found : `${subject}: ${found}`)),
    };
  });
}
