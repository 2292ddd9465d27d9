import { Command, Option } from "commander";
import { collect } from "./option-values.ts";

/** The options of `cpr run` as commander gives them. */
export interface RunOptions {
  readonly memory: string;
  readonly object: readonly string[];
  readonly machine: string;
  readonly accel?: string;
  readonly enableKvm?: true;
  readonly cpu?: string;
  readonly smp: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly chardev: readonly string[];
  readonly serial: readonly string[];
  readonly device: readonly string[];
  readonly drive: readonly string[];
  readonly blockdev: readonly string[];
  readonly netdev: readonly string[];
  readonly nic: readonly string[];
  readonly monitor?: string;
  readonly qmp: readonly string[];
  readonly incoming?: string;
  readonly global: readonly string[];
  readonly migrateModeEnable: readonly string[];
  readonly addFd: readonly string[];
  readonly icount?: string;
  readonly name: string;
  readonly uuid?: string;
  readonly reboot: boolean;
  readonly stopped?: true;
  readonly plugin: readonly string[];
}

/** Describes `cpr run`: QEMU's options, which may be written with one dash or two. */
export function createRunCommand(): Command {
  return new Command("run")
    .summary("run a virtual machine")
    .description(
      "Runs a virtual machine until the guest powers off or the monitor is told to quit. The options are QEMU's and " +
        "may be written with one dash or two.",
    )
    .helpOption("-h, --help", "show this help")
    .option("-m, --memory <size>", "RAM of the guest, in MiB or with a suffix: 512M, 4G", "128M")
    .option(
      "--object <type,key=value,...>",
      "a memory object: memory-backend-ram, -memfd, -shm or -file with id, size, share, mem-path, align, prealloc, hugetlb; " +
        "if there is one, it is the guest's RAM",
      collect,
      [],
    )
    .option("-M, --machine <type[,key=value]>", "machine type; memory-backend=ID chooses the guest's RAM", "pc")
    .option("--accel <name>", "execution backend; default: the best that works on this host")
    .option("--enable-kvm", "the same as -accel kvm")
    .option("--cpu <model[,key=value]>", "CPU model, and tsc-frequency=HZ; default: the backend's first")
    .option("--smp <number>", "number of vCPUs", "1")
    .option("--kernel <file>", "Linux kernel: bzImage, or ELF with a PVH entry")
    .option("--initrd <file>", "initial RAM disk")
    .option("--append <text>", "the kernel's command line")
    .option(
      "--chardev <type,id=ID[,key=value]>",
      "the host's end of a character device: socket with path (or host, port), server and wait; stdio; file with path; pty; " +
        "null; may be repeated",
      collect,
      [],
    )
    .option(
      "--serial <device>",
      "where a serial port goes: stdio, mon:stdio, pty, file:PATH, unix:PATH,server=on,wait=off, tcp:HOST:PORT, chardev:ID, " +
        "null; the first is COM1, the second COM2",
      collect,
      [],
    )
    .option(
      "--device <model[,key=value]>",
      "add a device: virtio-blk-pci, virtio-rng-pci; with id=ID, addr=SLOT and its own properties; 'help' tells which there are, " +
        "MODEL,help which properties; may be repeated",
      collect,
      [],
    )
    .option(
      "--netdev <type,id=ID[,key=value]>",
      "a network for -device virtio-net-pci,netdev=ID: user with hostfwd=tcp::PORT-:PORT; tap with ifname=NAME; stream with " +
        "addr.type=unix,addr.path=PATH; passt; may be repeated",
      collect,
      [],
    )
    .option(
      "--drive <file=PATH,key=value,...>",
      "a disk: format=raw, if=virtio or none, readonly=on, id, serial, cache=writeback, writethrough or unsafe, discard=unmap; may be repeated",
      collect,
      [],
    )
    .option(
      "--nic <type[,key=value]>",
      "a network and its card in one: user,mac=52:54:00:12:34:56; may be repeated",
      collect,
      [],
    )
    .option(
      "--blockdev <driver=NAME,key=value,...>",
      "a disk for a -device: driver=raw,node-name=ID,file.driver=file,file.filename=PATH, read-only, discard; JSON too; may be repeated",
      collect,
      [],
    )
    .option(
      "--monitor <device>",
      "where the monitor is: stdio, unix:PATH,server=on,wait=off, none; default: on the console's terminal, Ctrl-a c",
    )
    .option(
      "--qmp <device>",
      "where programs control the VM, by QMP: unix:PATH,server=on,wait=off or stdio; wait=on starts the VM when a client " +
        "is there; may be repeated",
      collect,
      [],
    )
    .option("--incoming <uri>", "wait for a checkpoint: 'defer' for migrate_incoming, or a URI to load at once")
    .option(
      "--global <migration.name=value>",
      "a capability or parameter of migration from the start: migration.mode=cpr-reboot, migration.x-ignore-shared=on; " +
        "may be repeated",
      collect,
      [],
    )
    .option(
      "--add-fd <fd=N,set=M[,opaque=TEXT]>",
      "add a descriptor that the process was started with to a set, for file:/dev/fdset/M; may be repeated",
      collect,
      [],
    )
    .option("--name <name>", "name of the VM", "cpr")
    .option("--uuid <uuid>", "UUID of the VM")
    .option("--no-reboot", "end when the guest reboots")
    .option("-S, --stopped", "do not start the guest; 'cont' does")
    .option("--plugin <name>", "load a plugin: an npm package name or a path; may be repeated", collect, [])
    .addOption(
      new Option("--migrate-mode-enable <mode>", "accepted for QEMU's sake; all modes are enabled")
        .argParser(collect)
        .default([])
        .hideHelp(),
    )
    .addOption(new Option("--icount <options>", "QEMU's instruction counting, which there is not").hideHelp())
    .addOption(new Option("--nographic", "accepted for QEMU's sake; there is no graphics").hideHelp())
    .addOption(
      new Option("--display <type>", "accepted for QEMU's sake; there is no graphics").choices(["none"]).hideHelp(),
    )
    .addHelpText(
      "after",
      `
On a terminal, keys go to the guest's console: Ctrl-a c switches to the monitor and back, Ctrl-a x quits.

Examples:
  cpr run -m 256M -kernel vmlinuz -initrd initrd.gz -append console=ttyS0
  cpr run -object memory-backend-file,id=ram0,size=1G,mem-path=/dev/shm/ram0,share=on -m 1G \\
          -kernel vmlinuz -initrd initrd.gz -append console=ttyS0 -serial file:console.log -monitor stdio

Exit status: 0 ended as asked; 2 wrong usage; 3 a file or URI cannot be used; 4 the host lacks something;
5 in use by another process; 6 damaged or foreign checkpoint; 7 refused in this state; 8 a plugin failed;
9 the guest or the monitor failed.`,
    );
}
