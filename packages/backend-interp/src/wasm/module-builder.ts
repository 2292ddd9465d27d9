import { Encoder } from "./encoder.ts";
import {
  CodeWriter,
  type FunctionReference,
  Local,
  type Memory,
  type ResultType,
  type Statement,
  typeCodes,
  type ValueType,
} from "./expression.ts";

/** The locals of a list of types. */
export type Locals<P extends readonly ValueType[]> = { [K in keyof P]: Local<P[K]> };

/** What a function's body is made with: its locals. */
export class FunctionBuilder {
  readonly #parameters: number;
  readonly #locals: ValueType[] = [];

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  /** A new local; zero until it is set. */
  local<T extends ValueType>(type: T): Local<T> {
    this.#locals.push(type);
    return new Local(type, this.#parameters + this.#locals.length - 1);
  }

  /** The function's entry in the code section. */
  encode(body: readonly Statement[]): Uint8Array {
    const writer = new CodeWriter();
    writer.unsigned(this.#locals.length);
    for (const type of this.#locals) {
      writer.unsigned(1);
      writer.byte(typeCodes[type]);
    }
    for (const statement of body) statement.write(writer);
    // NOTE: a body leaves by `leave`; where it has a result, nothing may be reached behind that.
    writer.byte(0x0b);
    return writer.bytes;
  }
}

/** Writes the body of a function, given its parameters. Results are given by `leave(value)`. */
export type FunctionBody<P extends readonly ValueType[]> = (
  f: FunctionBuilder,
  ...parameters: Locals<P>
) => readonly Statement[];

interface DefinedFunction {
  readonly name: string;
  readonly type: number;
  code: Uint8Array | undefined;
}

/** Limits of a memory in 64 KiB pages. */
export interface MemoryLimits<A extends "i32" | "i64"> {
  readonly address: A;
  readonly shared: boolean;
  readonly minimum: number;
  readonly maximum: number;
}

/**
 * Builds a WebAssembly module. First what is imported, then the functions; `encode` gives the bytes.
 *
 * ```ts
 * const module = new ModuleBuilder();
 * const memory = module.importMemory("env", "memory", { address: "i32", shared: false, minimum: 1, maximum: 1 });
 * const report = module.importFunction("env", "report", ["i64"], "none");
 * const sum = module.defineFunction("sum", ["i32", "i32"], "i64", (f, from, to) => {
 *   const total = f.local("i64");
 *   return [
 *     loop((again) => [
 *       total.set(i64.add(total, i64.load(memory, from))),
 *       from.set(i32.add(from, i32.const(8))),
 *       branchIf(again, i32.ltU(from, to)),
 *     ]),
 *     call(report, total),
 *     leave(total),
 *   ];
 * });
 * module.exportFunction("sum", sum);
 * const instance = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), imports);
 * ```
 */
export class ModuleBuilder {
  readonly #types: string[] = [];
  readonly #typeBytes: Uint8Array[] = [];
  readonly #imports: Encoder[] = [];
  readonly #importNames: string[] = [];
  readonly #exports: Encoder[] = [];
  readonly #functions: DefinedFunction[] = [];
  #memories = 0;

  importMemory<A extends "i32" | "i64">(module: string, name: string, limits: MemoryLimits<A>): Memory<A> {
    const entry = new Encoder();
    entry.name(module);
    entry.name(name);
    entry.byte(0x02);
    entry.byte(0x01 | (limits.shared ? 0x02 : 0) | (limits.address === "i64" ? 0x04 : 0));
    entry.unsigned(limits.minimum);
    entry.unsigned(limits.maximum);
    this.#imports.push(entry);
    return { address: limits.address, index: this.#memories++ };
  }

  importFunction<const P extends readonly ValueType[], R extends ResultType>(
    module: string,
    name: string,
    parameters: P,
    result: R,
  ): FunctionReference<P, R> {
    if (this.#functions.length > 0) throw new Error("Imports come before functions: they share one numbering.");
    const entry = new Encoder();
    entry.name(module);
    entry.name(name);
    entry.byte(0x00);
    entry.unsigned(this.#type(parameters, result));
    this.#imports.push(entry);
    this.#importNames.push(name);
    return { index: this.#importNames.length - 1, parameters, result };
  }

  /** A function whose body is given later by {@link implement}, so that functions can call each other. */
  declareFunction<const P extends readonly ValueType[], R extends ResultType>(
    name: string,
    parameters: P,
    result: R,
  ): FunctionReference<P, R> {
    this.#functions.push({ name, type: this.#type(parameters, result), code: undefined });
    return { index: this.#importNames.length + this.#functions.length - 1, parameters, result };
  }

  implement<const P extends readonly ValueType[], R extends ResultType>(
    reference: FunctionReference<P, R>,
    body: FunctionBody<P>,
  ): void {
    const defined = this.#functions[reference.index - this.#importNames.length];
    if (defined === undefined || defined.code !== undefined) throw new Error("Not a declared function without a body.");
    const builder = new FunctionBuilder(reference.parameters.length);
    const parameters = reference.parameters.map((type, index) => new Local(type, index));
    const statements = body(builder, ...(parameters as unknown as Locals<P>));
    defined.code = builder.encode(statements);
  }

  defineFunction<const P extends readonly ValueType[], R extends ResultType>(
    name: string,
    parameters: P,
    result: R,
    body: FunctionBody<P>,
  ): FunctionReference<P, R> {
    const reference = this.declareFunction(name, parameters, result);
    this.implement(reference, body);
    return reference;
  }

  exportFunction(name: string, reference: FunctionReference): void {
    const entry = new Encoder();
    entry.name(name);
    entry.byte(0x00);
    entry.unsigned(reference.index);
    this.#exports.push(entry);
  }

  /** The module in WebAssembly's binary format, with a name section. */
  encode(): Uint8Array<ArrayBuffer> {
    const module = new Encoder();
    module.append([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    const section = (id: number, entries: readonly Uint8Array[]) => {
      if (entries.length === 0) return;
      const content = new Encoder();
      content.unsigned(entries.length);
      for (const entry of entries) content.append(entry);
      module.byte(id);
      module.block(content.bytes);
    };
    section(1, this.#typeBytes);
    section(
      2,
      this.#imports.map((entry) => entry.bytes),
    );
    section(
      3,
      this.#functions.map(({ type }) => bytesOf((entry) => entry.unsigned(type))),
    );
    section(
      7,
      this.#exports.map((entry) => entry.bytes),
    );
    section(
      10,
      this.#functions.map(({ name, code }) => {
        if (code === undefined) throw new Error(`Function ${name} has no body.`);
        return bytesOf((entry) => entry.block(code));
      }),
    );
    const names = [...this.#importNames, ...this.#functions.map(({ name }) => name)];
    const functionNames = bytesOf((entry) => {
      entry.unsigned(names.length);
      for (const [index, name] of names.entries()) {
        entry.unsigned(index);
        entry.name(name);
      }
    });
    module.byte(0);
    module.block(
      bytesOf((entry) => {
        entry.name("name");
        entry.byte(1);
        entry.block(functionNames);
      }),
    );
    return Uint8Array.from(module.bytes);
  }

  #type(parameters: readonly ValueType[], result: ResultType): number {
    const key = `${parameters.join(" ")} -> ${result}`;
    const known = this.#types.indexOf(key);
    if (known >= 0) return known;
    const results = result === "none" ? [] : [typeCodes[result]];
    this.#typeBytes.push(
      Uint8Array.of(0x60, parameters.length, ...parameters.map((type) => typeCodes[type]), results.length, ...results),
    );
    return this.#types.push(key) - 1;
  }
}

function bytesOf(write: (entry: Encoder) => void): Uint8Array {
  const entry = new Encoder();
  write(entry);
  return entry.bytes;
}
