/**
 * Guest programs in assembly: each runs in one mode of the processor, does one kind of thing and prints what it
 * observed on COM1. What a real processor observes is in `expected/`.
 *
 * @packageDocumentation
 */
export {
  buildGuestProgram,
  buildLinuxProgram,
  changingPages,
  expectedObservations,
  type GuestProgram,
  type GuestProgramNeeds,
  guestProgramNeeds,
  type LinuxProgram,
  type ObservingProgram,
  observingPrograms,
  otherProcessorCounts,
} from "./build.ts";
