import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { contributedCommands } from "./qmp/qmp-conversation.ts";

describe("docs/monitor.md", () => {
  const text = readFileSync(new URL("../../../docs/monitor.md", import.meta.url), "utf8");

  it.each(contributedCommands().map(({ name, words, onlyFor }) => (onlyFor === "people" ? words : name)))(
    "has the command %s",
    (name) => {
      expect(text).toMatch(new RegExp(`\`${name}[\` ]`));
    },
  );
});
