import { expect, it } from "vitest";
import { systemdUnit } from "../src/systemd-unit.ts";

it("has the program, in systemd's quoting, in both of its commands", () => {
  const unit = systemdUnit(["/opt/node/bin/node", '/srv/a "b"/50%/$x/cpr.js']);
  const program = '/opt/node/bin/node "/srv/a \\"b\\"/50%%/$$x/cpr.js"';
  expect(unit).toContain(`\nExecStart=-${program} host load --autostart --wait\n`);
  expect(unit).toContain(`\nExecStopPost=${program} host save --for reboot --wait\n`);
  expect(unit).not.toContain("/usr/bin/cpr");
});
