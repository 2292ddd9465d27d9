import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { expect, it } from "vitest";
import { ResetControlModel } from "../src/index.ts";

it("resets when bit 2 of port 0xcf9 rises, and reads back the rest", () => {
  const context = new FakeDeviceContext();
  new ResetControlModel().create(context);
  context.bus.ports.write(0xcf9, 1, 0x02);
  expect(context.requests).toEqual([]);
  context.bus.ports.write(0xcf9, 1, 0x06);
  context.bus.ports.write(0xcf9, 1, 0x06);
  expect(context.requests).toEqual(["reset"]);
  expect(context.bus.ports.read(0xcf9, 1)).toBe(0x06);
  context.bus.ports.write(0xcf9, 1, 0x00);
  context.bus.ports.write(0xcf9, 1, 0x0e);
  expect(context.requests).toHaveLength(2);
});

it("resets when bit 0 of port 0x92 rises", () => {
  const context = new FakeDeviceContext();
  new ResetControlModel().create(context);
  expect(context.bus.ports.read(0x92, 1)).toBe(0x02);
  context.bus.ports.write(0x92, 1, 0x03);
  expect(context.requests).toEqual(["reset"]);
});
