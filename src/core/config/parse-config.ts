/** Reads drbd.conf and what it includes: the file's top level (drbd-84 §10.1, §10.2). */

import { globalOptions, type OptionRow } from "./options.ts";
import { parseValues, unknownOption } from "./parse-options.ts";
import { parseResource } from "./parse-resource.ts";
import { type Files, is, type Notes, type Parser, syntaxError } from "./parser.ts";
import { readFiles, type TopWord } from "./read-files.ts";
import { ConfigError, type ConfigWarning } from "./source.ts";
import type { ConfigTree, OptionEntry, ResourceNode } from "./tree.ts";
import { checkStacked } from "./volumes.ts";

export type { Files } from "./parser.ts";

export type ParseResult =
  | { readonly tree: ConfigTree; readonly warnings: readonly ConfigWarning[] }
  | { readonly errors: readonly ConfigError[] };

/**
 * Reads `path`, which should be absolute: it appears in messages and in the dump. Grammar, single use (sections, names,
 * addresses, minors, meta-disks), volume sets and the ranges that drbdadm checks are checked here, enumerations and
 * cross checks in `resolve`. A syntax error comes alone or after contradictions found before it.
 */
export function parseConfig(files: Files, path: string): ParseResult {
  const record: Notes = { errors: [], warnings: [], used: new Map() };
  const sections = new Sections();
  readFiles(files, path, record, (parser, word) => sections.parse(parser, word));
  if (record.errors.length === 0) checkStacked(record, sections.resources);
  if (record.errors.length > 0) return { errors: record.errors };
  const { global, common, resources } = sections;
  const tree = { file: path, global, common, resources };
  return { tree, warnings: record.warnings };
}

class Sections {
  readonly global: OptionEntry[] = [];
  readonly resources: ResourceNode[] = [];
  common: ResourceNode | undefined;

  parse(parser: Parser, word: TopWord): void {
    if (word === "global") this.#parseGlobal(parser);
    else if (word === "common") this.#parseCommon(parser);
    else this.resources.push(parseNamedResource(parser));
  }

  #parseGlobal(parser: Parser): void {
    const { at } = parser.expect("{");
    parser.once("global", "the section 'global'", at);
    if (this.resources.length > 0) parser.warn("the section 'global' should stand before all resources", at);
    for (;;) {
      const token = parser.next();
      if (is(token, "}")) return;
      const row = token.kind === "word" ? globalRow(token.text) : undefined;
      if (row === undefined) throw unknownOption(token, "global", Object.keys(globalOptions));
      const values = parseGlobalValue(parser, token.text, row);
      parser.expect(";");
      this.global.push({ name: token.text, values, at: token.at, via: "global" });
    }
  }

  #parseCommon(parser: Parser): void {
    const { at } = parser.expect("{");
    parser.once("resource common", "the section 'common'", at);
    this.common = parseResource(parser, "common", at);
    const host = this.common.hosts[0];
    if (host !== undefined) parser.invalid("the section 'common' cannot hold host sections", { at: host.at });
  }
}

function globalRow(name: string): OptionRow | undefined {
  return Object.hasOwn(globalOptions, name) ? globalOptions[name as keyof typeof globalOptions] : undefined;
}

function parseGlobalValue(parser: Parser, name: string, row: OptionRow): string[] {
  if (row.kind !== "oneOf") {
    if (row.kind === "number" && parser.peek().kind !== "integer") {
      throw syntaxError(parser.next(), [`a number for '${name}'`]);
    }
    return parseValues(parser, name, row);
  }
  const token = parser.next();
  if (token.kind !== "word" || !row.values.includes(token.text)) throw syntaxError(token, row.values);
  return [token.text];
}

function parseNamedResource(parser: Parser): ResourceNode {
  const token = parser.name("a resource name");
  if (token.text === "") throw new ConfigError("invalid", "a resource without a name", { at: token.at });
  const { at } = parser.expect("{");
  parser.once(`resource ${token.text}`, `the resource name '${token.text}'`, token.at);
  return parseResource(parser, token.text, at);
}
