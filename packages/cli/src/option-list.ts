import { readOptionList } from "@cpr/core";
import { cliErrors } from "./cli-errors.ts";

/**
 * Reads the value of an option of the form `first,key=value,…`, with `,,` for a comma in a value. Which keys there are is
 * the caller's affair.
 *
 * @param option name of the option, without a dash
 * @param firstKey the key of the first part, which may then be written without it
 * @param repeatable keys whose values all count: they are joined, with a comma between
 * @throws {CprError} ERR_CPR_OPTION_SYNTAX
 */
export function parseOptionList(
  option: string,
  text: string,
  firstKey?: string,
  repeatable: readonly string[] = [],
): ReadonlyMap<string, string> {
  const fail = (reason: string): Error => cliErrors.ERR_CPR_OPTION_SYNTAX({ option, value: text, reason });
  return readOptionList(text, firstKey, fail, repeatable);
}
