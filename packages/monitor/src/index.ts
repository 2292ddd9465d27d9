/**
 * The human monitor: QEMU's HMP, read from a terminal or a pipe. Commands are plugins' contributions; this package
 * contributes QEMU's own and knows how lines are read.
 *
 * @packageDocumentation
 */
export { describeError, HumanMonitor, type MonitorAnswer } from "./human-monitor.ts";
export { MonitorSession, type SessionStreams } from "./monitor-session.ts";
