/** From written options to values: which of several counts, its type and unit, its default. */
import { bytes, deciseconds, ms, seconds, sector } from "../units.ts";
import { resolveAddress } from "./address.ts";
import type { Address, Options } from "./effective.ts";
import { utf8Bytes } from "./lexer.ts";
import { type NumberRow, type OptionRow, type OptionRows, type OptionUnit, showRange } from "./options.ts";
import { judgeNumber } from "./quantity.ts";
import { ConfigError, type ConfigWarning, showPosition } from "./source.ts";
import type { AddressFamily, OptionEntry } from "./tree.ts";

/** Complaints of one resolution. */
export interface Findings {
  readonly errors: ConfigError[];
  readonly warnings: ConfigWarning[];
}

/**
 * Which of two in one section counts: drbdadm passes `net` on whole and the last wins, but merges `disk` and keeps
 * the first.
 */
export type Precedence = "first" | "last";

/**
 * Values of one section from its written options, the strongest level first (host volume, resource, common …). Adds
 * an error for each value outside its row, and a warning where an option is written twice on one level.
 */
export function resolveOptions<Rows extends OptionRows>(
  rows: Rows,
  levels: readonly (readonly OptionEntry[])[],
  precedence: Precedence,
  findings: Findings,
): Options<Rows> {
  const values: Record<string, unknown> = {};
  const written = new Set<keyof Rows & string>();
  for (const [name, row] of Object.entries<OptionRow>(rows)) {
    const entry = strongest(name, levels, precedence);
    if (entry !== undefined) written.add(name);
    if (entry === undefined) values[name] = defaultOf(row);
    else if (row.kind === "addresses") values[name] = decodeAddresses(name, levels, findings);
    else values[name] = decode(row, entry, findings);
  }
  for (const level of levels) {
    warnTwice(
      level.filter((entry) => rows[entry.name]?.kind !== "addresses"),
      precedence,
      findings,
    );
  }
  return { values: values as Options<Rows>["values"], written };
}

export function strongest(
  name: string,
  levels: readonly (readonly OptionEntry[])[],
  precedence: Precedence,
): OptionEntry | undefined {
  for (const level of levels) {
    const isIt = (entry: OptionEntry): boolean => entry.name === name;
    const entry = precedence === "first" ? level.find(isIt) : level.findLast(isIt);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

function warnTwice(level: readonly OptionEntry[], precedence: Precedence, findings: Findings): void {
  const seen = new Map<string, OptionEntry>();
  for (const entry of level) {
    const before = seen.get(entry.name);
    if (before !== undefined) {
      const counts = precedence === "first" ? before : entry;
      const text = `'${entry.name}' is written twice, first at ${showPosition(before.at)}: '${counts.values.join(" ")}' counts`;
      if (findings.warnings.every((warning) => warning.text !== text)) findings.warnings.push({ at: entry.at, text });
    }
    seen.set(entry.name, entry);
  }
}

export function defaultOf(row: OptionRow): unknown {
  return row.kind === "number" ? inUnit(row.unit, row.byDefault) : row.byDefault;
}

function inUnit(unit: OptionUnit, value: number): number {
  switch (unit) {
    case "ds":
      return deciseconds(value);
    case "seconds":
      return seconds(value);
    case "ms":
      return ms(value);
    case "sectors":
      return sector(value);
    case "bytes":
      return bytes(value);
    case "count":
    case "pages":
    case "KiB/s":
      return value;
    default:
      return unit satisfies never;
  }
}

/** All of the strongest level that has any. */
function decodeAddresses(name: string, levels: readonly (readonly OptionEntry[])[], findings: Findings): Address[] {
  const level = levels.find((entries) => entries.some((entry) => entry.name === name)) ?? [];
  const found: Address[] = [];
  for (const { values, at } of level.filter((entry) => entry.name === name)) {
    const [family = "", address = "", port = ""] = values;
    const resolved = resolveAddress({ family: family as AddressFamily, address, port, at });
    if ("refusal" in resolved) findings.errors.push(new ConfigError("invalid", resolved.refusal, { at }));
    else found.push(resolved);
  }
  return found;
}

/** The default stands in for a value that is refused. */
function decode(row: Exclude<OptionRow, { kind: "addresses" }>, entry: OptionEntry, findings: Findings): unknown {
  const text = entry.values[0] ?? "";
  const refuse = (what: string, allowed: readonly string[]): unknown => {
    findings.errors.push(new ConfigError("invalid", what, { at: entry.at, found: text, allowed }));
    return defaultOf(row);
  };
  switch (row.kind) {
    case "number": {
      const judged = judgeNumber(entry.name, row, text);
      if (typeof judged === "number") return inUnit(row.unit, judged);
      return row.clamped ? clamp(row, entry, findings) : refuse(judged.refusal, [showRange(row)]);
    }
    case "boolean":
      return text === "yes";
    case "flag":
      return true;
    case "names":
      return entry.values;
    case "text":
      if (utf8Bytes(text) > row.maxLength) return refuse(`${entry.name} is longer than ${row.maxLength} bytes`, []);
      if (row.pattern?.test(text) === false)
        return refuse(`${entry.name} '${text}' has a character that is not allowed`, []);
      return text;
    case "oneOf": {
      const known = row.values.includes(text) || (row.prefix !== undefined && text.startsWith(row.prefix));
      const allowed = row.prefix === undefined ? row.values : [...row.values, `${row.prefix}NAME`];
      return known ? text : refuse(`${entry.name} '${text}'`, allowed);
    }
    default:
      return row satisfies never;
  }
}

function clamp(row: NumberRow, entry: OptionEntry, findings: Findings): unknown {
  const text = entry.values[0] ?? "";
  const judged = judgeNumber(entry.name, { ...row, min: 0, max: Number.MAX_SAFE_INTEGER }, text);
  if (typeof judged !== "number") {
    const detail = { at: entry.at, allowed: [showRange(row)] };
    findings.errors.push(new ConfigError("invalid", judged.refusal, detail));
    return defaultOf(row);
  }
  const value = Math.min(row.max, Math.max(row.min, judged));
  findings.warnings.push({ at: entry.at, text: `${entry.name} ${text} is out of range, ${value} is used` });
  return inUnit(row.unit, value);
}
