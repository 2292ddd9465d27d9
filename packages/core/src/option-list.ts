/**
 * Takes `first,key=value,…` apart as QEMU does, with `,,` for a comma in a value. Of two values for one key the last counts.
 *
 * @param firstKey the key of the first part, which may then be written without it
 * @param fail makes the error from what is wrong
 * @param repeatable keys whose values all count: they are joined, with a comma between
 */
export function readOptionList(
  text: string,
  firstKey: string | undefined,
  fail: (reason: string) => Error,
  repeatable: readonly string[] = [],
): ReadonlyMap<string, string> {
  const result = new Map<string, string>();
  for (const [index, part] of splitAtCommas(text).entries()) {
    const equals = part.indexOf("=");
    if (equals < 0 && index === 0 && firstKey !== undefined) {
      result.set(firstKey, part);
    } else if (equals > 0) {
      const [key, value] = [part.slice(0, equals), part.slice(equals + 1)];
      const before = repeatable.includes(key) ? result.get(key) : undefined;
      result.set(key, before === undefined ? value : `${before},${value}`);
    } else {
      throw fail(equals < 0 ? `Expected '=' after parameter '${part}'` : `Expected parameter at '${part}'`);
    }
  }
  return result;
}

function splitAtCommas(text: string): readonly string[] {
  const parts: string[] = [];
  let part = "";
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ",") {
      part += text[at];
    } else if (text[at + 1] === ",") {
      part += ",";
      at++;
    } else {
      parts.push(part);
      part = "";
    }
  }
  return [...parts, part];
}
