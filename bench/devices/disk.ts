import { diskSize, type MeasuredSystem, mebibyte } from "./system.ts";

/** 4 KiB at places of `/dev/vdb` that are drawn, so many, each read or durably written before the next. */
const random = (way: "read" | "write", count: number): string =>
  `perl -e 'sysopen(my $d, "/dev/vdb", ${way === "read" ? "0" : "04010001"}) or die; srand 7; my $b = "x" x 4096; ` +
  `for (1 .. ${count}) { sysseek($d, 4096 * int rand ${diskSize / 4096}, 0); sys${way}($d, $b, 4096) == 4096 or die }'`;

/** MiB a second in large requests, and requests of 4 KiB a second, one at a time. */
export async function disk(system: MeasuredSystem): Promise<Record<string, number>> {
  const size = system.share(diskSize, mebibyte) / mebibyte;
  const transfer = (from: string, to: string): string =>
    `dd if=${from} of=${to} bs=1M count=${size} status=none ${to === "/dev/vdb" ? "oflag" : "iflag"}=direct`;
  const write = size / (await system.seconds(transfer("/dev/zero", "/dev/vdb")));
  const read = size / (await system.seconds(transfer("/dev/vdb", "/dev/null")));
  await system.ask("echo 0 >/sys/block/vdb/queue/read_ahead_kb; echo 1 >/proc/sys/vm/drop_caches");
  const [reads, writes] = [system.share(2000, 100), system.share(1000, 100)];
  const randomRead = reads / (await system.seconds(random("read", reads)));
  const randomWrite = writes / (await system.seconds(random("write", writes)));
  return {
    "sequential write, MiB/s": write,
    "sequential read, MiB/s": read,
    "4 KiB random read, 1/s": randomRead,
    "4 KiB random write, 1/s": randomWrite,
  };
}
