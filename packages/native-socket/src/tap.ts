import { addon, checked } from "./addon.ts";

/**
 * Attaches to a tap device of Linux, which is made if it is not there (Documentation/networking/tuntap.rst, TUNSETIFF).
 *
 * @param flags - of linux/if_tun.h
 * @returns a descriptor that does not block: each read and each write is a frame
 * @throws {Error} with `code`: `EBUSY` if somebody is attached
 */
export const attachTap = (name: string, flags: number): number => checked("TUNSETIFF", addon().attachTap(name, flags));

/** The flags that a tap was attached with. @throws {Error} with `code`: `EBADFD` or `ENOTTY` if it is none */
export const tapFlags = (descriptor: number): number => checked("TUNGETIFF", addon().tapFlags(descriptor));

/** How many bytes the header has that each frame begins with. @throws {Error} with `code` */
export function setTapHeader(descriptor: number, bytes: number): void {
  checked("TUNSETVNETHDRSZ", addon().setTapHeader(descriptor, bytes));
}

/** Which unfinished frames may come. @throws {Error} with `code` */
export function setTapOffload(descriptor: number, flags: number): void {
  checked("TUNSETOFFLOAD", addon().setTapOffload(descriptor, flags));
}

/** Lets the device stay when nobody is attached to it. @throws {Error} with `code` */
export function keepTap(descriptor: number): void {
  checked("TUNSETPERSIST", addon().keepTap(descriptor));
}

/** Reads and writes of the descriptor end at once when they would have to wait. @throws {Error} with `code` */
export function doNotBlock(descriptor: number): void {
  checked("fcntl", addon().doNotBlock(descriptor));
}
