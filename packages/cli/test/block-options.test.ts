import { describe, expect, it } from "vitest";
import { parseBlockOptions } from "../src/block-options.ts";

const plain = {
  driver: "raw",
  readOnly: false,
  cache: { direct: false, noFlush: false },
  discard: "ignore",
  locking: true,
};

describe("-drive", () => {
  it("is a disk and, with if=virtio, its device", () => {
    expect(parseBlockOptions(["file=a,,b.raw,format=raw,if=virtio", "if=virtio,file=c"], [])).toEqual({
      blockDevices: [
        { ...plain, id: "virtio0", path: "a,b.raw" },
        { ...plain, id: "virtio1", path: "c", assumed: true },
      ],
      devices: [
        { model: "virtio-blk-pci", id: "virtio0", properties: { drive: "virtio0" } },
        { model: "virtio-blk-pci", id: "virtio1", properties: { drive: "virtio1" } },
      ],
    });
    expect(parseBlockOptions(["file=a,format=qcow2,if=none,id=hd,readonly=on,file.locking=off"], [])).toEqual({
      blockDevices: [{ ...plain, driver: "qcow2", id: "hd", path: "a", readOnly: true, locking: false }],
      devices: [],
    });
  });

  it("has cache modes, discard, and what the device is given", () => {
    const { blockDevices, devices } = parseBlockOptions(
      ["writethrough", "writeback", "unsafe", "none", "directsync"].map(
        (cache) =>
          `file=f,format=raw,if=virtio,cache=${cache},discard=unmap,serial=S,aio=threads,media=disk,werror=report`,
      ),
      [],
    );
    expect(blockDevices.map(({ cache: { direct, noFlush } }) => [direct, noFlush])).toEqual([
      [false, false],
      [false, false],
      [false, true],
      [true, false],
      [true, false],
    ]);
    expect(devices.map(({ properties }) => properties["write-cache"])).toEqual([
      "off",
      undefined,
      undefined,
      undefined,
      "off",
    ]);
    expect(blockDevices.every(({ discard }) => discard === "unmap")).toBe(true);
    expect(devices.every(({ properties }) => properties["serial"] === "S")).toBe(true);
  });

  it.each([
    ["file=f", "Parameter 'if' is missing: give if=virtio"],
    ["file=f,if=ide", "Parameter 'if' does not accept value 'ide'; it can be virtio, none"],
    ["if=virtio", "Parameter 'file' is missing"],
    ["if=virtio,file=", "Parameter 'file' is missing"],
    ["if=virtio,file=f,readonly=maybe", "Parameter 'readonly' does not accept value 'maybe'"],
    ["if=virtio,file=f,cache=some", "Parameter 'cache' does not accept value 'some'"],
    ["if=virtio,file=f,werror=stop", "Parameter 'werror' does not accept value 'stop'"],
    ["if=virtio,file=f,aio=native", "Parameter 'aio' does not accept value 'native'"],
    ["if=virtio,file=f,bps=5", "Parameter 'bps' is unexpected"],
    ["if=none,file=f,serial=x,id=hd", "Parameter 'serial' belongs to the -device: virtio-blk-pci,drive=hd,…"],
    ["if", "Expected '=' after parameter 'if'"],
  ])("refuses %s", (text, message) => {
    expect(() => parseBlockOptions([text], [])).toThrow(message);
  });
});

describe("-blockdev", () => {
  const disk = { ...plain, id: "disk0", path: "/srv/disk.raw" };

  it.each([
    [["driver=raw,node-name=disk0,file.driver=file,file.filename=/srv/disk.raw"]],
    [["driver=file,node-name=disk0,filename=/srv/disk.raw"]],
    [["driver=file,node-name=f0,filename=/srv/disk.raw", "driver=raw,node-name=disk0,file=f0"]],
    [['{"driver":"raw","node-name":"disk0","file":{"driver":"file","filename":"/srv/disk.raw"}}']],
    [
      [
        '{"driver":"host_device","node-name":"f0","filename":"/srv/disk.raw","auto-read-only":true,"aio":"threads"}',
        '{"driver":"raw","node-name":"disk0","file":"f0"}',
      ],
    ],
  ])("is a disk without a device: %j", (nodes) => {
    expect(parseBlockOptions([], nodes)).toEqual({ blockDevices: [disk], devices: [] });
  });

  it("has what QEMU's has", () => {
    const text =
      "driver=raw,node-name=disk0,read-only=on,discard=unmap,cache.no-flush=on,file.filename=/srv/disk.raw,file.locking=off";
    const expected = { readOnly: true, discard: "unmap", locking: false, cache: { direct: false, noFlush: true } };
    expect(parseBlockOptions([], [text]).blockDevices).toEqual([{ ...disk, ...expected }]);
    const nodes = [
      "driver=file,node-name=f,filename=/srv/disk.raw,locking=off,cache.no-flush=on",
      "driver=raw,node-name=disk0,file=f,read-only=on,discard=unmap",
    ];
    expect(parseBlockOptions([], nodes).blockDevices).toEqual([{ ...disk, ...expected }]);
  });

  it.each([
    ["node-name=a", "Parameter 'driver' is missing"],
    ["driver=raw,file.filename=f", "Parameter 'node-name' is missing"],
    ["driver=raw,node-name=a", "Parameter 'file.filename' is missing"],
    ["driver=raw,node-name=a,file=b", "Parameter 'file' names 'b', which is no node with driver=file"],
    ["driver=raw,node-name=a,file=a", "Parameter 'file' names 'a', which is no node with driver=file"],
    ["driver=raw,node-name=a,file.driver=nbd,file.filename=f", "Parameter 'file.driver' does not accept value 'nbd'"],
    ["driver=file,node-name=a,filename=f,offset=5", "Parameter 'offset' is unexpected"],
    ["{", "JSON"],
  ])("refuses %s", (text, message) => {
    expect(() => parseBlockOptions([], [text])).toThrow(message);
  });
});
