import { isCprError, serializeError } from "@cpr/core";
import { monitorErrors } from "../monitor-errors.ts";

/** Any value of JSON. */
export type Json = unknown;

/** A command as a client sends it. */
export interface QmpRequest {
  readonly execute: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** What the client wants to see again in the answer, whatever it is; undefined if it sent none. */
  readonly id: Json | undefined;
}

/**
 * Reads a request.
 *
 * @throws {CprError} ERR_CPR_QMP_SYNTAX, ERR_CPR_QMP_INPUT with QEMU's texts.
 */
export function readRequest(text: string): QmpRequest {
  let input: Json;
  try {
    input = JSON.parse(text);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw monitorErrors.ERR_CPR_QMP_SYNTAX({ problem }, { cause });
  }
  const fail = (problem: string) => monitorErrors.ERR_CPR_QMP_INPUT({ problem });
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw fail("QMP input must be a JSON object");
  }
  const { execute, arguments: values = {}, id: _id, ...others } = input as Record<string, Json>;
  for (const name of Object.keys(others)) {
    throw fail(`QMP input member '${name}' is unexpected`);
  }
  if (execute === undefined) {
    throw fail("QMP input lacks member 'execute'");
  }
  if (typeof execute !== "string") {
    throw fail("QMP input member 'execute' must be a string");
  }
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw fail("QMP input member 'arguments' must be an object");
  }
  return { execute, values: values as Record<string, Json>, id: identifierIn(text) };
}

/** What is newer in JavaScript's JSON than in TypeScript's declarations of it: the digits of numbers. */
const exactJson = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
};

/** The `id` of a message, or undefined if it has none: to be sent back exactly as it came, numbers of any size too. */
export function identifierIn(text: string): Json | undefined {
  try {
    const input = exactJson.parse(text, (_key, value, { source }) =>
      typeof value === "number" && source !== undefined ? exactJson.rawJSON(source) : value,
    );
    return typeof input === "object" && input !== null ? (input as { id?: Json }).id : undefined;
  } catch {
    return undefined;
  }
}

/** QEMU's classes of errors, where an error has another one than GenericError. */
const errorClasses: Readonly<Record<string, string>> = {
  ERR_CPR_QMP_COMMAND_NOT_FOUND: "CommandNotFound",
  ERR_CPR_QMP_NOT_NEGOTIATED: "CommandNotFound",
  ERR_CPR_QMP_NEGOTIATED: "CommandNotFound",
  ERR_CPR_CHARACTER_DEVICE: "DeviceNotFound",
  ERR_CPR_NO_BALLOON: "DeviceNotActive",
  ERR_CPR_NO_LINK: "DeviceNotFound",
};

/** An error as QMP tells it: QEMU's members, and one of ours with what else is known. */
export interface QmpError {
  readonly class: string;
  readonly desc: string;
  readonly cpr?: {
    readonly code: string;
    readonly category: string;
    readonly hint?: string;
    readonly details: Readonly<Record<string, unknown>>;
  };
}

/** Makes what a client is sent of an error. */
export function errorMember(error: unknown): QmpError {
  const { code, category, message, hint, details } = serializeError(error);
  return {
    class: errorClasses[code] ?? "GenericError",
    desc: message,
    ...(isCprError(error) ? { cpr: { code, category, ...(hint === undefined ? {} : { hint }), details } } : {}),
  };
}

/** A message as it goes over the wire. */
export function encodeMessage(message: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(message, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value))}\r\n`;
}
