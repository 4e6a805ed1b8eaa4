/** The form of a lint rule: one row says what is wrong, in two languages, how bad it is, how it is found, and why. */
import type { Position } from "../../../core/config/source.ts";
import type { LintFacts } from "./facts.ts";

/**
 * `error`: it will not work, or two nodes will write at once. `warning`: it works until the day it is needed. `hint`:
 * worth knowing.
 */
export type Severity = "error" | "warning" | "hint";

export interface Hit {
  readonly at: Position;
  /** Replaces `{name}` in the texts. */
  readonly values?: Readonly<Record<string, string | number>>;
}

export interface LintRule {
  readonly severity: Severity;
  readonly en: string;
  readonly ja: string;
  /** Where the rule comes from: the report, heartbeat's reference, DRBD's. */
  readonly source: string;
  readonly find: (facts: LintFacts) => Iterable<Hit>;
}

export type LintRules = Readonly<Record<string, LintRule>>;

export interface Finding {
  readonly id: string;
  readonly severity: Severity;
  readonly at: Position;
  readonly en: string;
  readonly ja: string;
  readonly source: string;
}

/** One hit if `condition` holds. */
export function when(
  condition: boolean,
  at: Position,
  values: Readonly<Record<string, string | number>> = {},
): readonly Hit[] {
  return condition ? [{ at, values }] : [];
}
