/** `node tools/lab/persistent-memory.ts devdax | fsdax`: makes the lab host's first NVDIMM a device-DAX node, or a disk. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What of the output of `ndctl create-namespace` is read: the name of the block device, or of the node. */
interface Namespace {
  readonly blockdev?: string;
  readonly daxregion?: { readonly devices: readonly { readonly chardev: string }[] };
}

async function createNamespace(nvdimm: number, mode: "devdax" | "fsdax"): Promise<Namespace> {
  const { stdout } = await run("ndctl", [
    ...["create-namespace", "--reconfig", `namespace${nvdimm}.0`, "--force", "--mode", mode],
    // The kernel's records of pages are in its own memory: all but 2 MiB can be used, and no kernel relies on those of another.
    ...["--map", "mem", "--align", "2M"],
  ]);
  return JSON.parse(stdout) as Namespace;
}

/** Makes an NVDIMM, numbered from 0, a device-DAX node. It has 2 MiB less than the NVDIMM. @returns its path, `/dev/dax0.0` of the first one. */
export async function makeDeviceDax(nvdimm = 0): Promise<string> {
  const node = (await createNamespace(nvdimm, "devdax")).daxregion?.devices[0]?.chardev;
  if (node === undefined) throw new Error(`NVDIMM ${nvdimm} has not become a device-DAX node.`);
  return `/dev/${node}`;
}

/** Makes an NVDIMM, numbered from 0, a disk on which file systems can be mounted with `-o dax`. @returns its path, `/dev/pmem0` of the first one. */
export async function makeFileSystemDax(nvdimm = 0): Promise<string> {
  const { blockdev } = await createNamespace(nvdimm, "fsdax");
  if (blockdev === undefined) throw new Error(`NVDIMM ${nvdimm} has not become a disk.`);
  return `/dev/${blockdev}`;
}

if (import.meta.main) {
  const make = process.argv[2] === "fsdax" ? makeFileSystemDax : makeDeviceDax;
  console.log(`lab: ${await make()} is there`);
}
