import type { Command } from "commander";

/**
 * Lets a command's long options be written with one dash, as QEMU's are: `-kernel` becomes `--kernel`. A word that
 * follows an option as its value is left alone, whatever it begins with.
 */
export function acceptSingleDash(command: Command, words: readonly string[]): string[] {
  const result: string[] = [];
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] as string;
    if (word === "--") {
      return [...result, ...words.slice(index)];
    }
    const option = command.options.find(({ long, short }) => {
      const name = word.replace(/^--?/, "").split("=", 1)[0];
      return word.startsWith("-") && (long === `--${name}` || (short === `-${name}` && !word.startsWith("--")));
    });
    if (option === undefined) {
      result.push(word);
      continue;
    }
    const name = word.replace(/^--?/, "");
    const value = words[index + 1];
    if (option.required && !name.includes("=") && value !== undefined) {
      // NOTE: commander takes `--append -x` for two options, so the value is bound to its option here.
      result.push(`${option.long}=${value}`);
      index += 1;
    } else {
      result.push(option.short === `-${name}` ? (option.long ?? word) : `--${name}`);
    }
  }
  return result;
}
