import type { MonitorCommand } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { InfoCommand } from "../src/commands/help.ts";
import { QueryStatusCommand } from "../src/commands/information.ts";
import { QuitCommand } from "../src/commands/life-cycle.ts";
import { MigrateCommand } from "../src/commands/migration.ts";
import { MigrateSetCapabilityCommand } from "../src/commands/migration-settings.ts";
import { parseLine, usageOf } from "../src/parse-line.ts";

const commands: MonitorCommand[] = [
  new MigrateCommand(),
  new MigrateSetCapabilityCommand(),
  new InfoCommand(),
  new QueryStatusCommand(),
  new QuitCommand(),
];
const parse = (line: string) => {
  const { command, values } = parseLine(line, commands);
  return [command.name, values];
};

describe("parseLine", () => {
  it("finds the longest words that match", () => {
    expect(parse("info status")).toEqual(["query-status", {}]);
    expect(parse("info")).toEqual(["x-info", {}]);
  });

  it("takes aliases and surplus blanks", () => {
    expect(parse("  q  ")).toEqual(["quit", {}]);
  });

  it("takes a flag and a URI", () => {
    expect(parse("migrate -d file:vm.state")).toEqual(["migrate", { detach: true, uri: "file:vm.state" }]);
    expect(parse("migrate file:vm.state")).toEqual(["migrate", { uri: "file:vm.state" }]);
  });

  it("takes a URI with blanks, quoted as in QEMU or bare", () => {
    expect(parse('migrate "exec:cat > \\"a b\\""')).toEqual(["migrate", { uri: 'exec:cat > "a b"' }]);
    expect(parse("migrate exec:gzip -c > f.gz")).toEqual(["migrate", { uri: "exec:gzip -c > f.gz" }]);
  });

  it("takes on and off for a truth value and nothing else", () => {
    expect(parse("migrate_set_capability x-ignore-shared on")).toEqual([
      "x-migrate-set-capability",
      { capability: "x-ignore-shared", state: true },
    ]);
    expect(() => parse("migrate_set_capability x-ignore-shared yes")).toThrow("state is 'on' or 'off', not 'yes'");
  });

  it("refuses what it does not understand, with QEMU's words where it has some", () => {
    expect(() => parse("frobnicate")).toThrow("unknown command: 'frobnicate'");
    expect(() => parse("migrate")).toThrow("uri is missing");
    expect(() => parse("migrate -x file:a")).toThrow("unsupported option -x");
    expect(() => parse("quit now")).toThrow("extraneous characters at the end of line");
    expect(() => parse('migrate "file:a')).toThrow("a quote is not closed");
  });

  it("tells how a command is written", () => {
    expect(usageOf(new MigrateCommand())).toEqual(["migrate", "[-d]", "[-r]", "uri"]);
  });
});
