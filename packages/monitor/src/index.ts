/**
 * The human monitor: QEMU's HMP, read from a terminal or a pipe. Commands are plugins' contributions; this package
 * contributes QEMU's own and knows how lines are read.
 *
 * @packageDocumentation
 */
export { GuestAgent } from "./guest-agent.ts";
export { describeError, HumanMonitor, type MonitorAnswer } from "./human-monitor.ts";
export { LineHistory } from "./line-history.ts";
export { monitorErrors } from "./monitor-errors.ts";
export { type LineMonitor, MonitorSession, type SessionStreams } from "./monitor-session.ts";
export { type ProgressAmount, ProgressBar } from "./progress-bar.ts";
export {
  awaitMigration,
  type MigrationProgress,
  type MigrationSettings,
  readMigrationSettings,
  writeMigrationSettings,
} from "./qmp/migration-client.ts";
export { QmpClient } from "./qmp/qmp-client.ts";
export type { QmpEvent } from "./qmp/qmp-events.ts";
export { QmpServer } from "./qmp/qmp-server.ts";
export { UnixListener } from "./unix-listener.ts";
export type { VersionInformation } from "./version.ts";
