import { FakeHost, type FakeHostFiles } from "@cpr/testkit/fakes";
import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { expect, test } from "vitest";
import { TapHostCheck } from "../src/index.ts";

/** CAP_NET_ADMIN alone. */
const ready = { "/dev/net/tun": "", "/proc/self/status": "Name:\tcpr\nCapEff:\t0000000000001000\n" } as const;

const hosts = {
  "a host that is ready": ready,
  /** All but CAP_NET_ADMIN. */
  "a host of an unprivileged user": { ...ready, "/proc/self/status": "CapEff:\t000001ffffffefff\n" },
  "a host that lets nobody": { ...ready, "/dev/net/tun": { forbidden: true } },
  "a host without the module": {
    "/proc/sys/kernel/osrelease": "6.1.0\n",
    "/boot/config-6.1.0": "CONFIG_TUN=m\n",
  },
  "a host whose kernel has none": {
    "/proc/sys/kernel/osrelease": "6.1.0\n",
    "/boot/config-6.1.0": "CONFIG_NET=y\n",
  },
} as const satisfies Record<string, FakeHostFiles>;

hostCheckCompliance({ name: "tap", create: (host) => new TapHostCheck(host), hosts });

const look = async (files: FakeHostFiles) =>
  Object.fromEntries(
    (await new TapHostCheck(new FakeHost(files)).examine()).map(({ subject, ...rest }) => [subject, rest]),
  );

test("a host with the node and the capability is ready", async () => {
  expect(await look(ready)).toMatchObject({ "/dev/net/tun": { status: "ready" }, permission: { status: "ready" } });
});

test.each([
  ["a host of an unprivileged user", "permission", "limited", /made for it/, /ip tuntap add .* user USER/],
  ["a host that lets nobody", "/dev/net/tun", "missing", /no permission/, /chmod/],
  ["a host without the module", "/dev/net/tun", "missing", /not there/, /^modprobe tun$/],
  ["a host whose kernel has none", "/dev/net/tun", "missing", /without tap/, /CONFIG_TUN.*-netdev user/],
] as const)("of %s", async (label, subject, status, found, remedy) => {
  expect((await look(hosts[label]))[subject]).toMatchObject({
    status,
    found: expect.stringMatching(found),
    remedy: expect.stringMatching(remedy),
  });
});
