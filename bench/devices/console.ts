import { join } from "node:path";
import { SystemConsole } from "../../tools/system-console.ts";
import { type MeasuredSystem, mebibyte } from "./system.ts";

/** KiB a second that the guest says on each of its consoles. */
export async function consoles(system: MeasuredSystem): Promise<Record<string, number>> {
  const text = (size: number): string => `head -c ${size} /dev/zero | tr '\\0' x`;
  const [few, many] = [system.share(65_536, 1024), system.share(mebibyte, 1024)];
  const serial = few / 1024 / (await system.seconds(text(few)));
  const reader = await SystemConsole.connect(join(system.setting.folder, "hvc0"));
  const virtio = many / 1024 / (await system.seconds(`${text(many)} >/dev/hvc0`));
  reader.close();
  return { "serial port, KiB/s": serial, "console of virtio, KiB/s": virtio };
}
