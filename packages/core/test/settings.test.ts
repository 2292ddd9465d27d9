import { describe, expect, it } from "vitest";
import { StoredSettings } from "../src/migration/settings.ts";

const make = (active = false): StoredSettings =>
  new StoredSettings({ modes: ["normal", "other"], active: () => active });

describe("capabilities", () => {
  it("are all that QEMU has, and off at first", () => {
    const all = make().capabilities();
    expect(all.size).toBe(21);
    expect([...all.keys()].slice(0, 3)).toEqual(["xbzrle", "rdma-pin-all", "auto-converge"]);
    expect([...all.values()].every((on) => !on)).toBe(true);
  });

  it("can be switched on and off if they are supported", () => {
    const settings = make();
    settings.setCapability("x-ignore-shared", true);
    settings.setCapability("events", true);
    expect([...settings.enabled()]).toEqual(["events", "x-ignore-shared"]);
    settings.setCapability("events", false);
    expect([...settings.enabled()]).toEqual(["x-ignore-shared"]);
  });

  it("say so if they are not supported, or not known", () => {
    const settings = make();
    expect(() => settings.setCapability("multifd", true)).toThrow(
      expect.objectContaining({
        code: "ERR_CPR_CAPABILITY_UNSUPPORTED",
        message: "Migration capability 'multifd' is not supported",
        hint: "Supported: events, x-ignore-shared, validate-uuid.",
      }) as Error,
    );
    settings.setCapability("multifd", false);
    for (const name of ["nonsense", "toString", ""]) {
      expect(() => settings.setCapability(name, false)).toThrow(`Invalid parameter '${name}'`);
    }
  });

  it("that exclude each other are refused in QEMU's words, whichever comes first", () => {
    for (const [first, second] of [
      ["postcopy-ram", "x-ignore-shared"],
      ["x-ignore-shared", "postcopy-ram"],
    ] as const) {
      const settings = make();
      settings.setCapability(first, true);
      expect(() => settings.setCapability(second, true)).toThrow("Postcopy is not compatible with ignore-shared");
      expect([...settings.enabled()]).toEqual([first]);
    }
  });

  it("stay as they are while a migration is under way", () => {
    expect(() => make(true).setCapability("events", true)).toThrow("There's a migration process in progress");
    expect(() => make(true).setParameter("mode", "normal")).toThrow("There's a migration process in progress");
  });
});

describe("parameters", () => {
  it("have QEMU's values at first, but no limit of bandwidth", () => {
    const all = make().parameters();
    expect(Object.fromEntries(all)).toMatchObject({
      "announce-initial": 50,
      "downtime-limit": 300,
      "max-bandwidth": 0,
      mode: "normal",
      "multifd-channels": 2,
      "direct-io": false,
    });
  });

  it("take what they can be, and tell what they expect otherwise", () => {
    const settings = make();
    settings.setParameter("mode", "other");
    settings.setParameter("max-bandwidth", "2");
    settings.setParameter("downtime-limit", "2000000");
    expect(settings.mode).toBe("other");
    expect(settings.bandwidth).toBe(2 << 20);
    settings.setParameter("max-bandwidth", "0");
    expect(settings.bandwidth).toBeUndefined();
    expect(() => settings.setParameter("mode", "mad")).toThrow(
      expect.objectContaining({
        message: "Parameter 'mode' does not accept value 'mad'",
        hint: "Known: normal, other.",
      }) as Error,
    );
    for (const value of ["2000001", "-1", "1.5", "", "x"]) {
      expect(() => settings.setParameter("downtime-limit", value)).toThrow(
        "Parameter 'downtime-limit' expects a value between 0 and 2000000",
      );
    }
    expect(() => settings.setParameter("max-bandwidth", "fast")).toThrow("Parameter 'max-bandwidth' expects a size");
    expect(settings.parameters().get("downtime-limit")).toBe(2_000_000);
  });

  it("say so if they are not supported, or not known", () => {
    const settings = make();
    expect(() => settings.setParameter("multifd-channels", "4")).toThrow(
      "Migration parameter 'multifd-channels' is not supported",
    );
    for (const name of ["nonsense", "constructor"]) {
      expect(() => settings.setParameter(name, "1")).toThrow(`Invalid parameter '${name}'`);
    }
  });
});
