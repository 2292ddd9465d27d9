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

  it.each(["unix:a", "unix:a,server=off", "tcp:localhost:4444,server=on", ""])("are not '%s'", (text) => {
    expect(() => parse(text)).toThrow(`Invalid value '${text}' for -qmp`);
  });

  it("are told what is wrong with a socket", () => {
    expect(() => parse("unix:a,server=on,colour=red")).toThrow("Invalid parameter 'colour'");
    expect(() => parse("unix:a,server=off,wait=on")).toThrow("incompatible with socket in client connect mode");
  });
});
