import { RecordingNetworkLink } from "@cpr/testkit/fakes";
import { describe, expect, it } from "vitest";
import { Kernel, NetworkBackend, type NetworkLink, type NetworkOptions } from "../src/index.ts";
import { MachineNetworks } from "../src/machine-thread/machine-networks.ts";
import { definePlugin } from "../src/plugin.ts";

/** Links by the id of their network, as the plugin's backend has opened them. */
const links = new Map<string, RecordingNetworkLink>();

class FakeNetworkBackend implements NetworkBackend {
  readonly name = "fake";
  readonly supports = { offloads: false, survivesProcessExit: true };

  async open({ id, properties }: NetworkOptions): Promise<NetworkLink> {
    if (properties["broken"] !== undefined) throw new Error("it is broken");
    const link = new RecordingNetworkLink();
    links.set(id, link);
    return link;
  }
}

const kernel = new Kernel(
  [
    {
      name: "fake",
      version: "1.0.0",
      description: "",
      path: "/fake/package.json",
      module: "",
      manifest: { api: 1, plugin: "./plugin", provides: { "network-backend": ["fake"] } },
    },
  ],
  {
    importPlugin: async () => ({
      default: definePlugin({
        name: "fake",
        setup: (context) => context.contribute(NetworkBackend, FakeNetworkBackend),
      }),
    }),
  },
);
const network = (id: string, properties: Record<string, string> = {}): NetworkOptions => ({
  type: "fake",
  id,
  properties,
});

async function open(...networks: NetworkOptions[]): Promise<MachineNetworks> {
  const machineNetworks = new MachineNetworks();
  await machineNetworks.open(kernel, networks, { incoming: false });
  return machineNetworks;
}

describe("the networks of a machine", () => {
  it("are had by one device each", async () => {
    const networks = await open(network("n0"), network("n1"));
    const link = networks.take("n1", "net0");
    link.send([Uint8Array.of(1)]);
    expect([links.get("n0")?.sent.length, links.get("n1")?.sent.length]).toEqual([0, 1]);
    expect(() => networks.take("n1", "net1")).toThrow("Property 'net1.netdev' can't take value 'n1', it's in use");
    expect(() => networks.take("n2", "net1")).toThrow("Property 'net1.netdev' can't find value 'n2'");
  });

  it("are held while the machine runs, if a device has them", async () => {
    const networks = await open(network("n0"), network("n1"));
    networks.take("n0", "net0");
    await networks.start();
    expect([links.get("n0")?.running, links.get("n1")?.running]).toEqual([true, false]);
    networks.stop();
    expect(links.get("n0")?.running).toBe(false);
  });

  it("lose what goes through them while the cable is out, which cards are told", async () => {
    const networks = await open(network("n0"));
    const link = networks.take("n0", "net0");
    const below = links.get("n0") as RecordingNetworkLink;
    const seen: string[] = [];
    let room = true;
    link.attach({
      receive: (frame) => room && seen.push(`frame ${frame[0]}`) > 0,
      sendable: () => seen.push("sendable"),
      linkChanged: () => seen.push(link.up ? "up" : "down"),
    });
    // Nobody is told before it runs.
    networks.setLink("n0", false);
    networks.setLink("n0", true);
    await networks.start();
    expect(link.send([Uint8Array.of(1)])).toBe(true);
    room = false;
    below.deliver(Uint8Array.of(2));
    below.room = 0;
    expect(link.send([Uint8Array.of(3)])).toBe(false);
    expect(seen).toEqual([]);
    networks.setLink("net0", false);
    expect(link.up).toBe(false);
    expect([below.waiting, seen]).toEqual([0, ["down", "sendable"]]);
    expect(link.send([Uint8Array.of(4)])).toBe(true);
    below.deliver(Uint8Array.of(5));
    [room, below.room] = [true, 1];
    networks.setLink("n0", true);
    below.deliver(Uint8Array.of(6));
    expect(link.send([Uint8Array.of(7)])).toBe(true);
    expect(seen).toEqual(["down", "sendable", "up", "frame 6"]);
    expect(below.sent.map((frame) => frame[0])).toEqual([1, 7]);
    below.plug(false);
    expect(seen.at(-1)).toBe("down");
  });

  it("are found by the id of the card too, and others are not", async () => {
    const networks = await open(network("n0"));
    networks.take("n0", "net0");
    networks.setLink("n0", false);
    networks.setLink("net0", true);
    expect(() => networks.setLink("net1", false)).toThrow("Device 'net1' not found");
  });

  it("are closed if one cannot be opened", async () => {
    await expect(open(network("n0"), network("n1", { broken: "" }))).rejects.toThrow("it is broken");
    expect(links.get("n0")?.closed).toBe(true);
    await expect(open(network("n0"), network("n0"))).rejects.toThrow("Duplicate ID 'n0' for netdev");
    await expect(open({ ...network("n0"), type: "carrier-pigeon" })).rejects.toThrow(
      "Parameter 'type' does not accept value 'carrier-pigeon'",
    );
  });
});
