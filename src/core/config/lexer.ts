/**
 * Words of drbd.conf (drbd-84 §10.1). Among the patterns that match at a place the longest wins; of equally long ones
 * an integer or address wins over a plain word. What matches nothing becomes a one-character token `other`, so that
 * the grammar can name it with its position.
 */
import { ConfigError, type Position } from "./source.ts";

export type TokenKind = "mark" | "word" | "string" | "integer" | "ipv4" | "ipv6" | "other" | "unterminated" | "end";

export interface Token {
  readonly kind: TokenKind;
  /** The text, of a quoted string without its quotes and escapes; empty at the end. */
  readonly text: string;
  readonly at: Position;
}

export const MAX_WORD = 128;
/** Bytes of UTF-8 between the quotes; an escaped character counts as its own length. */
export const MAX_STRING = 255;

const integer = /\d{1,8}[MKGs]?/y;
const ipv4 = /(?:\d{1,3}\.){3}\d{1,3}/y;
const word = /[a-zA-Z0-9/._-]+/y;
const ipv6 =
  /(?:(?:[\da-fA-F]{1,4}:){0,5}[\da-fA-F]{1,4})?:(?:[\da-fA-F]{1,4})?:(?:[\da-fA-F]{1,4}(?::[\da-fA-F]{1,4}){0,5})?(?:%[a-zA-Z0-9/._-]+)?/y;
const mappedIpv4 = /::[fF]{4}:(?:\d{1,3}\.){3}\d{1,3}/y;
const quoted = /"((?:[^"\\\n]|\\[^\n])*)"/y;
const unterminated = /"(?:[^"\\\n]|\\[^\n])*\\?/y;
const blank = /(?:[ \t\r]|#[^\n]*)+/y;

const utf8Length = (code: number): number => (code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);

/** Length in bytes of `text` as UTF-8. */
export function utf8Bytes(text: string): number {
  let length = 0;
  for (const character of text) length += utf8Length(character.codePointAt(0) ?? 0);
  return length;
}

export class Lexer {
  readonly file: string;
  readonly #text: string;
  #offset = 0;
  #line = 1;
  #lineStart = 0;
  #peeked: Token | undefined;
  /** Inside `skip { }` anything goes: lengths are not judged. */
  #lenient = false;

  constructor(text: string, file: string) {
    this.#text = text;
    this.file = file;
  }

  peek(): Token {
    this.#peeked ??= this.#read();
    return this.#peeked;
  }

  next(): Token {
    const token = this.#peeked ?? this.#read();
    this.#peeked = undefined;
    return token;
  }

  /** Reads to the `}` that matches a `{` just read. False if the file ends first. */
  skipBlock(): boolean {
    this.#lenient = true;
    for (let depth = 1; depth > 0; ) {
      const { kind, text } = this.next();
      if (kind === "end") return false;
      if (kind === "mark" && text === "{") depth++;
      if (kind === "mark" && text === "}") depth--;
    }
    this.#lenient = false;
    return true;
  }

  /** Throws a ConfigError where a word or string is longer than allowed. */
  #read(): Token {
    this.#skipBlank();
    const at = { file: this.file, line: this.#line, column: this.#offset - this.#lineStart + 1 };
    const character = this.#text[this.#offset];
    if (character === undefined) return { kind: "end", text: "", at };
    if ("{};[]".includes(character)) return this.#take("mark", character, at);
    if (character === '"') return this.#readQuoted(at);
    const plain = this.#match(word);
    if (plain.length > MAX_WORD && !this.#lenient) {
      throw new ConfigError("syntax", `word longer than ${MAX_WORD} characters: '${plain.slice(0, 20)}…'`, { at });
    }
    let kind: TokenKind = "word";
    let text = plain;
    for (const [candidate, pattern] of numeric) {
      const match = this.#match(pattern);
      if (match.length > text.length || (match.length === text.length && match !== "" && kind === "word")) {
        kind = candidate;
        text = match;
      }
    }
    if (text !== "") return this.#take(kind, text, at);
    if (character === ":") return this.#take("mark", character, at);
    return this.#take("other", String.fromCodePoint(this.#text.codePointAt(this.#offset) ?? 0), at);
  }

  #readQuoted(at: Position): Token {
    const whole = this.#match(quoted);
    if (whole === "") return this.#take("unterminated", this.#match(unterminated), at);
    const inner = whole.slice(1, -1).replace(/\\([\s\S])/gu, "$1");
    this.#offset += whole.length;
    if (this.#lenient) return { kind: "string", text: "", at };
    if (utf8Bytes(inner) > MAX_STRING) {
      throw new ConfigError("syntax", `quoted string longer than ${MAX_STRING} bytes: "${inner.slice(0, 20)}…"`, {
        at,
      });
    }
    if (inner.includes("\0")) throw new ConfigError("syntax", "quoted string contains a zero byte", { at });
    return { kind: "string", text: inner, at };
  }

  #skipBlank(): void {
    for (;;) {
      this.#offset += this.#match(blank).length;
      if (this.#text[this.#offset] !== "\n") return;
      this.#offset++;
      this.#line++;
      this.#lineStart = this.#offset;
    }
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#offset;
    return pattern.exec(this.#text)?.[0] ?? "";
  }

  #take(kind: TokenKind, text: string, at: Position): Token {
    this.#offset += text.length;
    return { kind, text, at };
  }
}

const numeric: readonly (readonly [TokenKind, RegExp])[] = [
  ["integer", integer],
  ["ipv4", ipv4],
  ["ipv6", ipv6],
  ["ipv6", mappedIpv4],
];
