import {
  type CodeWriter,
  Expression,
  type Expressions,
  type FunctionReference,
  type I32,
  instruction,
  Label,
  type ResultType,
  type Statement,
  typeCodes,
  type ValueType,
} from "./expression.ts";

const end = 0x0b;

/** Statements, then an expression: its value is the whole's. */
export function evaluate<T extends ValueType>(statements: readonly Statement[], value: Expression<T>): Expression<T> {
  return new Expression(value.type, (writer) => {
    for (const statement of statements) statement.write(writer);
    value.write(writer);
  });
}

/** Several statements as one. */
export function sequence(...statements: readonly Statement[]): Statement {
  return new Expression("none", (writer) => {
    for (const statement of statements) statement.write(writer);
  });
}

function structured(opcode: number, body: (label: Label) => readonly Statement[]): Statement {
  const label = new Label();
  const statements = body(label);
  return new Expression("none", (writer) => {
    writer.byte(opcode);
    writer.byte(typeCodes.none);
    writer.within(label, () => {
      for (const statement of statements) statement.write(writer);
    });
    writer.byte(end);
  });
}

/** Branches to the label go on after the block. */
export function block(body: (exit: Label) => readonly Statement[]): Statement {
  return structured(0x02, body);
}

/** Branches to the label start the loop's body again; without one the loop is left at its end. */
export function loop(body: (again: Label) => readonly Statement[]): Statement {
  return structured(0x03, body);
}

export function branch(label: Label): Statement {
  return instruction("none", [], (writer) => {
    writer.byte(0x0c);
    writer.label(label);
  });
}

export function branchIf(label: Label, condition: I32): Statement {
  return instruction("none", [condition], (writer) => {
    writer.byte(0x0d);
    writer.label(label);
  });
}

function writeTable(writer: CodeWriter, labels: readonly Label[], otherwise: Label): void {
  writer.byte(0x0e);
  writer.unsigned(labels.length);
  for (const label of labels) writer.label(label);
  writer.label(otherwise);
}

/**
 * Executes the case with the index, through one `br_table`. A case that does not branch away leaves the switch at its
 * end. An index without a case leads to `otherwise`.
 */
export function switchOn(
  index: I32,
  cases: readonly (readonly Statement[])[],
  otherwise: readonly Statement[],
): Statement {
  const exit = new Label();
  const labels = cases.map(() => new Label());
  const fallback = new Label();
  // The blocks nest: the innermost, closed first, is that of case 0; case bodies follow one another outwards.
  const open = (writer: CodeWriter, depth: number): void => {
    const label = depth < 0 ? fallback : labels[depth];
    if (label === undefined) {
      index.write(writer);
      writeTable(writer, labels, fallback);
      return;
    }
    writer.byte(0x02);
    writer.byte(typeCodes.none);
    writer.within(label, () => open(writer, depth + 1));
    writer.byte(end);
    for (const statement of depth < 0 ? otherwise : (cases[depth] as readonly Statement[])) statement.write(writer);
    writer.byte(0x0c);
    writer.label(exit);
  };
  return new Expression("none", (writer) => {
    writer.byte(0x02);
    writer.byte(typeCodes.none);
    writer.within(exit, () => open(writer, -1));
    writer.byte(end);
  });
}

/** `if`: executes one of two lists of statements. */
export function when(condition: I32, then: readonly Statement[], otherwise: readonly Statement[] = []): Statement {
  const label = new Label();
  return instruction("none", [condition], (writer) => {
    writer.byte(0x04);
    writer.byte(typeCodes.none);
    writer.within(label, () => {
      for (const statement of then) statement.write(writer);
      if (otherwise.length > 0) writer.byte(0x05);
      for (const statement of otherwise) statement.write(writer);
    });
    writer.byte(end);
  });
}

/** `if` with a value: evaluates only one of the two. */
export function choose<T extends ValueType>(
  condition: I32,
  then: Expression<T>,
  otherwise: Expression<T>,
): Expression<T> {
  const label = new Label();
  return instruction(then.type, [condition], (writer) => {
    writer.byte(0x04);
    writer.byte(typeCodes[then.type]);
    writer.within(label, () => {
      then.write(writer);
      writer.byte(0x05);
      otherwise.write(writer);
    });
    writer.byte(end);
  });
}

/** Evaluates both and takes one: no branch. */
export function select<T extends ValueType>(
  condition: I32,
  then: Expression<T>,
  otherwise: Expression<T>,
): Expression<T> {
  if (then.type === "v128") {
    return instruction(then.type, [then, otherwise, condition], (writer) => writer.append([0x1c, 1, typeCodes.v128]));
  }
  return instruction(then.type, [then, otherwise, condition], (writer) => writer.byte(0x1b));
}

export function drop(value: Expression<ValueType>): Statement {
  return instruction("none", [value], (writer) => writer.byte(0x1a));
}

/** Leaves the function, with its result if it has one. */
export function leave(result?: Expression<ValueType>): Statement {
  return instruction("none", result === undefined ? [] : [result], (writer) => writer.byte(0x0f));
}

/** Traps. */
export function unreachable(): Statement {
  return instruction("none", [], (writer) => writer.byte(0x00));
}

export function call<const P extends readonly ValueType[], R extends ResultType>(
  callee: FunctionReference<P, R>,
  ...values: Expressions<P>
): Expression<R> {
  return instruction(callee.result, values as readonly Expression<ValueType>[], (writer) => {
    writer.byte(0x10);
    writer.unsigned(callee.index);
  });
}
