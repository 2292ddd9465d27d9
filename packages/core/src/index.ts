/**
 * The contracts of cpr and the kernel that joins the plugins which fulfil them.
 *
 * @packageDocumentation
 */
export * from "./backend.ts";
export * from "./bus.ts";
export * from "./character-device.ts";
export * from "./clock.ts";
export * from "./descriptor-registry.ts";
export * from "./device.ts";
export * from "./discovery.ts";
export * from "./errors/descriptor-errors.ts";
export * from "./errors/machine-errors.ts";
export * from "./errors/memory-errors.ts";
export * from "./errors/migration-errors.ts";
export * from "./errors/plugin-errors.ts";
export * from "./errors/stream-errors.ts";
export * from "./errors.ts";
export * from "./guest-memory.ts";
export * from "./interrupt.ts";
export * from "./interrupt-controller.ts";
export * from "./kernel.ts";
export * from "./local-apic-state.ts";
export * from "./machine.ts";
export * from "./machine-thread/machine-control.ts";
export * from "./machine-thread/machine-host.ts";
export * from "./machine-thread/machine-thread.ts";
export * from "./machine-thread.ts";
export * from "./memory-object.ts";
export * from "./memory-provider.ts";
export * from "./memory-size.ts";
export * from "./migration/inspection.ts";
export * from "./migration-blocker.ts";
export * from "./migration-mode.ts";
export * from "./monitor-command.ts";
export * from "./plugin.ts";
export * from "./plugin-record.ts";
export * from "./power-button.ts";
export * from "./processor-check.ts";
export * from "./processor-model.ts";
export * from "./processor-report.ts";
export * from "./processor-state.ts";
export * from "./runstate.ts";
export * from "./state/codec.ts";
export type { DescribedValue } from "./state/described-value.ts";
export * from "./state/description.ts";
export * from "./state/fields.ts";
export * from "./state/schema.ts";
export type { StreamConfiguration } from "./stream/configuration-section.ts";
export type { DeviceSection, FileFacts } from "./stream/description-section.ts";
export * from "./stream-pipes.ts";
export * from "./system-reason.ts";
export * from "./timer-queue.ts";
export * from "./transport.ts";
export * from "./virtual-machine.ts";
export * from "./virtual-machine-configuration.ts";
export * from "./vm/create-virtual-machine.ts";
