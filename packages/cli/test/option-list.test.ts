import { describe, expect, it } from "vitest";
import { parseOptionList } from "../src/option-list.ts";

describe("parseOptionList", () => {
  it("takes a list apart; the first part may lack its key", () => {
    expect([...parseOptionList("device", "virtio-rng-pci,id=rng0,addr=5", "driver")]).toEqual([
      ["driver", "virtio-rng-pci"],
      ["id", "rng0"],
      ["addr", "5"],
    ]);
    expect(parseOptionList("device", "driver=e1000,id=", "driver").get("driver")).toBe("e1000");
    expect(parseOptionList("device", "", "driver").get("driver")).toBe("");
  });

  it("keeps a doubled comma as one of the value, and all after the first '='", () => {
    expect(parseOptionList("drive", "file=a,,b=c,id=x").get("file")).toBe("a,b=c");
  });

  it("takes the last of two values, and names that every object has", () => {
    const options = parseOptionList("drive", "if=none,if=virtio,__proto__=x,constructor=y");
    expect(options.get("if")).toBe("virtio");
    expect(options.get("__proto__")).toBe("x");
    expect(options.get("constructor")).toBe("y");
  });

  it.each([
    ["file", undefined, "-drive file: Expected '=' after parameter 'file'"],
    ["x,readonly", "if", "-drive x,readonly: Expected '=' after parameter 'readonly'"],
    ["if=none,=4", undefined, "-drive if=none,=4: Expected parameter at '=4'"],
    ["if=none,", undefined, "-drive if=none,: Expected '=' after parameter ''"],
  ])("refuses '%s'", (text, firstKey, message) => {
    expect(() => parseOptionList("drive", text, firstKey)).toThrow(message);
  });
});
