import { expect, test } from "vitest";
import { isCprError, parseMemoryObject } from "../src/index.ts";

function failure(text: string) {
  try {
    parseMemoryObject(text);
  } catch (error) {
    if (isCprError(error)) {
      return { code: error.code, message: error.message, hint: error.hint };
    }
    throw error;
  }
  throw new Error(`'${text}' was taken`);
}

test("the example of the manual", () => {
  expect(parseMemoryObject("memory-backend-file,id=ram0,size=1G,mem-path=/dev/shm/ram0,share=on")).toEqual({
    type: "memory-backend-file",
    id: "ram0",
    size: 1 << 30,
    "mem-path": "/dev/shm/ram0",
    share: true,
  });
});

test.each([
  ["size=4096", 4096],
  ["size=0x1000", 4096],
  ["size=4k", 4096],
  ["size=1.5M", 1.5 * 1024 ** 2],
  ["size=2g", 2 * 1024 ** 3],
  ["size=1T", 1024 ** 4],
])("a size: %s", (property, size) => {
  expect(parseMemoryObject(`memory-backend-ram,id=r,${property}`).size).toBe(size);
});

test.each([
  ["on", true],
  ["yes", true],
  ["true", true],
  ["y", true],
  ["off", false],
  ["no", false],
  ["false", false],
  ["n", false],
])("a switch: %s", (value, share) => {
  expect(parseMemoryObject(`memory-backend-ram,id=r,size=4k,share=${value}`).share).toBe(share);
});

test("every property", () => {
  expect(
    parseMemoryObject(
      "memory-backend-file,id=r,size=4M,mem-path=p,align=2M,prealloc=on,pmem=off,readonly=on,share=off",
    ),
  ).toEqual({
    type: "memory-backend-file",
    id: "r",
    size: 4 << 20,
    "mem-path": "p",
    align: 2 << 20,
    prealloc: true,
    pmem: false,
    readonly: true,
    share: false,
  });
  expect(parseMemoryObject("memory-backend-memfd,id=r,size=4M,hugetlb=on,hugetlbsize=2M,prealloc=off")).toEqual({
    type: "memory-backend-memfd",
    id: "r",
    size: 4 << 20,
    hugetlb: true,
    hugetlbsize: 2 << 20,
    prealloc: false,
  });
});

test("a doubled comma is a comma of the value, and a value may have an equals sign", () => {
  expect(parseMemoryObject("memory-backend-file,id=r,size=4k,mem-path=/tmp/a,,b=c,,,share=on")["mem-path"]).toBe(
    "/tmp/a,b=c,",
  );
});

test("the last of two values counts", () => {
  expect(parseMemoryObject("memory-backend-ram,id=r,size=4k,size=8k").size).toBe(8192);
});

test("the type may be written as a key or as JSON", () => {
  const expected = { type: "memory-backend-ram", id: "r", size: 4096, share: true };
  expect(parseMemoryObject("qom-type=memory-backend-ram,id=r,size=4096,share=on")).toEqual(expected);
  expect(parseMemoryObject('{"qom-type":"memory-backend-ram","id":"r","size":4096,"share":true}')).toEqual(expected);
});

test("an unknown type is refused, with those that there are", () => {
  expect(failure("memory-backend-epc,id=r,size=4k")).toEqual({
    code: "ERR_CPR_OBJECT_TYPE",
    message: "invalid object type: memory-backend-epc",
    hint: "Object types: memory-backend-ram, memory-backend-memfd, memory-backend-shm, memory-backend-file.",
  });
  expect(failure("toString,id=r").code).toBe("ERR_CPR_OBJECT_TYPE");
});

test("an unknown property is refused, with those that there are", () => {
  expect(failure("memory-backend-memfd,id=r,size=4k,mem-path=/x")).toEqual({
    code: "ERR_CPR_OBJECT_PROPERTY",
    message: "Parameter 'mem-path' is unexpected",
    hint: "Properties of memory-backend-memfd: id, size, share, prealloc, hugetlb, hugetlbsize.",
  });
});

test.each([
  ["memory-backend-ram,size=4k", "id"],
  ["memory-backend-ram,id=r", "size"],
  ["memory-backend-file,id=r,size=4k", "mem-path"],
])("what is missing is named: %s", (text, property) => {
  expect(failure(text)).toMatchObject({
    code: "ERR_CPR_OBJECT_PROPERTY_MISSING",
    message: `Parameter '${property}' is missing`,
  });
});

test.each([
  [
    "memory-backend-ram,id=r,size=lots",
    "Parameter 'size' expects a number of bytes, or a number with a suffix: 512M, 1.5G",
  ],
  [
    "memory-backend-ram,id=r,size=-1",
    "Parameter 'size' expects a number of bytes, or a number with a suffix: 512M, 1.5G",
  ],
  ["memory-backend-ram,id=r,size=4k,share=maybe", "Parameter 'share' expects 'on' or 'off'"],
  ["memory-backend-ram,id=,size=4k", "Parameter 'id' expects a text that is not empty"],
  ['{"qom-type":"memory-backend-ram","id":7,"size":4096}', "Parameter 'id' expects a text that is not empty"],
  [
    '{"qom-type":"memory-backend-ram","id":"r","size":-4096}',
    "Parameter 'size' expects a number of bytes, or a number with a suffix: 512M, 1.5G",
  ],
])("a value of another type is refused: %s", (text, message) => {
  expect(failure(text)).toMatchObject({ code: "ERR_CPR_OBJECT_VALUE", message });
});

test.each([
  ["", "Parameter 'qom-type' is missing"],
  ["id=r,size=4k", "Parameter 'qom-type' is missing"],
  ["memory-backend-ram,id=r,share", "Expected '=' after parameter 'share'"],
  ["memory-backend-ram,=4k", "Expected parameter at '=4k'"],
  ['{"qom-type":', "JSON parse error"],
])("text of another form is refused: '%s'", (text, message) => {
  expect(failure(text)).toMatchObject({ code: "ERR_CPR_OBJECT_SYNTAX", message });
});
