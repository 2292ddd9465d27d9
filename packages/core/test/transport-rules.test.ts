import { describe, expect, it } from "vitest";
import { brokenTransportRules } from "../src/migration/transport-rules.ts";

const memory = { seekable: true, parallel: false };
const pipe = { seekable: false, parallel: false };
const file = { seekable: true, parallel: true };

const seekable = "Migration requires seekable transport (e.g. file)";
const channels = "Migration requires multi-channel URIs (e.g. tcp)";
const direct = "Migration requires a transport that allows for extra fds (e.g. file)";

describe("what settings want of a transport", () => {
  it.each([
    ["nothing", [], false, pipe, []],
    ["nothing, as direct-io alone has no effect", [], true, pipe, []],
    ["positions, for threads", ["mapped-ram"], false, file, []],
    ["positions, for threads", ["mapped-ram"], false, memory, [seekable]],
    ["positions", ["mapped-ram"], false, pipe, [seekable]],
    ["channels, which no stream has", ["multifd"], false, file, [channels]],
    ["channels, which no stream has", ["multifd"], false, pipe, [channels]],
    ["channels at positions", ["mapped-ram", "multifd"], false, file, []],
    ["channels at positions", ["mapped-ram", "multifd"], false, memory, [seekable, channels]],
    ["channels at positions", ["mapped-ram", "multifd"], false, pipe, [seekable, channels]],
    ["channels that bypass the cache", ["mapped-ram", "multifd"], true, file, []],
    ["channels that bypass the cache", ["mapped-ram", "multifd"], true, memory, [seekable, channels, direct]],
  ] as const)("%s: %j, direct-io %s, %j", (_what, capabilities, directIo, supports, expected) => {
    const broken = brokenTransportRules({
      uri: { text: "store:a", scheme: "store", rest: "a" },
      transports: [],
      transport: { stores: true, passesDescriptors: false, ...supports },
      capabilities: new Set(capabilities),
      directIo,
      purpose: "restart",
      runState: "running",
      memory: [],
    });
    expect(broken.map(({ message }) => message)).toEqual(expected);
  });
});
