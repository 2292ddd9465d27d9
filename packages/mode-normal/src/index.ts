/**
 * The migration mode `normal`.
 *
 * @example
 * ```ts
 * const inPlace = new NormalMode().keepsInPlace(backing.supports);
 * ```
 *
 * @packageDocumentation
 */
export { NormalMode } from "./normal-mode.ts";
