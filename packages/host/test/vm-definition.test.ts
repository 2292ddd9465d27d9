import { mkdirSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { vmFiles } from "../src/host-folders.ts";
import { checkVmName, readVmDefinition, registeredNames, writeVmDefinition } from "../src/vm-definition.ts";
import { scratchHost } from "./scratch.ts";

const definition = { options: ["-m", "64M"], workingDirectory: "/srv", order: 3, timeout: 60, autostart: false };

it("is read as it was written, and takes a name once", () => {
  const folders = scratchHost();
  expect(registeredNames(folders)).toEqual([]);
  writeVmDefinition(folders, "web-1.example", definition);
  expect(registeredNames(folders)).toEqual(["web-1.example"]);
  expect(readVmDefinition(folders, "web-1.example")).toEqual(definition);
  expect(() => writeVmDefinition(folders, "web-1.example", definition)).toThrow("is registered already");
});

it.each(["", ".", "..", "a/b", "-x", "a b", "ä", "a,b", "x".repeat(65)])("has no name like '%s'", (name) => {
  expect(() => checkVmName(name)).toThrow("cannot be the name of a VM");
});

it.each([
  ["{", "it is no JSON"],
  ["null", "its version is undefined"],
  [JSON.stringify({ version: 2, ...definition }), "its version is 2, and this program knows version 1"],
  [JSON.stringify({ version: 1, ...definition, options: "-m 64M" }), "something is missing in it"],
  [JSON.stringify({ version: 1, ...definition, order: undefined }), "something is missing in it"],
])("is refused if the file has %s", (text, reason) => {
  const folders = scratchHost();
  const files = vmFiles(folders, "web");
  mkdirSync(files.folder, { recursive: true });
  expect(() => readVmDefinition(folders, "web")).toThrow("No such file or directory");
  writeFileSync(files.definition, text);
  expect(() => readVmDefinition(folders, "web")).toThrow(reason);
});
