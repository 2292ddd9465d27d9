/** What went wrong in general, which decides the exit status of the `cpr` command (see docs/errors.md). */
export type ErrorCategory =
  /** The command line or a monitor command is malformed. */
  | "usage"
  /** A file, URI, device or memory object that the user named cannot be used as asked. */
  | "input"
  /** The host lacks something: space, permission, a kernel feature, a compiler. */
  | "host"
  /** Something that is needed is in use by another process. */
  | "busy"
  /** A checkpoint is damaged, truncated, of another machine or of a newer version. */
  | "checkpoint"
  /** The operation is well formed but is refused in this state or mode. */
  | "refused"
  /** A plugin failed to load, conflicts with another one or breaks its contract. */
  | "plugin"
  /** The guest or the virtual machine monitor itself failed. */
  | "internal";

/** Exit status of the `cpr` command for each category; 0 is success, 1 an error that has no category. */
export const exitStatus: Readonly<Record<ErrorCategory, number>> = {
  usage: 2,
  input: 3,
  host: 4,
  busy: 5,
  checkpoint: 6,
  refused: 7,
  plugin: 8,
  internal: 9,
};

/** Facts that an error carries, by name. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

const brand = Symbol.for("cpr.error");

/**
 * An error that a user or a calling program can act upon. `code` is stable within a major version, the message is
 * not. Misuse by a programmer is a plain `TypeError` instead.
 */
export class CprError extends Error {
  override readonly name = "CprError";
  /** Stable identifier, `ERR_CPR_…`. */
  readonly code: string;
  readonly category: ErrorCategory;
  /** The facts that the message is made of. */
  readonly details: ErrorDetails;
  /** What the user can do about it. */
  readonly hint: string | undefined;
  readonly [brand] = true;

  constructor(
    code: string,
    category: ErrorCategory,
    message: string,
    options: { details?: ErrorDetails; hint?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.category = category;
    this.details = options.details ?? {};
    this.hint = options.hint;
  }
}

/** Whether a value is a {@link CprError}, also one that another copy of this package made. */
export function isCprError(value: unknown): value is CprError {
  return typeof value === "object" && value !== null && brand in value;
}

/** One row of an error table: how the error is told to the user. */
export interface ErrorDefinition<D extends ErrorDetails> {
  readonly category: ErrorCategory;
  /** When this error happens, for docs/errors.md. */
  readonly when: string;
  /** One sentence without its cause. */
  readonly message: (details: D) => string;
  readonly hint?: (details: D) => string;
}

/** Makes one error of a table. */
export type ErrorFactory<D extends ErrorDetails> = (details: D, options?: { cause?: unknown }) => CprError;

/**
 * Defines a table of errors: each row becomes a function that makes the error. Codes are the table's keys.
 *
 * @example
 * ```ts
 * export const errors = defineErrors({
 *   ERR_CPR_FILE_OPEN: defineError<{ path: string; reason: string }>({
 *     category: "input",
 *     when: "A checkpoint file cannot be opened.",
 *     message: ({ path, reason }) => `Could not open '${path}': ${reason}`,
 *   }),
 * });
 * throw errors.ERR_CPR_FILE_OPEN({ path, reason: "No such file or directory" }, { cause });
 * ```
 */
export function defineErrors<T extends Record<`ERR_CPR_${string}`, ErrorDefinition<never>>>(
  table: T,
): { readonly [K in keyof T]: T[K] extends ErrorDefinition<infer D> ? ErrorFactory<D> : never } & {
  readonly definitions: T;
} {
  const factories: Record<string, unknown> = { definitions: table };
  for (const [code, definition] of Object.entries(table) as [string, ErrorDefinition<ErrorDetails>][]) {
    factories[code] = (details: ErrorDetails, options: { cause?: unknown } = {}) =>
      new CprError(code, definition.category, definition.message(details), {
        details,
        hint: definition.hint?.(details),
        cause: options.cause,
      });
  }
  return factories as ReturnType<typeof defineErrors<T>>;
}

/** Gives a row of an error table the type of its details. */
export function defineError<D extends ErrorDetails>(definition: ErrorDefinition<D>): ErrorDefinition<D> {
  return definition;
}

/** An error as plain data, for crossing a thread boundary. */
export interface SerializedError {
  readonly code: string;
  readonly category: ErrorCategory;
  readonly message: string;
  readonly details: ErrorDetails;
  readonly hint: string | undefined;
  readonly stack: string | undefined;
}

/** Turns any thrown value into data that the structured clone algorithm takes. */
export function serializeError(error: unknown): SerializedError {
  if (isCprError(error)) {
    const { code, category, message, hint, stack } = error;
    return { code, category, message, details: copyable(error.details), hint, stack };
  }
  const stack = error instanceof Error ? error.stack : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return { code: "ERR_CPR_INTERNAL", category: "internal", message, details: {}, hint: undefined, stack };
}

/** The facts that the structured clone algorithm takes; a third party's error may carry others too. */
function copyable(details: ErrorDetails): ErrorDetails {
  return Object.fromEntries(
    Object.entries(details).filter(([, value]) => {
      try {
        structuredClone(value);
        return true;
      } catch {
        return false;
      }
    }),
  );
}

/** The inverse of {@link serializeError}. */
export function deserializeError(error: SerializedError): CprError {
  const { code, category, message, details, hint } = error;
  const result = new CprError(code, category, message, { details, hint });
  if (error.stack !== undefined) {
    result.stack = error.stack;
  }
  return result;
}
