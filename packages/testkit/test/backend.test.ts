import { backendCompliance } from "../src/backend.ts";
import { ToyBackend } from "./toy-backend.ts";

await backendCompliance({ name: "toy", create: () => new ToyBackend() });
