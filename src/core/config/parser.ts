/**
 * What every part of the grammar shares: the cursor over one file's words, the record of what may stand only once,
 * and the complaints collected so far. A syntax error ends the parse (thrown, caught in `parseConfig`); a
 * contradiction is noted and the parse goes on, so that one run names all of them.
 */
import { Lexer, type Token } from "./lexer.ts";
import { keywords } from "./options.ts";
import { ConfigError, type ConfigErrorDetail, type ConfigWarning, type Position } from "./source.ts";

/** Where files come from; paths are the strings given to `parseConfig` and built from them. */
export interface Files {
  /** Undefined if there is no such file or it cannot be read. */
  readFile(path: string): string | undefined;
  /** Sorted paths that match a pattern with `*`, `?` or `[…]`. */
  glob(pattern: string): readonly string[];
}

/** Complaints and first uses, shared by a file and all that it includes. */
export interface Notes {
  readonly errors: ConfigError[];
  readonly warnings: ConfigWarning[];
  readonly used: Map<string, Position>;
}

export const showToken = (token: Token): string => (token.kind === "end" ? "end of file" : `'${token.text}'`);

/** Thrown by the parser, caught by `parseConfig`. */
export const syntaxError = (token: Token, allowed: readonly string[]): ConfigError =>
  new ConfigError("syntax", token.kind === "unterminated" ? unterminatedText : `found ${showToken(token)}`, {
    at: token.at,
    found: token.kind === "word" ? token.text : "",
    allowed,
  });
const unterminatedText = "quoted string without its closing quote on the same line";

/** A name: quoted, or a word without a meaning of its own. */
export const isName = (token: Token): boolean =>
  token.kind === "string" || (token.kind === "word" && !keywords.has(token.text));

export class Parser {
  readonly record: Notes;
  readonly #lexer: Lexer;

  constructor(text: string, file: string, record: Notes) {
    this.#lexer = new Lexer(text, file);
    this.record = record;
  }

  get file(): string {
    return this.#lexer.file;
  }

  next(): Token {
    return this.#lexer.next();
  }

  peek(): Token {
    return this.#lexer.peek();
  }

  skipBlock(): boolean {
    return this.#lexer.skipBlock();
  }

  /** Takes the next word if it is the given mark or unquoted word. */
  takes(text: string): boolean {
    if (!is(this.peek(), text)) return false;
    this.next();
    return true;
  }

  expect(text: string): Token {
    const token = this.next();
    if (!is(token, text)) throw syntaxError(token, [`'${text}'`]);
    return token;
  }

  name(what: string): Token {
    const token = this.next();
    if (!isName(token)) throw nameError(token, what);
    return token;
  }

  /** A number without a suffix: a minor, volume, port or index. */
  plainNumber(what: string): Token {
    const token = this.next();
    if (token.kind !== "integer" || !/^\d+$/.test(token.text)) throw syntaxError(token, [what]);
    return token;
  }

  /** Notes a contradiction and goes on. */
  invalid(what: string, detail: ConfigErrorDetail): void {
    this.record.errors.push(new ConfigError("invalid", what, detail));
  }

  /** `key` may be used once in all files; `what` is how the operator knows it. */
  once(key: string, what: string, at: Position): void {
    const first = this.record.used.get(key);
    if (first === undefined) this.record.used.set(key, at);
    else this.invalid(`${what} is used twice`, { at, first });
  }

  warn(text: string, at: Position): void {
    this.record.warnings.push({ text, at });
  }
}

export const is = (token: Token, text: string): boolean =>
  (token.kind === "mark" || token.kind === "word") && token.text === text;

function nameError(token: Token, what: string): ConfigError {
  if (token.kind !== "word") return syntaxError(token, [what]);
  const text = `'${token.text}' is a keyword: put it in quotes to use it as ${what}`;
  return new ConfigError("syntax", text, { at: token.at });
}
