/**
 * Stand-ins for what surrounds an implementation under test. They work; they only remember more, and their clock
 * stands still.
 *
 * @packageDocumentation
 */
export * from "./fakes/fake-block-device.ts";
export * from "./fakes/fake-device-context.ts";
export * from "./fakes/fake-guest-agent.ts";
export * from "./fakes/fake-host.ts";
export * from "./fakes/fake-virtual-machine.ts";
export * from "./fakes/manual-clock.ts";
export * from "./fakes/manual-interrupts.ts";
export * from "./fakes/memory-transport.ts";
export * from "./fakes/pipe-transport.ts";
export * from "./fakes/recording-bus.ts";
export * from "./fakes/recording-character-device.ts";
export * from "./fakes/recording-interrupt-line.ts";
export * from "./fakes/recording-network-link.ts";
export * from "./fakes/stoppable-clock.ts";
export * from "./fakes/transport-uri.ts";
