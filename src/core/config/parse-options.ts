/**
 * Sections that hold options: `net { … }` and its like, and `syncer { … }`, whose options move to where they live
 * now.
 */
import type { Token } from "./lexer.ts";
import {
  drbdSections,
  futagoSections,
  ignoredOptions,
  type Lookup,
  type NumberRow,
  type OptionRow,
  type SectionName,
  showRange,
  wordsOf,
} from "./options.ts";
import { parseAddress } from "./parse-address.ts";
import { is, isName, type Parser, syntaxError } from "./parser.ts";
import { judgeNumber } from "./quantity.ts";
import { ConfigError, type Position } from "./source.ts";
import type { OptionEntry, Sections } from "./tree.ts";

/** Reads to the closing `}`, the opening one having been read. */
export function parseOptions(parser: Parser, section: SectionName, into: OptionEntry[], plugins?: string[][]): void {
  const words = wordsOf(section);
  for (;;) {
    const token = parser.next();
    if (is(token, "}")) return;
    if (plugins !== undefined && is(token, "plugin")) {
      parsePlugins(parser, plugins);
    } else if (token.kind === "word" && (ignoredOptions as readonly string[]).includes(token.text)) {
      optionValue(parser, token.text);
      parser.expect(";");
      parser.warn(`'${token.text}' has no effect any more`, token.at);
    } else {
      const lookup = token.kind === "word" ? words.get(token.text) : undefined;
      if (lookup === undefined) throw unknownOption(token, section, [...words.keys()]);
      into.push(parseEntry(parser, lookup, token, section));
    }
  }
}

/** `syncer { }` of 8.3: each option goes to the section that has it now (drbd-84 §10.3). */
export function parseSyncer(parser: Parser, sections: Sections): void {
  const words = wordsOf("syncer");
  for (;;) {
    const token = parser.next();
    if (is(token, "}")) return;
    const lookup = token.kind === "word" ? words.get(token.text) : undefined;
    if (lookup === undefined) throw unknownOption(token, "syncer", [...words.keys()]);
    sections[lookup.section].push(parseEntry(parser, lookup, token, "syncer"));
  }
}

function parseEntry(parser: Parser, lookup: Lookup, token: Token, via: string): OptionEntry {
  const { name, row } = lookup;
  const values = lookup.negated ? ["no"] : parseValues(parser, name, row, lookup.section === "proxy");
  parser.expect(";");
  return { name, values, at: token.at, via };
}

/**
 * The words between an option's name and its `;`, checked as far as drbdadm checks them when it reads
 * a file. `compression on` of a proxy is why keywords pass there.
 */
export function parseValues(parser: Parser, name: string, row: OptionRow, anyWord = false): string[] {
  if (row.kind === "flag") return [];
  if (row.kind === "boolean") {
    if (is(parser.peek(), ";")) return ["yes"];
    const token = parser.next();
    if (!is(token, "yes") && !is(token, "no")) throw syntaxError(token, ["yes", "no", "';'"]);
    return [token.text];
  }
  if (row.kind === "names") {
    const names = [parser.name("a node name").text];
    while (isName(parser.peek())) names.push(parser.next().text);
    return names;
  }
  if (row.kind === "addresses") {
    const { family, address, port } = parseAddress(parser, parser.peek().at);
    return [family, address, port];
  }
  const token = anyWord && parser.peek().kind === "word" ? parser.next() : optionValue(parser, name);
  if (row.kind === "number" && row.late === undefined) checkRange(parser, name, row, token.text, token.at);
  if (row.kind === "oneOf" && row.early) return [earlyValue(name, row.values, token)];
  return [token.text];
}

/** Throws what `parser.invalid` would only note: the rest of the file means nothing without it. */
function earlyValue(name: string, values: readonly string[], token: Token): string {
  const folded = token.text.toUpperCase();
  if (values.includes(folded)) return folded;
  throw new ConfigError("invalid", `${name} '${token.text}'`, { at: token.at, allowed: values });
}

function optionValue(parser: Parser, name: string): Token {
  const token = parser.next();
  if (isName(token) || token.kind === "integer") return token;
  if (token.kind === "mark" || token.kind === "end") throw syntaxError(token, [`a value for '${name}'`]);
  const hint = token.kind === "word" || token.kind.startsWith("ipv") ? " (put it in quotes)" : "";
  throw syntaxError(token, [`a value for '${name}'${hint}`]);
}

function checkRange(parser: Parser, name: string, row: NumberRow, text: string, at: Position): void {
  const judged = judgeNumber(name, row, text);
  if (typeof judged !== "number") parser.invalid(judged.refusal, { at, allowed: [showRange(row)] });
}

function parsePlugins(parser: Parser, plugins: string[][]): void {
  parser.expect("{");
  while (!parser.takes("}")) {
    const words = [];
    while (!parser.takes(";")) {
      const token = parser.next();
      if (!isName(token) && token.kind !== "integer" && token.kind !== "word") {
        throw syntaxError(token, ["a word", "';'"]);
      }
      words.push(token.text);
    }
    plugins.push(words);
  }
}

/** Names the section where a known but misplaced option belongs. */
export function unknownOption(token: Token, section: string, allowed: readonly string[]): ConfigError {
  const homes = [];
  if (is(token, "discard-my-data")) homes.push("the command 'connect'");
  if (token.kind === "word") {
    for (const other of [...Object.keys(drbdSections), "syncer"] as SectionName[]) {
      if (other !== section && wordsOf(other).has(token.text)) homes.push(`'${other}'`);
    }
    for (const [other, rows] of Object.entries(futagoSections)) {
      if (other === token.text || token.text in rows) homes.push("futago.conf");
    }
  }
  if (homes.length === 0) return syntaxError(token, [...allowed, "'}'"]);
  const text = `'${token.text}' does not belong in '${section}' but in ${[...new Set(homes)].join(" or ")}`;
  return new ConfigError("syntax", text, { at: token.at });
}
