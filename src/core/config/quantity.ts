/**
 * Numbers of drbd.conf: digits with an optional K, M, G (powers of 1024, either case) or s (sectors of 512 bytes).
 * Without a suffix a number is in the option's own unit (drbd-84 §10.1).
 */

import { type NumberRow, type UnitFactor, unitFactor } from "./options.ts";

const suffixes: Readonly<Record<string, number>> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3, s: 512 };

/**
 * The value in the option's own unit, or undefined if `text` is not a number. Rounds up where a suffixed number is
 * not a whole multiple, as DRBD's tools do (`resync-rate 1s` is 1 KiB/s). Exact below 2^53, which every range stays
 * under.
 */
export function parseQuantity(text: string, factor: UnitFactor): number | undefined {
  const match = /^\s*\+?(-?\d{1,18})([kKmMgGs]?)$/.exec(text);
  if (match === null) return undefined;
  const digits = Number(match[1]);
  const suffix = match[2] ?? "";
  if (suffix === "") return digits;
  return Math.ceil((digits * (suffixes[suffix.toLowerCase()] ?? 1)) / factor);
}

/** The number in the option's unit, if `text` is one within the range of `row`; else the refusal's words. */
export function judgeNumber(name: string, row: NumberRow, text: string): number | { readonly refusal: string } {
  const value = parseQuantity(text, unitFactor(row.unit));
  if (value === undefined) return { refusal: `${name} '${text}' is not a number` };
  if (value >= row.min && value <= row.max) return value;
  return { refusal: `${name} ${text}${`${value}` === text ? "" : ` (${value})`} is out of range` };
}
