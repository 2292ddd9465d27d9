import { networkBackendCompliance } from "@cpr/testkit/network-backend";
import { pluginPackageCompliance } from "@cpr/testkit/plugin-package";
import { PasstBackend, StreamBackend } from "../src/index.ts";
import { fakePasstPlace } from "./fake-passt.ts";
import { connectingPlace, listeningPlace } from "./frame-peer.ts";

pluginPackageCompliance(import.meta.url);

networkBackendCompliance({
  name: "stream to a Unix socket",
  create: () => new StreamBackend(),
  place: () => listeningPlace("unix"),
});
networkBackendCompliance({
  name: "stream to a TCP socket",
  create: () => new StreamBackend(),
  place: () => listeningPlace("inet"),
});
networkBackendCompliance({
  name: "stream that waits at a Unix socket",
  create: () => new StreamBackend(),
  place: connectingPlace,
});
networkBackendCompliance({ name: "passt", create: () => new PasstBackend(), place: fakePasstPlace });
