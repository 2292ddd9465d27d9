/**
 * The `cpr` command. A library user wants `@cpr/core` and the plugins instead; what is exported here is what other
 * front ends may share.
 *
 * @packageDocumentation
 */
export { ConsoleMultiplexer, type MultiplexerActions } from "./console-multiplexer.ts";
export type { DoctorReport } from "./doctor-report.ts";
export { acceptSingleDash } from "./qemu-spelling.ts";
