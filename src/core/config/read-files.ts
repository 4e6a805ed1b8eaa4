/** The top level that drbd.conf and futago.conf share: sections, `skip` and `include` (drbd-84 §10.1). */
import { type Files, is, isName, type Notes, Parser, syntaxError } from "./parser.ts";
import { ConfigError } from "./source.ts";

const topWords = ["global", "common", "resource"] as const;
export type TopWord = (typeof topWords)[number];

/** Includes nest at most this deep; a file is read once, so that only very many files get here. */
const MAX_DEPTH = 64;

/**
 * Reads `path` and what it includes; `parseSection` is called behind each of the three words. A syntax error ends the
 * reading and is added to `record.errors`.
 */
export function readFiles(
  files: Files,
  path: string,
  record: Notes,
  parseSection: (parser: Parser, word: TopWord) => void,
): void {
  const read = new Set<string>();

  function readFile(file: string, missing: ConfigError, depth: number): void {
    if (read.has(file)) return;
    const text = files.readFile(file);
    if (text === undefined) throw missing;
    read.add(file);
    const parser = new Parser(text, file, record);
    while (parser.peek().kind !== "end") parseTop(parser, depth);
  }

  function parseTop(parser: Parser, depth: number): void {
    const token = parser.next();
    const section = token.kind === "word" ? topWords.find((word) => word === token.text) : undefined;
    if (section !== undefined) parseSection(parser, section);
    else if (is(token, "skip")) parseSkip(parser);
    else if (is(token, "include")) parseInclude(parser, depth);
    else throw syntaxError(token, [...topWords, "skip", "include"]);
  }

  /** A pattern without wildcards names a file that must be there. */
  function parseInclude(parser: Parser, depth: number): void {
    const { text, at } = parser.name("a file name or pattern");
    parser.expect(";");
    const missing = new ConfigError("invalid", `cannot read the included file '${text}'`, { at });
    if (text === "") throw missing;
    if (depth >= MAX_DEPTH) throw new ConfigError("invalid", `includes nest deeper than ${MAX_DEPTH} files`, { at });
    const target = relativeTo(parser.file, text);
    const targets = /[*?[]/.test(text) ? files.glob(target) : [target];
    for (const each of targets) readFile(normalize(each), missing, depth + 1);
  }

  try {
    const at = { file: path, line: 1, column: 1 };
    readFile(path, new ConfigError("invalid", "the file cannot be read", { at }), 0);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    record.errors.push(error);
  }
}

function parseSkip(parser: Parser): void {
  if (isName(parser.peek())) parser.next();
  else if (!is(parser.peek(), "{")) throw syntaxError(parser.next(), ["'{'", "a name and '{'"]);
  const { at } = parser.expect("{");
  if (parser.skipBlock()) return;
  throw new ConfigError("syntax", "this skip block is not closed before the end of the file", { at });
}

function relativeTo(file: string, path: string): string {
  if (path.startsWith("/")) return normalize(path);
  return normalize(file.slice(0, file.lastIndexOf("/") + 1) + path);
}

/** Removes `.` and `..` so that a file reached by two paths is read once. */
function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === ".." && parts.length > 0 && parts.at(-1) !== ".." && parts.at(-1) !== "") parts.pop();
    else if (part !== "." && (part !== "" || parts.length === 0)) parts.push(part);
  }
  return parts.join("/");
}
