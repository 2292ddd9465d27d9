import { defineCommand } from "../define-command.ts";

/** `stop` */
export const StopCommand = defineCommand({
  name: "stop",
  words: "stop",
  aliases: ["s"],
  summary: "stop the guest",
  arguments: [],
  execute: ({ machine }) => machine.stop(),
});

/** `cont` */
export const ContCommand = defineCommand({
  name: "cont",
  words: "cont",
  aliases: ["c"],
  summary: "let the guest go on",
  arguments: [],
  execute: ({ machine }) => machine.cont(),
});

/** `system_reset` */
export const SystemResetCommand = defineCommand({
  name: "system_reset",
  words: "system_reset",
  summary: "reset the machine",
  arguments: [],
  execute: ({ machine }) => machine.reset(),
});

/** `system_powerdown` */
export const SystemPowerDownCommand = defineCommand({
  name: "system_powerdown",
  words: "system_powerdown",
  summary: "press the power button; the guest decides what follows",
  arguments: [],
  execute: ({ machine }) => machine.powerDown(),
});

/** `system_wakeup` */
export const SystemWakeUpCommand = defineCommand({
  name: "system_wakeup",
  words: "system_wakeup",
  summary: "wake the guest from suspend to RAM",
  arguments: [],
  execute: ({ machine }) => machine.wakeUp(),
});

/** `quit` */
export const QuitCommand = defineCommand({
  name: "quit",
  words: "quit",
  aliases: ["q"],
  summary: "end the process; the guest is not asked",
  arguments: [],
  execute: ({ machine }) => machine.quit(),
});
