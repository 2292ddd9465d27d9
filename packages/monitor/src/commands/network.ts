import { defineCommand } from "../define-command.ts";

export const SetLinkCommand = defineCommand({
  name: "set_link",
  words: "set_link",
  summary: "pull out or plug in the cable of a network card",
  arguments: [
    { name: "name", type: "string", summary: "id of the card or of its network" },
    { name: "up", type: "boolean", summary: "on or off" },
  ],
  execute: async ({ machine }, { name, up }) => {
    await machine.setLink(name as string, up as boolean);
  },
});
