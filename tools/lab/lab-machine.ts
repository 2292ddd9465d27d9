import { channelName } from "./lab-initramfs.ts";

/** The files that a lab host is made of. */
export interface LabMachine {
  readonly kernel: string;
  readonly initramfs: string;
  readonly systemImage: string;
  /** A disk that can be written to; what is written is gone with the lab host. */
  readonly disk?: string | undefined;
  /** The files behind its NVDIMMs; QEMU makes them. */
  readonly nvdimms: readonly { readonly path: string; readonly size: string }[];
  /** Where what its console says is kept. */
  readonly consoleLog: string;
  /** Where what a scenario says is kept. */
  readonly channelLog: string;
  /** Whether its console is on standard input and output; otherwise the channel is. */
  readonly interactive: boolean;
}

/**
 * An EPYC without what TCG has not got, so that QEMU has nothing to warn of, and with what it has got beyond. What is not to
 * be had: the invariant TSC, and control of the TSC's rate for guests.
 */
const processor =
  "EPYC-v1,-fxsr-opt,-misalignsse,-osvw,-topoext,-nrip-save,-xsavec,+x2apic,+umip,+erms,+rdpid,+vgif,+wbnoinvd";

const gibibyte = 2 ** 30;

/** The bytes of a size as QEMU takes it: a number with a suffix, M or G. @throws {RangeError} if it is none */
function bytesOf(size: string): number {
  const [, number, unit] = /^(\d+)([MG])$/.exec(size) ?? [];
  if (number === undefined) throw new RangeError(`'${size}' is no size with M or G.`);
  return Number(number) * (unit === "G" ? gibibyte : 2 ** 20);
}

/** The command line of the QEMU that is the lab host: an emulated PC whose processor has AMD's virtualization. */
export function labMachineOptions(machine: LabMachine): string[] {
  const standard = "stdio,signal=off";
  const quoted = (path: string): string => path.replaceAll(",", ",,");
  const consoleDevice = machine.interactive
    ? `${standard},logfile=${quoted(machine.consoleLog)}`
    : `file,path=${quoted(machine.consoleLog)}`;
  const channelDevice = machine.interactive
    ? `file,path=${quoted(machine.channelLog)}`
    : `${standard},logfile=${quoted(machine.channelLog)}`;
  // Emulated processors share one TSC, but nothing says so to the kernel, which would read the slow HPET instead: guests would
  // boot in twice the time.
  const kernelOptions = `console=ttyS0 tsc=reliable panic=-1${machine.interactive ? " quiet" : ""}`;
  const { nvdimms } = machine;
  const memory = 8 * gibibyte;
  const most = nvdimms.reduce((sum, { size }) => sum + bytesOf(size), memory);
  return [
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ...["-M", `q35,nvdimm=${nvdimms.length > 0 ? "on" : "off"}`, "-accel", "tcg,thread=multi"],
    ...["-cpu", processor, "-smp", "2"],
    ...["-m", nvdimms.length > 0 ? `size=${memory}B,slots=${nvdimms.length},maxmem=${most}B` : `${memory}B`],
    // NOTE: with a label area, what is left of an NVDIMM does not begin where a region must.
    ...nvdimms.flatMap(({ path, size }, index) => [
      ...["-object", `memory-backend-file,id=nvdimm${index},share=on,mem-path=${quoted(path)},size=${size}`],
      ...["-device", `nvdimm,memdev=nvdimm${index}`],
    ]),
    ...["-kernel", machine.kernel, "-initrd", machine.initramfs, "-append", kernelOptions],
    ...["-drive", `file=${quoted(machine.systemImage)},if=virtio,format=raw,readonly=on`],
    ...(machine.disk === undefined ? [] : ["-drive", `file=${quoted(machine.disk)},if=virtio,format=raw,snapshot=on`]),
    ...["-chardev", `${consoleDevice},id=console`, "-serial", "chardev:console"],
    ...["-device", "virtio-serial-pci", "-chardev", `${channelDevice},id=channel`],
    ...["-device", `virtserialport,chardev=channel,name=${channelName}`],
  ];
}
