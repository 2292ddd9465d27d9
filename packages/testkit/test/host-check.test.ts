import { openSync } from "node:fs";
import type { HostCheck, HostFinding, LinuxHost } from "@cpr/core";
import { describe, expect, test } from "vitest";
import { patience } from "../src/expectations.ts";
import { FakeHost } from "../src/fakes.ts";
import { hostCheckCases, hostCheckCompliance } from "../src/host-check.ts";
import { failingCases } from "./failing-cases.ts";

/** Looks for a device, and at its speed. */
class DeviceCheck implements HostCheck {
  readonly name: string = "device";
  readonly summary: string = "A device.";
  protected readonly host: LinuxHost;

  constructor(host: LinuxHost) {
    this.host = host;
  }

  async examine(): Promise<readonly HostFinding[]> {
    const speed = this.host.number("/sys/device/speed");
    return this.host.has("/dev/device")
      ? [{ subject: "device", status: "ready", found: speed === undefined ? "a device" : `a device of speed ${speed}` }]
      : [{ subject: "device", status: "missing", found: "no device", remedy: "Buy one." }];
  }
}

const hosts = { "a host with a device": { "/dev/device": "", "/sys/device/speed": "5\n" } };

hostCheckCompliance({ name: "device", create: (host) => new DeviceCheck(host), hosts });

const tells = (label: string) => `tells of ${label} what it found, and what to do about what is not ready`;
const [machine, nothing, device] = ["the machine of the test", "a host that has nothing", "a host with a device"].map(
  tells,
) as [string, string, string];
const everywhere = "takes files for what they are, whatever is in them";
let count = 0;

const broken: Record<string, { readonly check: new (host: LinuxHost) => HostCheck; readonly noticedBy: string[] }> = {
  "says nothing about itself": {
    check: class extends DeviceCheck {
      override readonly summary = "";
    },
    noticedBy: ["has its name, and one line about itself"],
  },
  "finds nothing where there is nothing": {
    check: class extends DeviceCheck {
      override async examine() {
        return (await super.examine()).filter(({ status }) => status === "ready");
      }
    },
    noticedBy: [machine, nothing, everywhere],
  },
  "does not know what to do": {
    check: class extends DeviceCheck {
      override async examine() {
        return (await super.examine()).map(({ subject, status, found }) => ({ subject, status, found }));
      }
    },
    noticedBy: [machine, nothing, everywhere],
  },
  "tells of a device twice": {
    check: class extends DeviceCheck {
      override async examine() {
        return [...(await super.examine()), ...(await super.examine())];
      }
    },
    noticedBy: [machine, nothing, device, everywhere],
  },
  "believes what is in files": {
    check: class extends DeviceCheck {
      override async examine(): Promise<readonly HostFinding[]> {
        const speed = Number(this.host.text("/sys/device/speed") ?? 0);
        return [{ subject: "device", status: "ready", found: `speed ${speed}` }];
      }
    },
    noticedBy: [everywhere],
  },
  "throws where files are missing": {
    check: class extends DeviceCheck {
      override async examine(): Promise<readonly HostFinding[]> {
        if (this.host.text("/sys/device/speed") === undefined) throw new Error("no speed");
        return super.examine();
      }
    },
    noticedBy: [
      machine,
      nothing,
      "says the same every time",
      everywhere,
      "leaves the process and the machine as they were",
    ],
  },
  "counts how often it is asked": {
    check: class extends DeviceCheck {
      override async examine() {
        return (await super.examine()).map((finding) => ({ ...finding, found: `look ${count++}` }));
      }
    },
    noticedBy: ["says the same every time"],
  },
  "keeps files open": {
    check: class extends DeviceCheck {
      override async examine() {
        openSync("/dev/null", "r");
        return super.examine();
      }
    },
    noticedBy: ["leaves the process and the machine as they were"],
  },
};

describe("the suite of host checks", () => {
  test.each(Object.entries(broken))("notices a check that %s", async (_label, { check: Broken, noticedBy }) => {
    const cases = hostCheckCases({ name: "broken", create: (host) => new Broken(host), hosts });
    expect(await failingCases(cases)).toEqual(noticedBy);
  });

  test("notices a check that does not end", async () => {
    const never = { name: "never", summary: "It waits.", examine: () => new Promise<never>(() => undefined) };
    const [, first] = hostCheckCases({ name: "never", create: () => never, hosts: {} });
    const { milliseconds } = patience;
    patience.milliseconds = 20;
    try {
      await expect(first?.run()).rejects.toThrow("the end of the check did not happen");
    } finally {
      patience.milliseconds = milliseconds;
    }
  });
});

describe("a fake host", () => {
  const space = { kind: "tmpfs", survivesReboot: false, total: 2, free: 1 } as const;
  const host = new FakeHost({
    "/sys/class/thing": { link: "../devices/thing" },
    "/sys/devices/thing/size": "0x10\n",
    "/dev/secret": { forbidden: true },
    "/dev/shm": { space },
  });

  test("has files, folders, links and file systems like a real one", async () => {
    expect(host.names("/sys")).toEqual(["class", "devices"]);
    expect(host.target("/sys/class/thing/size")).toBe("/sys/devices/thing/size");
    expect(host.number("/sys/class/thing/size")).toBe(16);
    expect(["/sys/class", "/dev/secret", "/dev/none"].map((path) => host.access(path))).toEqual([
      "usable",
      "forbidden",
      "absent",
    ]);
    expect(host.text("/dev/secret")).toBeUndefined();
    expect([host.has("/dev/secret"), host.nearest("/dev/shm/a/b")]).toEqual([true, "/dev/shm"]);
    expect([await host.space("/dev/shm/a"), await host.space("/sys")]).toEqual([space, undefined]);
  });
});
