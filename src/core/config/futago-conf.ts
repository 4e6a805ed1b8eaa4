/**
 * futago.conf: what Futago has beyond DRBD, in the grammar of drbd.conf. `global` holds `metrics` and `web`; `common`
 * and `resource NAME` hold the rest, the resource's word before common's. Options of drbd.conf are refused here, and
 * these there.
 */
import type { Options } from "./effective.ts";
import type { Token } from "./lexer.ts";
import {
  drbdSections,
  type FutagoSectionName,
  futagoSections,
  type OptionRows,
  type SectionName,
  wordsOf,
} from "./options.ts";
import { parseValues } from "./parse-options.ts";
import { type Files, is, type Notes, type Parser, syntaxError } from "./parser.ts";
import { readFiles } from "./read-files.ts";
import { ConfigError, type ConfigWarning, type Position } from "./source.ts";
import type { OptionEntry } from "./tree.ts";
import { type Findings, resolveOptions } from "./values.ts";

type Written = { readonly [Section in FutagoSectionName]: OptionEntry[] };
type WrittenResource = Written & { readonly at: Position };

/**
 * What stands in futago.conf; `parseFutagoConfig` of a file that is not there is an error, so use `noFutagoConfig`
 * then.
 */
export interface FutagoTree {
  readonly global: Written;
  readonly common: Written;
  readonly resources: ReadonlyMap<string, WrittenResource>;
}

type ResourceSection = Exclude<FutagoSectionName, "metrics" | "web">;
type NodeSection = Extract<FutagoSectionName, "metrics" | "web">;

/** Every option has a value. */
export type FutagoResourceConfig = { readonly [Section in ResourceSection]: Options<(typeof futagoSections)[Section]> };
export type FutagoNodeConfig = { readonly [Section in NodeSection]: Options<(typeof futagoSections)[Section]> };

export type FutagoParseResult =
  | { readonly tree: FutagoTree; readonly warnings: readonly ConfigWarning[] }
  | { readonly errors: readonly ConfigError[] };

const nothing = (): Written => ({ resource: [], nbd: [], "verify-continuous": [], journal: [], metrics: [], web: [] });
export const noFutagoConfig: FutagoTree = { global: nothing(), common: nothing(), resources: new Map() };

export function parseFutagoConfig(files: Files, path: string): FutagoParseResult {
  const record: Notes = { errors: [], warnings: [], used: new Map() };
  const global = nothing();
  const common = nothing();
  const resources = new Map<string, WrittenResource>();
  readFiles(files, path, record, (parser, word) => {
    if (word !== "resource") {
      const { at } = parser.expect("{");
      parser.once(word, `the section '${word}'`, at);
      parseBody(parser, word, word === "global" ? global : common);
      return;
    }
    const name = parser.name("a resource name");
    parser.once(`resource ${name.text}`, `the resource name '${name.text}'`, name.at);
    parser.expect("{");
    const written = { ...nothing(), at: name.at };
    parseBody(parser, `resource ${name.text}`, written);
    resources.set(name.text, written);
  });
  if (record.errors.length > 0) return { errors: record.errors };
  return { tree: { global, common, resources }, warnings: record.warnings };
}

const nodeSections: readonly FutagoSectionName[] = ["metrics", "web"];

function parseBody(parser: Parser, where: string, written: Written): void {
  const sections = (Object.keys(futagoSections) as FutagoSectionName[]).filter(
    (section) => section !== "resource" && nodeSections.includes(section) === (where === "global"),
  );
  const direct: OptionRows = where === "global" ? {} : futagoSections.resource;
  for (;;) {
    const token = parser.next();
    if (is(token, "}")) return;
    const section = sections.find((name) => is(token, name));
    if (section !== undefined) {
      parser.once(`${where} ${section}`, `the section '${section}' in '${where}'`, token.at);
      parser.expect("{");
      parseSection(parser, section, written[section]);
    } else written.resource.push(parseEntry(parser, token, direct, [...sections, ...Object.keys(direct)], where));
  }
}

function parseSection(parser: Parser, section: FutagoSectionName, into: OptionEntry[]): void {
  const rows: OptionRows = futagoSections[section];
  for (;;) {
    const token = parser.next();
    if (is(token, "}")) return;
    into.push(parseEntry(parser, token, rows, Object.keys(rows), section));
  }
}

function parseEntry(
  parser: Parser,
  token: Token,
  rows: OptionRows,
  allowed: readonly string[],
  where: string,
): OptionEntry {
  const row = token.kind === "word" && Object.hasOwn(rows, token.text) ? rows[token.text] : undefined;
  if (row === undefined) throw unknownKey(token, allowed);
  const values = parseValues(parser, token.text, row);
  parser.expect(";");
  return { name: token.text, values, at: token.at, via: where };
}

function unknownKey(token: Token, allowed: readonly string[]): ConfigError {
  const drbd = Object.keys(drbdSections) as SectionName[];
  const isDrbd =
    token.kind === "word" && drbd.some((section) => section === token.text || wordsOf(section).has(token.text));
  if (!isDrbd) return syntaxError(token, [...allowed, "'}'"]);
  const detail = { at: token.at, allowed };
  return new ConfigError("syntax", `'${token.text}' belongs in drbd.conf`, detail);
}

/** The options of one resource, from its section, then `common`, then defaults. */
export function resolveFutagoResource(
  tree: FutagoTree,
  name: string,
): { readonly config: FutagoResourceConfig } | { readonly errors: readonly ConfigError[] } {
  const findings: Findings = { errors: [], warnings: [] };
  const own = tree.resources.get(name) ?? noFutagoConfig.common;
  const section = <S extends ResourceSection>(which: S): Options<(typeof futagoSections)[S]> =>
    resolveOptions(futagoSections[which], [own[which], tree.common[which]], "last", findings);
  const config: FutagoResourceConfig = {
    resource: section("resource"),
    nbd: section("nbd"),
    "verify-continuous": section("verify-continuous"),
    journal: section("journal"),
  };
  return findings.errors.length > 0 ? { errors: findings.errors } : { config };
}

/** The options of the node process. */
export function resolveFutagoNode(
  tree: FutagoTree,
): { readonly config: FutagoNodeConfig } | { readonly errors: readonly ConfigError[] } {
  const findings: Findings = { errors: [], warnings: [] };
  const config: FutagoNodeConfig = {
    metrics: resolveOptions(futagoSections.metrics, [tree.global.metrics], "last", findings),
    web: resolveOptions(futagoSections.web, [tree.global.web], "last", findings),
  };
  return findings.errors.length > 0 ? { errors: findings.errors } : { config };
}

/** Sections for resources that drbd.conf does not define (`known`): most likely misspelt. */
export function unknownFutagoResources(tree: FutagoTree, known: readonly string[]): ConfigError[] {
  const unknown = [...tree.resources].filter(([name]) => !known.includes(name));
  return unknown.map(
    ([name, { at }]) =>
      new ConfigError("invalid", `resource '${name}' is not defined in drbd.conf`, { at, found: name, allowed: known }),
  );
}
