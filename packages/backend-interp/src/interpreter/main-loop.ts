import {
  blockField,
  blockHeaderSize,
  blockRipSlot,
  budgetAt,
  currentBlockAt,
  currentOperationAt,
  effectiveAddressSlot,
  jumpCacheAt,
  jumpCacheEntries,
  jumpCacheEntrySize,
  jumpKeyAt,
  ripSlot,
} from "../layout.ts";
import {
  field,
  helperResult,
  type OperationName,
  operationFlag,
  operationKind,
  operationNames,
  operationSize,
  runResult,
} from "../operations.ts";
import { raiseFault, storeCurrentOperation } from "../semantics/faults.ts";
import type { AccessScope, MemoryAccess } from "../semantics/memory-access.ts";
import { constant, type Operand, register, registerNumber, type Width, zeroExtend } from "../semantics/operand.ts";
import type { Runtime, Scope, Semantics } from "../semantics/scope.ts";
import { linearAddressBits } from "../system/architecture.ts";
import {
  branch,
  branchIf,
  call,
  type FunctionBuilder,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  type Label,
  type Local,
  leave,
  loop,
  type ModuleBuilder,
  type Statement,
  select,
  switchOn,
  unreachable,
  when,
} from "../wasm/index.ts";
import type { Addressing } from "./addressing.ts";
import { OperationRecord, Temporaries, withScope } from "./operation-record.ts";

/** What the interpreter's function is made of. */
export interface MainLoopParts {
  readonly runtime: Runtime;
  readonly memory: MemoryAccess;
  readonly addressing: Addressing;
  /** Semantics of the operations that neither touch guest memory nor leave the block. */
  readonly semantics: Semantics;
  readonly resolve: FunctionReference<readonly ["i32"], "i32">;
  readonly helper: FunctionReference<readonly ["i32", "i32"], "i32">;
  readonly vector: FunctionReference<readonly ["i32"], "none">;
  readonly unfinishedInstructions: FunctionReference<readonly ["i32"], "i32">;
}

const generalProtection = 13;
const widths = [8, 16, 32, 64] as const;
const forms = ["base", "full", "legacy"] as const;
/** Widths of the stacks that have operations of their own. */
const stackWidths = [64, 32] as const;
type StackWidth = (typeof stackWidths)[number];

/**
 * Writes `run`: a loop around one switch over the kinds of operations.
 *
 * Its state is in locals: `pc` is the address of the operation, `rip` the RIP of the block's first instruction. Cases end by
 * falling out of the switch (on to the next operation), by `enter` (a block is known) or by `lookUp` (only a RIP is).
 */
export class MainLoop {
  readonly #parts: MainLoopParts;
  readonly #record: OperationRecord;
  readonly #temporaries: Temporaries;
  readonly #access: AccessScope;
  /** The block to enter; 0: to be looked up. */
  readonly #block: Local<"i32">;
  readonly #pc: Local<"i32">;
  readonly #rip: Local<"i64">;
  /** Where a block that is looked up is to be linked; 0: nowhere. */
  readonly #link: Local<"i32">;
  readonly #rest: Local<"i32">;
  #lookUp: Label | undefined;
  #enter: Label | undefined;

  /** Defines the function. */
  static define(module: ModuleBuilder, parts: MainLoopParts): FunctionReference<readonly ["i32"], "i32"> {
    return module.defineFunction("run", ["i32"], "i32", (f, start) => new MainLoop(f, start, parts).#body());
  }

  private constructor(f: FunctionBuilder, start: Local<"i32">, parts: MainLoopParts) {
    this.#parts = parts;
    this.#block = start;
    this.#pc = f.local("i32");
    this.#rip = f.local("i64");
    this.#link = f.local("i32");
    this.#rest = f.local("i32");
    this.#temporaries = new Temporaries(f);
    this.#record = new OperationRecord(parts.runtime.core, this.#pc);
    this.#access = { operation: this.#pc, address: f.local("i64"), entry: f.local("i32") };
  }

  #body(): Statement[] {
    return [
      this.#rip.set(this.#load64(ripSlot)),
      loop((lookUp) => {
        this.#lookUp = lookUp;
        return [
          when(i32.eqz(this.#block), this.#find()),
          loop((enter) => {
            this.#enter = enter;
            return [
              ...this.#enterBlock(),
              loop((next) => [
                switchOn(this.#record.kind, this.#cases(), [unreachable()]),
                this.#pc.set(i32.add(this.#pc, i32.const(operationSize))),
                branch(next),
              ]),
            ];
          }),
        ];
      }),
      unreachable(),
    ];
  }

  #load64(address: number): I64 {
    return i64.load(this.#parts.runtime.core, i32.const(0), address);
  }

  #load32(address: number): I32 {
    return i32.load(this.#parts.runtime.core, i32.const(0), address);
  }

  #store64(address: number, value: I64): Statement {
    return i64.store(this.#parts.runtime.core, i32.const(0), value, address);
  }

  #store32(address: number, value: I32): Statement {
    return i32.store(this.#parts.runtime.core, i32.const(0), value, address);
  }

  /** Offset in the jump cache of the entry that `rip` can be in. */
  #jumpCacheEntry(): I32 {
    const low = i32.wrap(this.#rip);
    const index = i32.and(i32.xor(low, i32.shrU(low, i32.const(13))), i32.const(jumpCacheEntries - 1));
    return i32.mul(index, i32.const(jumpCacheEntrySize));
  }

  /** Sets the block for `rip`, from the jump cache or else by TypeScript. */
  #find(): Statement[] {
    const { core } = this.#parts.runtime;
    const entry = this.#access.entry;
    const hit = i32.and(
      i64.eq(i64.load(core, entry, jumpCacheAt), this.#rip),
      i32.eq(i32.load(core, entry, jumpCacheAt + 8), this.#load32(jumpKeyAt)),
    );
    return [
      entry.set(this.#jumpCacheEntry()),
      when(
        hit,
        [this.#block.set(i32.load(core, entry, jumpCacheAt + 12)), when(this.#link, [this.#linkIfWhole()])],
        [
          this.#store64(ripSlot, this.#rip),
          // A block that will not be entered must not be decoded either: its fetch could fault before an interrupt is taken.
          when(i32.leS(this.#load32(budgetAt), i32.const(0)), [leave(i32.const(runResult.budget))]),
          this.#store32(currentOperationAt, this.#pc),
          this.#block.set(call(this.#parts.resolve, this.#link)),
        ],
      ),
    ];
  }

  /**
   * Links the block, unless its code reaches into a second page. (Jumps are linkable only if the target begins in their own
   * page: that a whole block is mapped there cannot change under the jump. What is mapped behind the page can.)
   * NOTE: nor a stale one, which the jump cache may still hold: the link would lead there for ever.
   */
  #linkIfWhole(): Statement {
    const { core } = this.#parts.runtime;
    const begin = i32.and(i32.wrap(this.#rip), i32.const(0xfff));
    const end = i32.add(begin, i32.load(core, this.#block, blockField.length));
    const kind = i32.load16u(core, this.#block, blockHeaderSize + field.kind);
    const isWhole = i32.leU(end, i32.const(0x1000));
    const isStale = i32.eq(kind, i32.const(operationKind("stale")));
    return when(i32.and(isWhole, i32.eqz(isStale)), [i32.store(core, this.#link, this.#block)]);
  }

  /** Begins the block, if the budget has room for it. */
  #enterBlock(): Statement[] {
    const { core } = this.#parts.runtime;
    const instructions = i32.load(core, this.#block, blockField.instructions);
    return [
      this.#rest.set(i32.sub(this.#load32(budgetAt), instructions)),
      when(i32.ltS(this.#rest, i32.const(0)), [this.#store64(ripSlot, this.#rip), leave(i32.const(runResult.budget))]),
      this.#store32(budgetAt, this.#rest),
      this.#store64(blockRipSlot, this.#rip),
      this.#store32(currentBlockAt, this.#block),
      this.#pc.set(i32.add(this.#block, i32.const(blockHeaderSize))),
    ];
  }

  /** The bodies of the switch, in the order of the operations' numbers. */
  #cases(): (readonly Statement[])[] {
    const cases = new Map<string, readonly Statement[]>([
      ...this.#memoryCases(),
      ...this.#transferCases(),
      ...this.#outsideCases(),
      ...this.#semanticCases(),
    ]);
    const bodies = operationNames.map((name) => {
      const body = cases.get(name);
      if (body === undefined) throw new Error(`Operation ${name} has no semantics.`);
      cases.delete(name);
      return body;
    });
    if (cases.size > 0) throw new Error(`Semantics without an operation: ${[...cases.keys()].join(", ")}.`);
    return bodies;
  }

  *#semanticCases(): Generator<[string, Statement[]]> {
    for (const [name, write] of Object.entries(this.#parts.semantics)) {
      if (write !== undefined) yield [name, this.#scoped(write)];
    }
  }

  #scoped(write: (scope: Scope) => readonly Statement[]): Statement[] {
    return withScope(this.#parts.runtime, this.#record, this.#temporaries, write);
  }

  *#memoryCases(): Generator<[string, Statement[]]> {
    const { memory, addressing } = this.#parts;
    const access = this.#access;
    for (const form of forms) {
      const address = (size: number, write: boolean) => addressing.linear(form, this.#record, size, write);
      for (const width of widths) {
        const size = width / 8;
        yield [`load${width}-${form}`, this.#scoped((scope) => this.#load(width, address(size, false), scope))];
        yield [
          `store${width}-${form}`,
          this.#scoped(({ source }) => memory.store(width, address(size, true), source.read(width), access)),
        ];
        yield [
          `load-modify${width}-${form}`,
          this.#scoped(({ destination }) => memory.loadModify(width, address(size, true), destination, access)),
        ];
      }
      for (const aligned of [false, true]) {
        const suffix = `${aligned ? "-aligned" : ""}128-${form}`;
        const load = memory.loadVector(this.#record.address("destination"), address(16, false), aligned, access);
        const store = memory.storeVector(this.#record.address("source"), address(16, true), aligned, access);
        yield [`load${suffix}`, load];
        yield [`store${suffix}`, store];
      }
      yield [`address-${form}`, [this.#store64(effectiveAddressSlot, addressing.announced(form, this.#record))]];
    }
    for (const width of widths) {
      yield [`store-back${width}`, this.#scoped(({ source }) => memory.storeBack(width, source, access))];
    }
    for (const width of [16, 32, 64] as const) {
      yield [
        `lea${width}`,
        this.#scoped(({ destination }) => [destination.write(width, addressing.effective(this.#record))]),
      ];
    }
    for (const width of stackWidths) {
      yield [`push${width}`, this.#scoped(({ source }) => this.#push(width, source.read(width)))];
      yield [
        `pop${width}`,
        this.#scoped(({ destination, x }) => [
          ...this.#popInto(x, width),
          this.#raiseStack(width, constant(0)),
          destination.write(width, x),
        ]),
      ];
    }
  }

  #load(width: Width, address: I64, { destination }: Scope): Statement[] {
    const { before, value } = this.#parts.memory.load(width, address, this.#access);
    return [...before, destination.write(width, value)];
  }

  /** RSP, or ESP if the stack has 32 bits. */
  get #stack(): Operand {
    return register(this.#parts.runtime.core, registerNumber.rsp);
  }

  /** RSP changes when the store has succeeded. */
  #push(width: StackWidth, value: I64): Statement[] {
    const below = zeroExtend(width, i64.sub(this.#stack.read(width), constant(width / 8)));
    return [...this.#parts.memory.store(width, below, value, this.#access), this.#stack.write(width, below)];
  }

  #popInto(local: Local<"i64">, width: StackWidth): Statement[] {
    const { before, value } = this.#parts.memory.load(width, this.#stack.read(width), this.#access);
    return [...before, local.set(value)];
  }

  /** After a pop: one element, and `more` bytes. */
  #raiseStack(width: StackWidth, more: I64): Statement {
    return this.#stack.write(width, i64.add(this.#stack.read(width), i64.add(more, constant(width / 8))));
  }

  /** Goes on with the block at `rip + distance`, through the link in a field if there is one already. */
  #jump(distance: I64, linkField: "base" | "index"): Statement[] {
    const flag = linkField === "base" ? operationFlag.linkable : operationFlag.linkableNotTaken;
    const linkable = i32.and(this.#record.flags, i32.const(flag));
    return [
      this.#rip.set(i64.add(this.#rip, distance)),
      this.#block.set(this.#record.address(linkField)),
      when(this.#block, [branch(this.#enter as Label)]),
      this.#link.set(select(linkable, i32.add(this.#pc, i32.const(field[linkField])), i32.const(0))),
      branch(this.#lookUp as Label),
    ];
  }

  /** Goes on at a RIP. */
  #jumpTo(rip: I64): Statement[] {
    return [
      this.#rip.set(rip),
      this.#block.set(i32.const(0)),
      this.#link.set(i32.const(0)),
      branch(this.#lookUp as Label),
    ];
  }

  #taken(): Statement[] {
    return this.#jump(this.#record.displacement, "base");
  }

  #notTaken(): Statement[] {
    return this.#jump(this.#record.immediate, "index");
  }

  #transferCases(): [OperationName, Statement[]][] {
    const { core, flags } = this.#parts.runtime;
    const counter = register(core, registerNumber.rcx);
    const codes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] as const;
    const conditional = codes.map((code): [OperationName, Statement[]] => [
      `jump-if-${code}`,
      [when(flags.condition(code), this.#taken()), ...this.#notTaken()],
    ]);
    return [
      ["end", this.#taken()],
      ["jump", this.#taken()],
      ...conditional,
      ...stackWidths.flatMap((width) => this.#stackTransfers(width)),
      [
        "loop64",
        this.#scoped(({ auxiliary, bits }) => [
          bits.set(auxiliary),
          when(
            i32.eq(bits, i32.const(3)),
            [bits.set(i64.eqz(counter.read(64)))],
            [
              counter.write(64, i64.sub(counter.read(64), constant(1))),
              // NE (0), E (1) and plain (2): ZF must be different from, equal to, or may be either of the code's low bit.
              bits.set(
                i32.and(
                  i32.or(i32.eq(bits, i32.const(2)), i32.eq(flags.condition(4), bits)),
                  i64.ne(counter.read(64), constant(0)),
                ),
              ),
            ],
          ),
          when(bits, this.#taken()),
          ...this.#notTaken(),
        ]),
      ],
    ];
  }

  /** Calls and returns by one width of stack. */
  #stackTransfers(width: StackWidth): [OperationName, Statement[]][] {
    const { x, y } = this.#temporaries;
    const returnAddress = i64.add(this.#rip, this.#record.immediate);
    const source = zeroExtend(width, this.#record.slot("source"));
    return [
      [`call${width}`, [...this.#push(width, returnAddress), ...this.#taken()]],
      [
        `return${width}`,
        [
          ...this.#popInto(x, width),
          ...this.#checkTarget(width, x, y),
          this.#raiseStack(width, this.#record.immediate),
          ...this.#jumpTo(x),
        ],
      ],
      [`jump-indirect${width}`, [x.set(source), ...this.#checkTarget(width, x, y), ...this.#jumpTo(x)]],
      // NOTE: the source is read before the push: it may be RSP.
      [
        `call-indirect${width}`,
        [x.set(source), ...this.#checkTarget(width, x, y), ...this.#push(width, returnAddress), ...this.#jumpTo(x)],
      ],
    ];
  }

  /** A jump to an address that is not canonical is a #GP of the jump itself, before anything has changed. */
  #checkTarget(width: StackWidth, target: I64, scratch: Local<"i64">): Statement[] {
    if (width !== 64) return [];
    const unused = constant(64 - linearAddressBits);
    return [
      scratch.set(i64.shrS(i64.shl(target, unused), unused)),
      when(i64.ne(scratch, target), raiseFault({ ...this.#parts.runtime, operation: this.#pc }, generalProtection, 0)),
    ];
  }

  /** What is executed elsewhere, or not at all. */
  #outsideCases(): [OperationName, Statement[]][] {
    const { runtime, helper, vector, unfinishedInstructions } = this.#parts;
    const { bits } = this.#temporaries;
    return [
      [
        "stale",
        [
          // NOTE: the jump cache may hold just this block, which would be found again and again.
          i32.store(runtime.core, this.#jumpCacheEntry(), i32.const(0), jumpCacheAt + 8),
          // At the block's first operation nothing of it was executed, not even NOPs before it that have no operation.
          when(
            i32.eq(this.#pc, i32.add(this.#block, i32.const(blockHeaderSize))),
            [bits.set(i32.load(runtime.core, this.#block, blockField.instructions))],
            [
              bits.set(call(unfinishedInstructions, this.#pc)),
              this.#rip.set(i64.add(this.#rip, this.#record.instructionOffset)),
            ],
          ),
          this.#store32(budgetAt, i32.add(this.#load32(budgetAt), bits)),
          ...this.#jumpTo(this.#rip),
        ],
      ],
      [
        "helper",
        [
          storeCurrentOperation(runtime.core, this.#pc),
          bits.set(call(helper, this.#record.auxiliary, this.#pc)),
          when(bits, [
            this.#rip.set(this.#load64(ripSlot)),
            when(i32.eq(bits, i32.const(helperResult.leave)), [leave(i32.const(runResult.left))]),
            this.#block.set(i32.const(0)),
            this.#link.set(i32.const(0)),
            branch(this.#lookUp as Label),
          ]),
        ],
      ],
      ["vector", [call(vector, this.#pc)]],
      ["no-operation", []],
    ];
  }
}

/** Defines `unfinishedInstructions`: counts what began in the block up to the operation, which is the last of them and not finished. */
export function defineUnfinishedInstructions(
  module: ModuleBuilder,
  core: Runtime["core"],
): FunctionReference<readonly ["i32"], "i32"> {
  return module.defineFunction("unfinishedInstructions", ["i32"], "i32", (f, operation) => {
    const block = f.local("i32");
    const at = f.local("i32");
    const unfinished = f.local("i32");
    const flags = i32.load8u(core, at, field.flags);
    const begun = i32.add(
      i32.and(flags, i32.const(operationFlag.first)),
      i32.shrU(flags, i32.const(operationFlag.skippedShift)),
    );
    return [
      block.set(i32.load(core, i32.const(0), currentBlockAt)),
      at.set(i32.add(block, i32.const(blockHeaderSize))),
      unfinished.set(i32.add(i32.load(core, block, blockField.instructions), i32.const(1))),
      loop((again) => [
        unfinished.set(i32.sub(unfinished, begun)),
        at.set(i32.add(at, i32.const(operationSize))),
        branchIf(again, i32.leU(at, operation)),
      ]),
      leave(unfinished),
    ];
  });
}
