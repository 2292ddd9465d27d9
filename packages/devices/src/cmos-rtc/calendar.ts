import { afternoon, register, registerB } from "./registers.ts";

/** How the registers of the time are coded: register B's bits. */
export type Coding = number;

function encode(value: number, coding: Coding): number {
  return (coding & registerB.binary) !== 0 ? value : Math.floor(value / 10) * 16 + (value % 10);
}

function decode(value: number, coding: Coding): number {
  return (coding & registerB.binary) !== 0 ? value : (value >> 4) * 10 + (value & 0xf);
}

function encodeHours(hours: number, coding: Coding): number {
  if ((coding & registerB.twentyFourHours) !== 0) {
    return encode(hours, coding);
  }
  return encode(hours % 12 === 0 ? 12 : hours % 12, coding) | (hours >= 12 ? afternoon : 0);
}

/** Hours from 0 to 23. */
export function decodeHours(value: number, coding: Coding): number {
  if ((coding & registerB.twentyFourHours) !== 0) {
    return decode(value, coding);
  }
  return (decode(value & ~afternoon, coding) % 12) + ((value & afternoon) === 0 ? 0 : 12);
}

/** Decodes a field of minutes or seconds. */
export function decodeField(value: number, coding: Coding): number {
  return decode(value, coding);
}

/** Writes a time, in seconds since 1970 UTC, into the registers of the time. */
export function writeTime(memory: Uint8Array, seconds: number, coding: Coding): void {
  const date = new Date(seconds * 1000);
  memory[register.seconds] = encode(date.getUTCSeconds(), coding);
  memory[register.minutes] = encode(date.getUTCMinutes(), coding);
  memory[register.hours] = encodeHours(date.getUTCHours(), coding);
  memory[register.dayOfWeek] = encode(date.getUTCDay() + 1, coding);
  memory[register.dayOfMonth] = encode(date.getUTCDate(), coding);
  memory[register.month] = encode(date.getUTCMonth() + 1, coding);
  memory[register.year] = encode(date.getUTCFullYear() % 100, coding);
  memory[register.century] = encode(Math.floor(date.getUTCFullYear() / 100), coding);
}

/** Reads the time, in seconds since 1970 UTC, out of the registers of the time. */
export function readTime(memory: Uint8Array, coding: Coding): number {
  const field = (index: number): number => decode(memory[index] ?? 0, coding);
  const year = field(register.century) * 100 + field(register.year);
  const date = new Date(0);
  date.setUTCFullYear(year, field(register.month) - 1, field(register.dayOfMonth));
  date.setUTCHours(
    decodeHours(memory[register.hours] ?? 0, coding),
    field(register.minutes),
    field(register.seconds),
    0,
  );
  return Math.floor(date.getTime() / 1000);
}
