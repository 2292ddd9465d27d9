/**
 * One thing that every implementation of a contract must do. A suite is a list of cases, plain data, so that the
 * testkit's own tests can run it on an implementation that is broken on purpose and see which case notices.
 */
export interface ComplianceCase {
  /** A sentence whose subject is the implementation. */
  readonly name: string;
  /** Rejects if the implementation does not do it. Cases are independent of each other. */
  readonly run: () => Promise<void>;
}

/** Collects the cases of a suite. A case that does not apply, judged by what the implementation supports, is left out. */
export class CaseList {
  readonly cases: ComplianceCase[] = [];

  add(name: string, run: () => Promise<void> | void): this {
    this.cases.push({ name, run: async () => run() });
    return this;
  }

  addIf(applies: boolean, name: string, run: () => Promise<void> | void): this {
    return applies ? this.add(name, run) : this;
  }
}
