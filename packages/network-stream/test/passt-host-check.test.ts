import { FakeHost } from "@cpr/testkit/fakes";
import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { expect, test } from "vitest";
import { PasstHostCheck } from "../src/index.ts";

const ready = { "/usr/bin/passt": "" } as const;

hostCheckCompliance({
  name: "passt",
  create: (host) => new PasstHostCheck(host),
  hosts: { "a host with the program": ready },
});

test("it says where the program is, or how to get it", async () => {
  expect(await new PasstHostCheck(new FakeHost(ready)).examine()).toMatchObject([
    { subject: "passt", status: "ready", found: "/usr/bin/passt" },
  ]);
  expect(await new PasstHostCheck(new FakeHost()).examine()).toMatchObject([
    { status: "missing", remedy: expect.stringContaining("apt-get install passt") },
  ]);
});
