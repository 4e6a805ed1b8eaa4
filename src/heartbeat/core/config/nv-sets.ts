/** Sets of nvpairs: which pair counts, and options with values from them. */
import type { Position } from "../../../core/config/source.ts";
import type { CibForm, CibOptions, NvPair, NvSet, Parameters } from "./cib.ts";
import { type CibOption, type CibOptionRows, type OptionValues, presentName } from "./cib-options.ts";
import type { Findings } from "./findings.ts";
import { booleanWords, cibTimeForms, parseBoolean, parseCibTime, parseCount, parseScore } from "./quantities.ts";

export const noParameters: Parameters = { sets: [], pairs: new Map() };

/** The sets in the order in which they count. */
const byScore = (sets: readonly NvSet[]): NvSet[] => sets.toSorted((a, b) => b.score - a.score);

export function parametersOf(sets: readonly NvSet[]): Parameters {
  const pairs = new Map<string, NvPair>();
  for (const set of byScore(sets)) for (const pair of set.pairs) if (!pairs.has(pair.name)) pairs.set(pair.name, pair);
  return { sets, pairs };
}

/**
 * Every row of `rows` with its value. A pair whose value is wrong is refused; one of no row is told of under `what`
 * and kept in its set.
 */
export function optionsOf<Rows extends CibOptionRows>(
  rows: Rows,
  sets: readonly NvSet[],
  what: string,
  form: CibForm,
  findings: Findings,
): CibOptions<OptionValues<Rows>> {
  const written = new Map<keyof Rows & string, NvPair>();
  const values: Record<string, unknown> = {};
  for (const [name, row] of Object.entries(rows)) {
    values[name] = form === "pacemaker" ? (row.inPacemaker ?? row.byDefault) : row.byDefault;
  }
  for (const set of byScore(sets)) {
    for (const pair of set.pairs) {
      const name = presentName(rows, pair.name);
      const row = name === undefined ? undefined : rows[name];
      if (name === undefined || row === undefined) {
        findings.unknown(`unknown ${what} '${pair.name}' has no effect`, pair.at, pair.name, Object.keys(rows));
      } else if (!written.has(name)) {
        written.set(name, pair);
        const value = judgeOption(pair, row, findings);
        if (value !== undefined) values[name] = value;
      }
    }
  }
  return { values: values as OptionValues<Rows>, written, sets };
}

/** undefined after a refusal, and for a value that stands for the default. */
function judgeOption({ name, value, at }: NvPair, row: CibOption, findings: Findings): unknown {
  const text = value.trim();
  if (text === "#default" || text === "") return undefined;
  const refuse = (what: string, allowed: readonly string[]): undefined =>
    findings.refuse(`${name} '${text}' ${what}`, { at, found: text, allowed });
  switch (row.kind) {
    case "boolean":
      return parseBoolean(text) ?? refuse("is not a boolean", booleanWords);
    case "oneOf": {
      const word = roleAliases.get(text.toLowerCase()) ?? text.toLowerCase();
      const found = row.values.find((each) => each.toLowerCase() === word.toLowerCase());
      return found ?? refuse("is not one of its values", row.values);
    }
    case "score":
      return parseScore(text) ?? refuse("is not a score", scoreForms);
    case "count": {
      const infinite = /^\+?INFINITY$/i.test(text) ? row.max : undefined;
      return infinite ?? parseCount(text, row.min, row.max) ?? refuse("is out of range", [`${row.min}..${row.max}`]);
    }
    case "time":
      return parseCibTime(text) ?? refuse("is not a duration", cibTimeForms);
    case "text":
      return value;
    default:
      return row satisfies never;
  }
}

export const scoreForms = ["INTEGER", "INFINITY", "-INFINITY"] as const;

/** Names of Pacemaker 2.1 and later. */
export const roleAliases: ReadonlyMap<string, string> = new Map([
  ["promoted", "Master"],
  ["unpromoted", "Slave"],
]);

/** A set as if it had been written, for values that stand elsewhere. */
export function nvSet(id: string, pairs: readonly (readonly [string, string])[], at: Position): NvSet {
  return { id, score: 0, pairs: pairs.map(([name, value]) => ({ id: `${id}-${name}`, name, value, at })) };
}
