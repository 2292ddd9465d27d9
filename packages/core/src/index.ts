/**
 * The contracts of cpr and the kernel that joins the plugins which fulfil them.
 *
 * @packageDocumentation
 */
export * from "./backend.ts";
export * from "./bus.ts";
export * from "./character-device.ts";
export * from "./clock.ts";
export * from "./device.ts";
export * from "./errors.ts";
export * from "./guest-memory.ts";
export * from "./interrupt.ts";
export * from "./interrupt-controller.ts";
export * from "./machine.ts";
export * from "./memory-provider.ts";
export * from "./migration-mode.ts";
export * from "./monitor-command.ts";
export * from "./plugin.ts";
export * from "./power-button.ts";
export * from "./processor-state.ts";
export * from "./runstate.ts";
export * from "./state/fields.ts";
export * from "./state/schema.ts";
export * from "./timer-queue.ts";
export * from "./transport.ts";
export * from "./virtual-machine.ts";
export * from "./virtual-machine-configuration.ts";
