import { expect, it } from "vitest";
import { checkErrorDocs, collectErrors } from "../generate-error-docs.ts";

it("finds the tables of core and of plugins, and docs/errors.md is what they say", async () => {
  const packages = await collectErrors();
  const core = packages.find(({ name }) => name === "@cpr/core");
  expect(core?.codes.get("ERR_CPR_STREAM_DAMAGED")?.category).toBe("checkpoint");
  expect(packages.find(({ name }) => name === "@cpr/transport-file")?.codes.has("ERR_CPR_FILE_OPEN")).toBe(true);
  const codes = packages.flatMap(({ codes: table }) => [...table.keys()]);
  expect(new Set(codes).size).toBe(codes.length);
  expect(await checkErrorDocs()).toEqual([]);
});
