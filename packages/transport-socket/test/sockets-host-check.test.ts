import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { expect, test } from "vitest";
import { SocketsHostCheck } from "../src/index.ts";

hostCheckCompliance({ name: "sockets", create: () => new SocketsHostCheck(), hosts: {} });

test("without the addon, it says how to get it", async () => {
  expect(await new SocketsHostCheck(() => true).examine()).toMatchObject([{ status: "ready" }]);
  expect(await new SocketsHostCheck(() => false).examine()).toMatchObject([
    {
      status: "missing",
      found: expect.stringMatching(/not compiled/),
      remedy: expect.stringContaining("pnpm install"),
    },
  ]);
});
