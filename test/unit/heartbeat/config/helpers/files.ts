/** The vectors of test/vectors/heartbeat-config, and parsers that fail the test where a file is refused. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ConfigError } from "../../../../../src/core/config/source.ts";
import type { AuthKeys } from "../../../../../src/heartbeat/core/config/authkeys.ts";
import { parseAuthKeys } from "../../../../../src/heartbeat/core/config/authkeys.ts";
import type { Cib } from "../../../../../src/heartbeat/core/config/cib.ts";
import type { HaCf } from "../../../../../src/heartbeat/core/config/ha-cf.ts";
import { type HaResources, parseHaResources } from "../../../../../src/heartbeat/core/config/haresources.ts";
import { parseCib } from "../../../../../src/heartbeat/core/config/parse-cib.ts";
import { type HaCfChoices, parseHaCf } from "../../../../../src/heartbeat/core/config/parse-ha-cf.ts";

const folder = new URL("../../../../vectors/heartbeat-config/", import.meta.url);

export const vector = (name: string): string => readFileSync(fileURLToPath(new URL(name, folder)), "utf8");

export const HOST01 = "host01.xxxx.xxxx.nagoya-u.ac.jp";
export const HOST02 = "host02.xxxx.xxxx.nagoya-u.ac.jp";

/** Lines that make any ha.cf complete. */
export const enough = "bcast eth1\nnode host01 host02\n";

function accepted<Result extends object>(result: Result | { readonly errors: readonly ConfigError[] }): Result {
  if ("errors" in result) throw result.errors[0] ?? new Error("refused without an error");
  return result as Result;
}

export const haCf = (text: string, choices?: HaCfChoices): { haCf: HaCf; warnings: string[] } => {
  const found = accepted(parseHaCf(text, "ha.cf", choices));
  return { haCf: found.haCf, warnings: found.warnings.map(showWarning) };
};
export const authKeys = (text: string, mode = 0o600): { authKeys: AuthKeys; warnings: string[] } => {
  const found = accepted(parseAuthKeys(text, "authkeys", mode));
  return { authKeys: found.authKeys, warnings: found.warnings.map(showWarning) };
};
export const haResources = (text: string, nodes?: string[]): { haResources: HaResources; warnings: string[] } => {
  const found = accepted(parseHaResources(text, "haresources", nodes));
  return { haResources: found.haResources, warnings: found.warnings.map(showWarning) };
};
export const cib = (text: string): { cib: Cib; warnings: string[] } => {
  const found = accepted(parseCib(text, "cib.xml"));
  return { cib: found.cib, warnings: found.warnings.map(showWarning) };
};

const showWarning = ({ at, text }: { at: { line: number; column: number }; text: string }): string =>
  `${at.line}:${at.column}: ${text}`;

/** Messages of a refusal; none where it is accepted. */
export const messages = (result: object): string[] =>
  "errors" in result ? (result.errors as readonly ConfigError[]).map((error) => error.message) : [];

/** A configuration of `resources` and `constraints`, in either form. */
export const cibOf = (resources: string, constraints = "", options = ""): string =>
  `<cib><configuration><crm_config>${options}</crm_config><nodes/><resources>${resources}</resources>` +
  `<constraints>${constraints}</constraints></configuration><status/></cib>`;

/** Without places, to compare what two files say. */
export function withoutPlaces(value: unknown): unknown {
  if (value instanceof Map) return new Map([...value].map(([key, inner]) => [key, withoutPlaces(inner)]));
  if (Array.isArray(value)) return value.map(withoutPlaces);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== "at" && key !== "file");
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutPlaces(inner)]));
}
