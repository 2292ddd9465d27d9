import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { uriOf } from "../src/migration-channels.ts";

const main = (addr: Record<string, unknown>) => ({ "channel-type": "main", addr });
const uri = (addr: Record<string, unknown>) => uriOf({ channels: [main(addr)] });

describe("the channels of migrate", () => {
  it("are another way to write a URI", () => {
    expect(uriOf({ uri: "file:vm.state" })).toBe("file:vm.state");
    expect(uriOf({ uri: "file:vm.state", channels: [] })).toBe("file:vm.state");
    expect(uri({ transport: "file", filename: "/tmp/a b", offset: 0 })).toBe("file:/tmp/a b");
    expect(uri({ transport: "file", filename: "vm.state", offset: 4096 })).toBe("file:vm.state,offset=4096");
    expect(uri({ transport: "socket", type: "inet", host: "127.0.0.1", port: "4444" })).toBe("tcp:127.0.0.1:4444");
    expect(uri({ transport: "socket", type: "inet", host: "::1", port: "4444" })).toBe("tcp:[::1]:4444");
    expect(uri({ transport: "socket", type: "unix", path: "/run/m.sock" })).toBe("unix:/run/m.sock");
    expect(uri({ transport: "socket", type: "vsock", cid: "3", port: "4444" })).toBe("vsock:3:4444");
    expect(uri({ transport: "socket", type: "fd", str: "stream" })).toBe("fd:stream");
    expect(uri({ transport: "rdma", host: "a", port: "1" })).toBe("rdma:a:1");
  });

  it("hand the arguments of a program over as they are, whatever a shell would make of them", () => {
    const args = ["printf", "%s|", "a b", "it's", "$HOME", "`id`", "*", "", "\\", "a\nb", "-n", "&& false"];
    const text = uri({ transport: "exec", args });
    expect(text).toMatch(/^exec:printf /);
    const output = execFileSync("/bin/sh", ["-c", text.slice("exec:".length)], { encoding: "utf8" });
    expect(output).toBe(
      args
        .slice(2)
        .map((argument) => `${argument}|`)
        .join(""),
    );
  });

  it.each([
    ["neither", {}, "need either 'uri' or 'channels' argument"],
    ["both", { uri: "file:a", channels: [main({ transport: "file", filename: "a", offset: 0 })] }, "need either"],
    ["an empty list", { channels: [] }, "need either 'uri' or 'channels' argument"],
    ["two of one type", { channels: [main({}), main({})] }, "Channel list has more than one main entry"],
    ["none of type main", { channels: [{ "channel-type": "cpr", addr: {} }] }, "Channel list has no main entry"],
    [
      "one of another type beside it",
      { channels: [main({}), { "channel-type": "cpr", addr: {} }] },
      "Channel list must have only one entry, for type 'main'",
    ],
    [
      "a socket without its path",
      { channels: [main({ transport: "socket", type: "unix" })] },
      "Parameter 'channels[0].addr.path' is missing",
    ],
    [
      "a socket with the member of another kind",
      { channels: [main({ transport: "socket", type: "unix", path: "a", port: "1" })] },
      "Parameter 'channels[0].addr.port' is unexpected",
    ],
    [
      "a file whose name looks like an option",
      { channels: [main({ transport: "file", filename: "a,offset=1", offset: 0 })] },
      "cannot be used",
    ],
  ])("are refused: %s", (_, values, text) => {
    expect(() => uriOf(values)).toThrow(text);
  });
});
