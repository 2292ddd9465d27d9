import type { DeliveryMode } from "@cpr/core";

/** Delivery modes by their encoding in redirection entries, local vector table entries and the interrupt command register. */
export const deliveryModes: readonly (DeliveryMode | undefined)[] = [
  "fixed",
  "lowest-priority",
  "smi",
  undefined,
  "nmi",
  "init",
  "startup",
  "external",
];
