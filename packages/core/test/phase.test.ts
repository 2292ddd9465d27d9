import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { untilAborted } from "../src/migration/phase.ts";

describe("untilAborted", () => {
  it("leaves no failure unheard, whether the signal was given before or comes meanwhile", async () => {
    const unheard: unknown[] = [];
    const note = (reason: unknown): void => void unheard.push(reason);
    process.on("unhandledRejection", note);
    onTestFinished(() => void process.off("unhandledRejection", note));
    const before = AbortSignal.abort(new Error("given up"));
    await expect(untilAborted(Promise.reject(new Error("failed")), before)).rejects.toThrow("given up");
    const meanwhile = new AbortController();
    const late = Promise.withResolvers<void>();
    const waiting = untilAborted(late.promise, meanwhile.signal);
    meanwhile.abort(new Error("given up"));
    await expect(waiting).rejects.toThrow("given up");
    late.reject(new Error("failed late"));
    await turn();
    expect(unheard).toEqual([]);
  });
});
