import { setTimeout as delay } from "node:timers/promises";
import { type HostCheck, type HostFinding, systemReason } from "@cpr/core";
import { type AbilityVerdict, judgeAbilities } from "./host-abilities.ts";

/** What checks have found of a host: what `cpr doctor --json` prints. */
export interface DoctorReport {
  readonly abilities: readonly AbilityVerdict[];
  readonly checks: readonly CheckReport[];
}

/** What one check has found. */
export interface CheckReport {
  readonly name: string;
  readonly summary: string;
  readonly findings: readonly HostFinding[];
}

/**
 * Lets checks look at the host. One that fails is a finding, and one that does not end is not waited for.
 *
 * @param patience - how long one may take, in milliseconds.
 */
export async function examineHost(checks: readonly HostCheck[], patience: number): Promise<DoctorReport> {
  const reports: CheckReport[] = [];
  // One after the other, so that none takes the time of another, which is scarce on a slow host.
  for (const check of checks) {
    reports.push({ name: check.name, summary: check.summary, findings: await findingsOf(check, patience) });
  }
  return { abilities: judgeAbilities(reports.flatMap(({ findings }) => findings)), checks: reports };
}

async function findingsOf(check: HostCheck, patience: number): Promise<readonly HostFinding[]> {
  const timer = new AbortController();
  const { signal } = timer;
  const late = delay(patience, undefined, { signal }).then(() => {
    throw new Error("it does not end");
  });
  try {
    return await Promise.race([check.examine(), late]);
  } catch (error) {
    return [
      {
        subject: "check",
        status: "limited",
        found: `it failed: ${systemReason(error)}`,
        remedy: "What it is about is not known; tell the author of its plugin.",
      },
    ];
  } finally {
    timer.abort();
    late.catch(() => undefined);
  }
}

/** The report for people: a group for each check, then what it comes to. */
export function describeReport({ checks, abilities }: DoctorReport): string {
  const subjects = checks.flatMap(({ findings }) => findings.map(({ subject }) => subject.length));
  const column = Math.max(...subjects) + 2;
  const row = (word: string, text: string): string => `  ${word.padEnd(9)}${text}`;
  const groups = checks.map(({ summary, findings }) => [
    summary,
    ...findings.flatMap(({ subject, status, found, remedy }) => [
      row(status, `${subject.padEnd(column)}${found}`),
      ...(remedy === undefined ? [] : [row("", `${"".padEnd(column)}-> ${remedy}`)]),
    ]),
  ]);
  const summary = [
    "This host can",
    ...abilities.flatMap(({ verdict, meaning, because }) => [
      row(verdict, meaning),
      ...because.map((each) => row("", `  ${each}`)),
    ]),
  ];
  return [...groups, summary].map((lines) => lines.join("\n")).join("\n\n");
}
