/** Looks at all configuration files together and tells what is risky or contradictory, in English and Japanese. */
import { LintFacts, type LintInput } from "./facts.ts";
import type { Finding, Hit, LintRule, LintRules, Severity } from "./rule.ts";
import { drbdRules } from "./rules-drbd.ts";
import { haCfRules } from "./rules-ha-cf.ts";
import { resourceRules } from "./rules-resources.ts";
import { safetyRules } from "./rules-safety.ts";

export const lintRules: LintRules = { ...safetyRules, ...haCfRules, ...resourceRules, ...drbdRules };

const order: Readonly<Record<Severity, number>> = { error: 0, warning: 1, hint: 2 };

/** Errors first; within one severity in the order of the rules and of the files. */
export function lint(input: LintInput): Finding[] {
  const facts = new LintFacts(input);
  const findings = Object.entries(lintRules).flatMap(([id, rule]) =>
    [...rule.find(facts)].map((hit) => finding(id, rule, hit)),
  );
  return findings.toSorted((a, b) => order[a.severity] - order[b.severity]);
}

function finding(id: string, { severity, en, ja, source }: LintRule, { at, values = {} }: Hit): Finding {
  const fill = (text: string): string =>
    text.replace(/\{(\w+)\}/g, (whole, name: string) => (Object.hasOwn(values, name) ? `${values[name]}` : whole));
  return { id, severity, at, en: fill(en), ja: fill(ja), source };
}
