import { addon, checked } from "./addon.ts";

// sys/epoll.h
const EPOLLIN = 0x1;
const EPOLLOUT = 0x4;
const EPOLLERR = 0x8;
const EPOLLHUP = 0x10;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

const watches = new Map<number, Watch>();
let lastId = 0;
let begun = false;

/** Tells when a descriptor can be read from or written to. It keeps the process alive while it is open. */
export class Watch {
  readonly #descriptor: number;
  readonly #id: number;
  #wanted = 0;
  #onReadable: () => void = () => undefined;
  #onWritable: () => void = () => undefined;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    if (!begun) {
      begun = true;
      addon().beginWatching((id, events) => {
        const watch = watches.get(id);
        if (watch !== undefined) watch.#ready(events);
      });
    }
    // NOTE: a descriptor's number is used again when it is closed; an event that is late must not find the next one.
    lastId += 1;
    this.#id = lastId;
    checked("epoll_ctl", addon().watch(EPOLL_CTL_ADD, descriptor, 0, this.#id));
    if (watches.size === 0) {
      addon().keepAlive(true);
    }
    watches.set(this.#id, this);
  }

  /** Calls once when there is something to read, or an end or error to be seen. */
  whenReadable(callback: () => void): void {
    this.#onReadable = callback;
    this.#want(this.#wanted | EPOLLIN);
  }

  /** Calls once when something can be written, or an error be seen. */
  whenWritable(callback: () => void): void {
    this.#onWritable = callback;
    this.#want(this.#wanted | EPOLLOUT);
  }

  /** Ends the watch; nothing is called any more. To be called before the descriptor is closed, and only once. */
  close(): void {
    watches.delete(this.#id);
    addon().watch(EPOLL_CTL_DEL, this.#descriptor, 0, this.#id);
    if (watches.size === 0) {
      addon().keepAlive(false);
    }
  }

  #want(events: number): void {
    this.#wanted = events;
    checked("epoll_ctl", addon().watch(EPOLL_CTL_MOD, this.#descriptor, events, this.#id));
  }

  #ready(events: number): void {
    // The kernel has disarmed it. An error or the end of the connection is for whoever waits.
    const ready = (events & (EPOLLERR | EPOLLHUP)) !== 0 ? EPOLLIN | EPOLLOUT : events;
    const told = this.#wanted & ready;
    const rest = this.#wanted & ~ready;
    this.#wanted = 0;
    if (rest !== 0) {
      this.#want(rest);
    }
    if ((told & EPOLLIN) !== 0) {
      this.#onReadable();
    }
    if ((told & EPOLLOUT) !== 0 && watches.has(this.#id)) {
      this.#onWritable();
    }
  }
}
