import { describe, expect, it } from "vitest";
import { parseChardev, parseSerial } from "../src/character-backends/backend-options.ts";

const unix = (path: string, server: boolean, wait: boolean) => ({
  kind: "socket",
  address: { kind: "unix", path },
  server,
  wait,
});

describe("-chardev", () => {
  it.each([
    ["null,id=n", { kind: "null" }],
    ["pty,id=p", { kind: "pty" }],
    ["stdio,id=s", { kind: "stdio", withMonitor: false }],
    ["file,id=f,path=a,,b.log", { kind: "file", path: "a,b.log", append: false }],
    ["file,id=f,path=a,append=on", { kind: "file", path: "a", append: true }],
    ["socket,id=qga0,path=qga.sock,server=on,wait=off", unix("qga.sock", true, false)],
    ["socket,path=qga.sock,server=on,id=a", unix("qga.sock", true, true)],
    ["socket,id=a,path=s,server,nowait", unix("s", true, false)],
    ["socket,id=a,path=a,,server,server=on,wait=off", unix("a,server", true, false)],
    ["socket,id=a,path=s", unix("s", false, false)],
    [
      "socket,id=a,host=localhost,port=4444,server=on,wait=off",
      { kind: "socket", address: { kind: "tcp", host: "localhost", port: 4444 }, server: true, wait: false },
    ],
  ])("%s", (text, options) => {
    expect(parseChardev(text)).toEqual({ id: /id=(\w+)/.exec(text)?.[1], options });
  });

  it.each([
    ["stdio", "Parameter 'id' is missing"],
    ["stdio,id=0", "Parameter 'id' expects an identifier"],
    ["vc,id=a", "'vc' is not a valid char driver name"],
    ["file,id=a", "chardev: file: no filename given"],
    ["file,id=a,path=f,append=yes", "Parameter 'append' expects 'on' or 'off'"],
    ["pty,id=a,path=/dev/pts/1", "Invalid parameter 'path'"],
    ["socket,id=a", "Exactly one of 'path', 'fd' or 'host' required"],
    ["socket,id=a,path=s,host=h", "Exactly one of 'path', 'fd' or 'host' required"],
    ["socket,id=a,path=s,wait=off", "'wait' option is incompatible with socket in client connect mode"],
    ["socket,id=a,path=s,server=1", "Parameter 'server' expects 'on' or 'off'"],
    ["socket,id=a,host=h", "chardev: socket: no port given"],
    ["socket,id=a,host=h,port=99999", "Parameter 'port' expects a number from 0 to 65535"],
    ["socket,id=a,path=s,telnet=on", "Invalid parameter 'telnet'"],
  ])("refuses %s", (text, problem) => {
    expect(() => parseChardev(text)).toThrow(`-chardev ${text}: ${problem}`);
  });
});

describe("-serial", () => {
  it.each([
    ["mon:stdio", { kind: "stdio", withMonitor: true }],
    ["stdio", { kind: "stdio", withMonitor: false }],
    ["none", { kind: "null" }],
    ["null", { kind: "null" }],
    ["pty", { kind: "pty" }],
    ["file:a,b", { kind: "file", path: "a,b", append: false }],
    ["chardev:con0", { kind: "chardev", id: "con0" }],
    ["unix:a,,b,server=on,wait=off", unix("a,b", true, false)],
    [
      "tcp:localhost:4444,server,nowait",
      { kind: "socket", address: { kind: "tcp", host: "localhost", port: 4444 }, server: true, wait: false },
    ],
    [
      "tcp:[::1]:4444",
      { kind: "socket", address: { kind: "tcp", host: "::1", port: 4444 }, server: false, wait: false },
    ],
    [
      "tcp::4444,server=on",
      { kind: "socket", address: { kind: "tcp", host: "", port: 4444 }, server: true, wait: true },
    ],
  ])("%s", (text, options) => {
    expect(parseSerial(text)).toEqual(options);
  });

  it.each(["", "vc", "file:", "unix:", "telnet:localhost:1"])("refuses '%s'", (text) => {
    expect(() => parseSerial(text)).toThrow(`Invalid value '${text}' for -serial`);
  });

  it.each(["tcp:localhost", "unix:a,colour=red"])("refuses '%s', and says why", (text) => {
    expect(() => parseSerial(text)).toThrow(`-serial ${text}: `);
  });
});
