import { defineError, defineErrors } from "@cpr/core";

type None = Record<string, never>;

/** Why the mode `cpr-reboot` refuses. QEMU's texts where QEMU has one. */
export const cprRebootErrors = defineErrors({
  ERR_CPR_REBOOT_POSTCOPY: defineError<None>({
    category: "refused",
    when: "A migration in mode cpr-reboot with the capability postcopy-ram or dirty-bitmaps.",
    message: () => "Cannot use postcopy with CPR",
  }),
  ERR_CPR_REBOOT_BACKGROUND_SNAPSHOT: defineError<None>({
    category: "refused",
    when: "A migration in mode cpr-reboot with the capability background-snapshot.",
    message: () => "Cannot use background snapshot with CPR",
  }),
  ERR_CPR_REBOOT_COLO: defineError<None>({
    category: "refused",
    when: "A migration in mode cpr-reboot with the capability x-colo.",
    message: () => "Cannot use COLO with CPR",
  }),
  ERR_CPR_REBOOT_STREAMS: defineError<{ scheme: string; uri: string; keeping: readonly string[] }>({
    category: "refused",
    when: "A migration in mode cpr-reboot to a URI that streams from one process to another instead of keeping the bytes.",
    message: ({ uri, scheme }) =>
      `'${uri}' cannot be used in mode cpr-reboot: ${scheme}: streams from one instance to the other, so nothing would be left to restart from`,
    hint: ({ keeping }) =>
      keeping.length === 0
        ? "No transport is installed that keeps the bytes."
        : `Use a URI that keeps the bytes: ${keeping.map((scheme) => `${scheme}:…`).join(" or ")}`,
  }),
});
