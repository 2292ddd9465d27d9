import { closeSync, constants, existsSync, mkdtempSync, openSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DescriptorRegistry } from "../src/index.ts";

let folder = "";
const uri = "file:/dev/fdset/1";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cpr-descriptors-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

const openFile = (name: string, flags = constants.O_WRONLY): number =>
  openSync(join(folder, name), flags | constants.O_CREAT);
const isOpen = (descriptor: number, name: string): boolean => {
  const link = `/proc/self/fd/${descriptor}`;
  return existsSync(link) && readlinkSync(link) === join(folder, name);
};

describe("sets of descriptors", () => {
  it("lend the descriptor with the access mode and the O_DIRECT flag that are wanted", () => {
    const registry = new DescriptorRegistry();
    const reading = openFile("file", constants.O_RDONLY);
    const writing = openFile("file", constants.O_WRONLY | constants.O_APPEND);
    registry.add(writing, 1);
    registry.add(reading, 1);
    expect(registry.lend(1, { access: "write", direct: false, uri }).descriptor).toBe(writing);
    expect(registry.lend(1, { access: "read", direct: false, uri }).descriptor).toBe(reading);
    expect(() => registry.lend(1, { access: "write", direct: true, uri })).toThrow(
      `Failed to find file descriptor with matching flags=0x${(constants.O_WRONLY | constants.O_DIRECT).toString(16)}`,
    );
    expect(() => registry.lend(2, { access: "write", direct: false, uri })).toThrow(
      "Failed to find fdset /dev/fdset/2",
    );
    closeSync(reading);
    closeSync(writing);
  });

  it("do not take a descriptor that can be read and written for one that can be written only, as in QEMU", () => {
    const registry = new DescriptorRegistry();
    const both = openFile("file", constants.O_RDWR);
    registry.add(both, 1);
    expect(() => registry.lend(1, { access: "write", direct: false, uri })).toThrow("matching flags=0x1");
    closeSync(both);
  });

  it("get the lowest free number if none is asked for, and tell what they hold", () => {
    const registry = new DescriptorRegistry();
    const descriptors = [openFile("a"), openFile("b"), openFile("c")] as const;
    expect(registry.add(descriptors[0], 1, "mine")).toEqual({ set: 1, descriptor: descriptors[0] });
    expect(registry.add(descriptors[1]).set).toBe(0);
    expect(registry.add(descriptors[2]).set).toBe(2);
    expect(registry.sets()).toEqual([
      { id: 2, descriptors: [{ descriptor: descriptors[2] }] },
      { id: 1, descriptors: [{ descriptor: descriptors[0], opaque: "mine" }] },
      { id: 0, descriptors: [{ descriptor: descriptors[1] }] },
    ]);
    for (const set of [0, 1, 2]) registry.remove(set);
    expect(registry.sets()).toEqual([]);
    expect(descriptors.filter((each, index) => isOpen(each, "abc".charAt(index)))).toEqual([]);
  });

  it("close what is removed when nobody uses it any more", () => {
    const registry = new DescriptorRegistry();
    const descriptor = openFile("file");
    registry.add(descriptor, 7);
    const uses = [0, 1].map(() => registry.lend(7, { access: "write", direct: false, uri }));
    registry.remove(7, descriptor);
    expect(() => registry.lend(7, { access: "write", direct: false, uri })).toThrow("Failed to find");
    uses[0]?.release();
    uses[0]?.release();
    expect(isOpen(descriptor, "file")).toBe(true);
    uses[1]?.release();
    expect(isOpen(descriptor, "file")).toBe(false);
    expect(registry.sets()).toEqual([]);
  });

  it("say what is not there", () => {
    const registry = new DescriptorRegistry();
    expect(() => registry.remove(3)).toThrow("File descriptor named 'fdset-id:3' not found");
    expect(() => registry.remove(3, 9)).toThrow("File descriptor named 'fdset-id:3, fd:9' not found");
    expect(() => registry.add(0, -1)).toThrow("Parameter 'fdset-id' expects a non-negative value");
  });
});

describe("named descriptors", () => {
  it("are given away once", () => {
    const registry = new DescriptorRegistry();
    const descriptor = openFile("file");
    registry.name("state", descriptor);
    expect(registry.take("state", "fd:state")).toBe(descriptor);
    expect(() => registry.take("state", "fd:state")).toThrow("File descriptor named 'state' has not been found");
    closeSync(descriptor);
  });

  it("are closed when they are replaced or not wanted any more", () => {
    const registry = new DescriptorRegistry();
    const [first, second] = [openFile("first"), openFile("second")];
    registry.name("state", first);
    registry.name("state", second);
    expect([isOpen(first, "first"), isOpen(second, "second")]).toEqual([false, true]);
    registry.close("state");
    expect(isOpen(second, "second")).toBe(false);
    expect(() => registry.close("state")).toThrow("File descriptor named 'state' not found");
    expect(() => registry.name("1state", 0)).toThrow("Parameter 'fdname' expects a name not starting with a digit");
  });
});
