import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { expect, it } from "vitest";
import { DebugPortModel } from "../src/index.ts";

it("outputs bytes, tells that it is there, and ends the VM", () => {
  const context = new FakeDeviceContext({ properties: { characterDevice: "debug" } });
  new DebugPortModel().create(context);
  for (const byte of Buffer.from("ok")) context.bus.ports.write(0xe9, 1, byte);
  expect(context.characterDevice("debug").text).toBe("ok");
  expect(context.bus.ports.read(0xe9, 1)).toBe(0xe9);
  expect(context.requests).toEqual([]);
  context.bus.ports.write(0xf4, 4, 1);
  expect(context.requests).toEqual(["shutdown"]);
});
