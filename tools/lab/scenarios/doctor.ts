import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { promisify } from "node:util";
import type { DoctorReport } from "@cpr/cli";
import type { HostFinding } from "@cpr/core";
import { cprCommand } from "../../cpr-process.ts";
import { makeDeviceDax, makeFileSystemDax } from "../persistent-memory.ts";
import type { Scenario } from "../scenario.ts";

const run = promisify(execFile);

async function doctor(): Promise<DoctorReport> {
  const { stdout } = await run(process.execPath, [cprCommand, "doctor", "--json"]);
  return JSON.parse(stdout) as DoctorReport;
}

export const scenario: Scenario = {
  description: "cpr doctor finds KVM, kexec and persistent memory, and follows what the memory is made into",
  seconds: 1200,
  host: { nvdimms: ["512M"], disk: "2G" },
  async run({ report }) {
    const expect = async (
      memory: string,
      finding: Pick<HostFinding, "subject" | "status">,
      kernel: string,
    ): Promise<void> => {
      const { abilities, checks } = await doctor();
      const found = checks
        .find(({ name }) => name === "dax")
        ?.findings.find(({ subject }) => subject === finding.subject);
      report(`${memory}: ${JSON.stringify(found)}`);
      for (const [ability, verdict] of Object.entries({
        "full-speed": "yes",
        restart: "yes",
        reboot: "yes",
        "replace-kernel": kernel,
      })) {
        const told = abilities.find((each) => each.ability === ability);
        if (told?.verdict !== verdict)
          throw new Error(`${memory}: ${ability} is not '${verdict}': ${JSON.stringify(told)}`);
      }
      if (found?.status !== finding.status) throw new Error(`${memory}: not '${finding.status}'`);
    };
    await expect("a raw namespace", { subject: "namespace0.0", status: "missing" }, "no");
    // There is no systemd here that would stop services.
    await expect("a node of device DAX", { subject: await makeDeviceDax(), status: "ready" }, "limited");
    const disk = await makeFileSystemDax();
    await run("mkfs.ext4", ["-q", "-b", "4096", disk]);
    mkdirSync("/mnt", { recursive: true });
    await run("mount", ["-o", "dax=always", disk, "/mnt"]);
    await expect("a file system with DAX", { subject: "namespace0.0", status: "ready" }, "limited");
  },
};
