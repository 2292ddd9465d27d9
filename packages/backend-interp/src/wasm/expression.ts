import { Encoder } from "./encoder.ts";

/** The value types that code is written with. */
export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

/** The type of an expression; `none` for one that leaves no value: a statement. */
export type ResultType = ValueType | "none";

/** Encodings of the types; `none` is the empty block type. */
export const typeCodes: Readonly<Record<ResultType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  none: 0x40,
};

/** A place to branch to: the end of a `block`, the start of a `loop`. */
export class Label {}

/** Writes a function's body: bytes, and the labels that are open where the next byte goes. */
export class CodeWriter extends Encoder {
  readonly #labels: Label[] = [];

  /** Writes what is inside a structured instruction. */
  within(label: Label, write: () => void): void {
    this.#labels.push(label);
    write();
    this.#labels.pop();
  }

  /** The relative depth of an open label, which branches name it by. */
  label(label: Label): void {
    const index = this.#labels.lastIndexOf(label);
    if (index < 0) throw new Error("A branch leaves for a label that is not around it.");
    this.unsigned(this.#labels.length - 1 - index);
  }
}

/**
 * Code that leaves one value of type `T`, or none. It is a description, not code in place: using it twice writes (and
 * executes) it twice. A value that is needed twice belongs into a local.
 */
export class Expression<out T extends ResultType = ResultType> {
  readonly type: T;
  readonly write: (writer: CodeWriter) => void;

  constructor(type: T, write: (writer: CodeWriter) => void) {
    this.type = type;
    this.write = write;
  }
}

export type I32 = Expression<"i32">;
export type I64 = Expression<"i64">;
export type F32 = Expression<"f32">;
export type F64 = Expression<"f64">;
export type V128 = Expression<"v128">;
export type Statement = Expression<"none">;

/** An instruction: operands first, then its opcode with its immediates. */
export function instruction<T extends ResultType>(
  type: T,
  operands: readonly Expression<ValueType>[],
  write: (writer: CodeWriter) => void,
): Expression<T> {
  return new Expression(type, (writer) => {
    for (const operand of operands) operand.write(writer);
    write(writer);
  });
}

/** A local variable or parameter; as an expression, its value. */
export class Local<T extends ValueType> extends Expression<T> {
  readonly #index: number;

  constructor(type: T, index: number) {
    super(type, (writer) => {
      writer.byte(0x20);
      writer.unsigned(index);
    });
    this.#index = index;
  }

  set(value: Expression<T>): Statement {
    return instruction("none", [value], (writer) => {
      writer.byte(0x21);
      writer.unsigned(this.#index);
    });
  }

  /** Sets the local; the value is also the expression's. */
  tee(value: Expression<T>): Expression<T> {
    return instruction(this.type, [value], (writer) => {
      writer.byte(0x22);
      writer.unsigned(this.#index);
    });
  }
}

/** A memory of the module; `A` is the type of its addresses. */
export interface Memory<A extends "i32" | "i64" = "i32" | "i64"> {
  readonly address: A;
  readonly index: number;
}

/** A function of the module that can be called. */
export interface FunctionReference<
  P extends readonly ValueType[] = readonly ValueType[],
  R extends ResultType = ResultType,
> {
  readonly index: number;
  readonly parameters: P;
  readonly result: R;
}

/** Expressions for a list of types. */
export type Expressions<P extends readonly ValueType[]> = { [K in keyof P]: Expression<P[K]> };
