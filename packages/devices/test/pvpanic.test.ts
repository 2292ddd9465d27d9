import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { expect, it } from "vitest";
import { PvpanicModel } from "../src/index.ts";

it("pvpanic tells which events there are, and of a panic, and of nothing else", () => {
  const context = new FakeDeviceContext();
  new PvpanicModel().create(context);
  const { ports } = context.bus;
  expect(ports.read(0x505, 1)).toBe(1);
  ports.write(0x505, 1, 0xfe);
  expect(context.requests).toEqual([]);
  ports.write(0x505, 1, 0x03);
  expect(context.requests).toEqual(["guest-panic"]);
});
