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
    expect(() => settings.setCapability("xbzrle", true)).toThrow(
      expect.objectContaining({
        code: "ERR_CPR_CAPABILITY_UNSUPPORTED",
        message: "Migration capability 'xbzrle' is not supported",
        hint: "Supported: events, pause-before-switchover, multifd, x-ignore-shared, validate-uuid, mapped-ram.",
      }) as Error,
    );
    settings.setCapability("xbzrle", false);
    for (const name of ["nonsense", "toString", ""]) {
      expect(() => settings.setCapability(name, false)).toThrow(`invalid parameter value: ${name}`);
    }
  });

  it.each([
    [["postcopy-ram", "x-ignore-shared"], "Postcopy is not compatible with ignore-shared"],
    [["background-snapshot", "postcopy-ram"], "Background-snapshot is not compatible with postcopy-ram"],
    [["background-snapshot", "validate-uuid"], "Background-snapshot is not compatible with validate-uuid"],
    [["background-snapshot", "x-colo"], "Background-snapshot is not compatible with x-colo"],
    [
      ["background-snapshot", "pause-before-switchover"],
      "Background-snapshot is not compatible with pause-before-switchover",
    ],
  ] as const)("%s exclude each other in QEMU's words, whichever comes first", ([one, other], message) => {
    for (const [first, second] of [
      [one, other],
      [other, one],
    ] as const) {
      const settings = make();
      settings.setCapability(first, true);
      expect(() => settings.setCapability(second, true)).toThrow(message);
      expect([...settings.enabled()]).toEqual([first]);
    }
  });

  it("are set all or not at all, and judged by what comes of it", () => {
    const settings = make();
    const set = (...names: string[]) =>
      settings.setCapabilities(
        names.map((name) => ({ capability: name.replace("!", ""), state: !name.startsWith("!") })),
      );
    expect(() => set("events", "nonsense")).toThrow("invalid parameter value: nonsense");
    expect(() => set("events", "xbzrle")).toThrow("Migration capability 'xbzrle' is not supported");
    expect(() => set("events", "postcopy-ram", "x-ignore-shared")).toThrow(
      "Postcopy is not compatible with ignore-shared",
    );
    expect([...settings.enabled()]).toEqual([]);
    set("postcopy-ram", "events");
    set("x-ignore-shared", "!postcopy-ram", "!xbzrle");
    expect([...settings.enabled()]).toEqual(["events", "x-ignore-shared"]);
    // The last word counts.
    set("x-colo", "!x-colo");
    expect(settings.enabled().has("x-colo")).toBe(false);
    expect(() =>
      new StoredSettings({ modes: [], active: () => true }).setCapabilities([{ capability: "events", state: true }]),
    ).toThrow("There's a migration process in progress");
  });

  it("stay as they are while a migration is under way", () => {
    expect(() => make(true).setCapability("events", true)).toThrow("There's a migration process in progress");
    expect(() => make(true).setParameter("mode", "normal")).toThrow("There's a migration process in progress");
  });
});

describe("what the command line gives", () => {
  const configure = (modes: readonly string[], ...properties: readonly string[]) => {
    const settings = make();
    settings.configure({
      modes,
      properties: properties.map((text) => {
        const [name = "", value = ""] = text.split("=");
        return { name, value };
      }),
    });
    return settings;
  };

  it("are capabilities and parameters, with or without x- before their names", () => {
    const settings = configure(["other"], "mode=other", "x-ignore-shared=on", "x-events=on", "x-max-bandwidth=1M");
    expect(settings.effective()).toMatchObject({ mode: "other", bandwidth: 1 << 20 });
    expect([...settings.enabled()]).toEqual(["events", "x-ignore-shared"]);
  });

  it.each([
    ["nonsense=1", "Property 'migration.nonsense' not found"],
    ["events=perhaps", "Parameter 'events' expects 'on' or 'off'"],
    ["xbzrle=on", "Migration capability 'xbzrle' is not supported"],
    ["mode=cpr-exec", "Migration mode 'cpr-exec' is not supported"],
    ["mode=mad", "Parameter 'mode' does not accept value 'mad'"],
    ["postcopy-ram=on", "Postcopy is not compatible with ignore-shared"],
  ])("is refused if it is %s", (text, message) => {
    expect(() => configure([], "x-ignore-shared=on", text)).toThrow(message);
  });

  it("names a mode that is there", () => {
    expect(() => configure(["cpr-transfer"])).toThrow(
      expect.objectContaining({ code: "ERR_CPR_MODE_UNSUPPORTED", hint: "Known: normal, other." }) as Error,
    );
    expect(() => configure(["mad"])).toThrow("Parameter 'mode' does not accept value 'mad'");
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
    expect(settings.effective().bandwidth).toBe(2 << 20);
    settings.setParameter("max-bandwidth", "0");
    expect(settings.effective().bandwidth).toBeUndefined();
    expect(() => settings.setParameter("mode", "mad")).toThrow(
      expect.objectContaining({
        message: "Parameter 'mode' does not accept value 'mad'",
        hint: "Known: normal, other.",
      }) as Error,
    );
    for (const value of ["2000001", "-1", "1.5", "", "x"]) {
      expect(() => settings.setParameter("downtime-limit", value)).toThrow(
        "Option downtime_limit expects an integer in the range of 0 to 2000000 ms",
      );
    }
    expect(() => settings.setParameter("max-bandwidth", "fast")).toThrow(
      "Option max_bandwidth expects an integer in the range of 0 to 18446744073709551615 bytes/second",
    );
    expect(settings.parameters().get("downtime-limit")).toBe(2_000_000);
  });

  it("are set by a program with values of their types, all or none", () => {
    const settings = make();
    settings.setParameters({ mode: "other", "max-bandwidth": 1000, "downtime-limit": 10 });
    expect(Object.fromEntries(settings.parameters())).toMatchObject({
      mode: "other",
      "max-bandwidth": 1000,
      "downtime-limit": 10,
    });
    // What libvirt writes for no limit.
    const noLimit = 2 ** 63 - 2 ** 20;
    settings.setParameters({ "max-bandwidth": noLimit });
    for (const [values, message] of [
      [{ "max-bandwidth": 1, mode: "mad" }, "Parameter 'mode' does not accept value 'mad'"],
      [{ "max-bandwidth": 1, mode: 7 }, "Invalid parameter type for 'mode', expected: string"],
      [{ "max-bandwidth": 1, mode: null }, "Invalid parameter type for 'mode', expected: string"],
      [{ "max-bandwidth": 1, mode: [] }, "Invalid parameter type for 'mode', expected: string"],
      [{ mode: "normal", "max-bandwidth": "1M" }, "Parameter 'max-bandwidth' expects uint64"],
      [{ mode: "normal", "max-bandwidth": 1.5 }, "Parameter 'max-bandwidth' expects uint64"],
      [{ mode: "normal", "cpu-throttle-tailslow": "on" }, "Invalid parameter type for 'cpu-throttle-tailslow', "],
      [{ mode: "normal", "cpu-throttle-initial": 100 }, "Option cpu_throttle_initial expects an integer in the range"],
      [{ mode: "normal", "cpu-throttle-initial": 30 }, "Migration parameter 'cpu-throttle-initial' is not supported"],
      [{ mode: "normal", "x-guest-time": "back" }, "Parameter 'x-guest-time' does not accept value 'back'"],
      [{ mode: "normal", nonsense: 1 }, "Parameter 'nonsense' is unexpected"],
      [{ mode: "normal", "cpr-exec-command": ["sh"] }, "Migration parameter 'cpr-exec-command' is not supported"],
    ] as const) {
      expect(() => settings.setParameters(values)).toThrow(message);
    }
    expect(settings.mode).toBe("other");
    expect(settings.effective().bandwidth).toBe(noLimit);
  });

  it("that have no effect here can be set to what they are: null, an empty text or list, or the same", () => {
    const settings = make();
    settings.setParameters({
      "tls-creds": null,
      "tls-hostname": "",
      "cpr-exec-command": [],
      "cpu-throttle-initial": 20,
      "zero-page-detection": "legacy",
    });
    settings.setParameter("tls-creds", "");
    expect(settings.parameters().get("tls-creds")).toBe("");
    expect(() => settings.setParameters({ "tls-creds": "tls0" })).toThrow("is not supported");
    expect(() => settings.setParameter("cpu-throttle-tailslow", "perhaps")).toThrow(
      "Parameter 'cpu-throttle-tailslow' expects 'on' or 'off'",
    );
    settings.setParameter("cpu-throttle-tailslow", "off");
  });

  it("say so if they are not supported, or not known", () => {
    const settings = make();
    expect(() => settings.setParameter("multifd-zlib-level", "4")).toThrow(
      "Migration parameter 'multifd-zlib-level' is not supported",
    );
    for (const name of ["nonsense", "constructor"]) {
      expect(() => settings.setParameter(name, "1")).toThrow(`invalid parameter value: ${name}`);
    }
  });

  it("say how many channels there are and whether they bypass the page cache", () => {
    const settings = make();
    settings.setParameters({ "multifd-channels": 8, "direct-io": true });
    expect(settings.effective().channels).toEqual({ count: 1, direct: false });
    settings.setCapability("multifd", true);
    expect(settings.effective().channels).toEqual({ count: 8, direct: false });
    for (const count of [0, 256]) {
      expect(() => settings.setParameters({ "multifd-channels": count })).toThrow(
        "Option multifd_channels expects a value between 1 and 255",
      );
    }
  });
});
