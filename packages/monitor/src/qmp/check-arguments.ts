import type { MonitorArgument, MonitorCommand, MonitorMembers, MonitorValue } from "@cpr/core";
import { monitorErrors } from "../monitor-errors.ts";

type Values = Readonly<Record<string, unknown>>;

const fail = (problem: string) => monitorErrors.ERR_CPR_QMP_ARGUMENT({ problem });

/**
 * Checks the arguments that a program has given.
 *
 * @throws {CprError} ERR_CPR_QMP_ARGUMENT with QEMU's texts.
 */
export function checkArguments(command: MonitorCommand, values: Values): void {
  const members = Object.fromEntries(
    command.arguments
      .filter(({ onlyFor }) => onlyFor !== "people")
      .map((argument) => [argument.name, memberOf(argument)]),
  );
  checkMembers("", members, values, command.openArguments === true);
}

function memberOf({ type, optional }: MonitorArgument): MonitorMembers[string] {
  const value = type === "flag" ? "boolean" : type;
  return optional === true || optional === "programs" || type === "flag" ? { value, optional: true } : { value };
}

/** `path` is empty or ends with a dot. */
function checkMembers(path: string, members: MonitorMembers, values: Values, open = false): void {
  for (const [name, { value, optional }] of Object.entries(members)) {
    if (Object.hasOwn(values, name)) {
      checkValue(`${path}${name}`, value, values[name]);
    } else if (optional !== true) {
      throw fail(`Parameter '${path}${name}' is missing`);
    }
  }
  for (const name of Object.keys(values)) {
    if (!open && !Object.hasOwn(members, name)) {
      throw fail(`Parameter '${path}${name}' is unexpected`);
    }
  }
}

function checkValue(path: string, type: MonitorValue, value: unknown): void {
  const wrongType = (expected: string) => fail(`Invalid parameter type for '${path}', expected: ${expected}`);
  if (typeof type === "string") {
    if (type === "size") {
      // NOTE: QEMU takes negative numbers for large ones; nobody who writes one means that.
      if (!Number.isInteger(value) || (value as number) < 0) throw fail(`Parameter '${path}' expects uint64`);
    } else if (type === "integer" ? !Number.isInteger(value) : typeof value !== type) {
      throw wrongType(type);
    }
  } else if ("anyOf" in type) {
    if (typeof value !== "string") throw wrongType("string");
    if (!type.anyOf.includes(value)) throw fail(`Parameter '${lastName(path)}' does not accept value '${value}'`);
  } else if ("listOf" in type) {
    if (!Array.isArray(value)) throw wrongType("array");
    for (const [index, each] of value.entries()) checkValue(`${path}[${index}]`, type.listOf, each);
  } else {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrongType("object");
    checkMembers(
      `${path}.`,
      "members" in type ? type.members : variantOf(path, type, value as Values),
      value as Values,
    );
  }
}

function variantOf(
  path: string,
  { tag, variants }: Extract<MonitorValue, { readonly tag: string }>,
  values: Values,
): MonitorMembers {
  const words: MonitorValue = { anyOf: Object.keys(variants) };
  if (!Object.hasOwn(values, tag)) throw fail(`Parameter '${path}.${tag}' is missing`);
  checkValue(`${path}.${tag}`, words, values[tag]);
  return { [tag]: { value: words }, ...variants[values[tag] as string] };
}

/** QEMU names a member that has none of its words without the path to it. */
function lastName(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}
