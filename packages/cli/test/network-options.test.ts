import { describe, expect, it } from "vitest";
import { addressCards, parseNetworkOptions } from "../src/network-options.ts";

describe("-netdev and -nic", () => {
  it("are read, with all ports that are forwarded", () => {
    const netdev = "user,id=n0,hostfwd=tcp::2222-:22,hostfwd=udp::53-:53,ipv6=off";
    expect(parseNetworkOptions([netdev, "tap,id=n1,ifname=tap0,script=no"], [])).toEqual({
      networks: [
        { type: "user", id: "n0", properties: { hostfwd: "tcp::2222-:22,udp::53-:53", ipv6: "off" } },
        { type: "tap", id: "n1", properties: { ifname: "tap0", script: "no" } },
      ],
      devices: [],
    });
  });

  it("can be a network and its card in one", () => {
    const nics = ["user,model=virtio-net-pci,mac=52:54:00:00:00:01", "none", "tap,id=lan,ifname=tap0"];
    expect(parseNetworkOptions([], nics)).toEqual({
      networks: [
        { type: "user", id: "nic0", properties: {} },
        { type: "tap", id: "lan", properties: { ifname: "tap0" } },
      ],
      devices: [
        { model: "virtio-net-pci", id: "nic0", properties: { netdev: "nic0", mac: "52:54:00:00:00:01" } },
        { model: "virtio-net-pci", id: "lan", properties: { netdev: "lan" } },
      ],
    });
  });

  it.each([
    [["user"], [], "Parameter 'id' is missing"],
    [["id=n0"], [], "Parameter 'type' is missing"],
    [[], ["user,model=e1000"], "Invalid value 'user,model=e1000' for -nic"],
  ])("refuse %j %j", (netdevs, nics, message) => {
    expect(() => parseNetworkOptions(netdevs, nics)).toThrow(message);
  });

  it("give cards without an address the next one", () => {
    const card = (id: string, properties: Record<string, string> = {}) => ({ model: "virtio-net-pci", id, properties });
    const others = [{ model: "virtio-rng-pci", id: "rng", properties: {} }];
    const cards = addressCards([card("a"), ...others, card("b", { mac: "52:54:00:00:00:01" }), card("c")]);
    expect(cards.map(({ properties }) => properties["mac" as never])).toEqual([
      "52:54:00:12:34:56",
      undefined,
      "52:54:00:00:00:01",
      "52:54:00:12:34:57",
    ]);
  });
});
