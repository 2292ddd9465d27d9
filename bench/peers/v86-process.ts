/** `node v86-process.ts IMAGE jit|interpreter`: runs a Multiboot image in v86 and copies COM1 to standard output. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { V86 } from "v86";

const [image = "", engine] = process.argv.slice(2);
const folder = dirname(createRequire(import.meta.url).resolve("v86/package.json"));

const contents = (path: string): { buffer: ArrayBuffer } => ({ buffer: new Uint8Array(readFileSync(path)).buffer });

const emulator = new V86({
  wasm_path: join(folder, "build/v86.wasm"),
  memory_size: 64 * 1024 * 1024,
  bios: contents("/usr/share/seabios/bios.bin"),
  multiboot: contents(image),
  autostart: true,
  disable_jit: engine === "interpreter",
});
emulator.add_listener("serial0-output-byte", (byte: number) => {
  process.stdout.write(String.fromCharCode(byte));
});
