import { readOptionList } from "@cpr/core";
import { cliErrors } from "./cli-errors.ts";

/**
 * Reads the value of an option of the form `first,key=value,…`, with `,,` for a comma in a value. Which keys there are is
 * the caller's affair.
 *
 * @param option name of the option, without a dash
 * @param firstKey the key of the first part, which may then be written without it
 * @throws {CprError} ERR_CPR_OPTION_SYNTAX
 */
export function parseOptionList(option: string, text: string, firstKey?: string): ReadonlyMap<string, string> {
  return readOptionList(text, firstKey, (reason) => cliErrors.ERR_CPR_OPTION_SYNTAX({ option, value: text, reason }));
}
