import { describe, expect, it } from "vitest";
import { parseMonitorDevice } from "../src/monitor-device.ts";

const parse = (text: string) => parseMonitorDevice("qmp", text);

describe("the values of -qmp and -monitor", () => {
  it("are stdio, none and Unix sockets", () => {
    expect(parse("stdio")).toEqual({ kind: "stdio" });
    expect(parse("none")).toEqual({ kind: "none" });
    expect(parse("unix:/run/vm.sock,server=on,wait=off")).toEqual({ kind: "unix", path: "/run/vm.sock", wait: false });
  });

  it("make a server wait unless it is told not to, as in QEMU", () => {
    expect(parse("unix:a,server=on")).toMatchObject({ wait: true });
    expect(parse("unix:a,server")).toMatchObject({ wait: true });
    expect(parse("unix:a,server,nowait")).toMatchObject({ wait: false });
  });

  it("have commas in paths written twice", () => {
    expect(parse("unix:a,,b,server=on,wait=off")).toMatchObject({ path: "a,b" });
  });

  it.each([
    "unix:a",
    "unix:a,server=off",
    "unix:,server=on",
    "tcp:localhost:4444,server=on",
    "unix:a,server=on,colour=red",
    "",
  ])("are not '%s'", (text) => {
    expect(() => parse(text)).toThrow(`Invalid value '${text}' for -qmp`);
  });
});
