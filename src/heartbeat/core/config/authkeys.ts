/** Reads authkeys (heartbeat §14): which key signs, and which ones are accepted. */
import type { ConfigError, ConfigWarning, Position } from "../../../core/config/source.ts";
import { Findings } from "./findings.ts";
import { parseCount } from "./quantities.ts";
import { MAX_FILE, MAX_LINE, oddCharacter, splitLines, splitWords, type Word } from "./words.ts";

/** `needsKey`: crc only detects errors and takes none. */
export const authMethods = {
  crc: { needsKey: false },
  md5: { needsKey: true },
  sha1: { needsKey: true },
} as const;
export type AuthMethod = keyof typeof authMethods;

/** Highest number of an entry. */
export const MAX_AUTH_NUMBER = 15;

export interface AuthKey {
  /** 0..15. */
  readonly number: number;
  readonly method: AuthMethod;
  /** One word as written; empty for crc. */
  readonly key: string;
  readonly at: Position;
}

export interface AuthKeys {
  readonly file: string;
  /** The entry that signs; one of `keys`. */
  readonly signing: AuthKey;
  readonly keys: ReadonlyMap<number, AuthKey>;
}

export type AuthKeysResult =
  | { readonly authKeys: AuthKeys; readonly warnings: readonly ConfigWarning[] }
  | { readonly errors: readonly ConfigError[] };

/**
 * `mode` is that of the file, with or without the bits of its type: refused unless nobody but the owner can do
 * anything with it (0600 or less).
 */
export function parseAuthKeys(text: string, file: string, mode: number): AuthKeysResult {
  const findings = new Findings();
  const at = { file, line: 1, column: 1 };
  const bits = mode % 0o1000;
  if (bits % 0o100 !== 0) {
    const found = `0${bits.toString(8).padStart(3, "0")}`;
    findings.refuse(`bad permissions ${found}: others may read or change the keys`, { at, allowed: ["0600", "0400"] });
  }
  const reader = new AuthKeysReader(findings, file);
  if (text.length > MAX_FILE) findings.syntax(`larger than ${MAX_FILE} characters`, { at });
  else for (const [index, line] of splitLines(text).entries()) reader.line(line, index + 1);
  const signing = reader.signing();
  if (findings.errors.length > 0 || signing === undefined) return { errors: findings.errors };
  return { authKeys: { file, signing, keys: reader.keys }, warnings: findings.warnings };
}

class AuthKeysReader {
  readonly keys = new Map<number, AuthKey>();
  readonly #findings: Findings;
  readonly #file: string;
  #auth: { readonly number: number; readonly at: Position } | undefined;

  constructor(findings: Findings, file: string) {
    this.#findings = findings;
    this.#file = file;
  }

  line(line: string, number: number): void {
    const words = splitWords(line, " \t", this.#file, number);
    const [first] = words;
    // A `#` further on belongs to the key.
    if (first === undefined || first.text.startsWith("#")) return;
    const odd = oddCharacter(line, this.#file, number);
    if (odd !== undefined) return this.#findings.syntax(odd.text, { at: odd.at });
    if (line.length > MAX_LINE) {
      return this.#findings.syntax(`a line longer than ${MAX_LINE} characters`, { at: first.at });
    }
    if (first.text === "auth") this.#authLine(first, words[1]);
    else if (/^[+-]?\d/.test(first.text)) this.#entry(first, words);
    else
      this.#findings.syntax(`'${first.text}' starts no line`, {
        at: first.at,
        found: first.text,
        allowed: ["auth N", "N METHOD [KEY]"],
      });
  }

  #authLine(word: Word, value: Word | undefined): void {
    if (value === undefined) return this.#findings.syntax("'auth' without a number", { at: word.at });
    const number = this.#number(value);
    if (number === undefined) return;
    if (this.#auth !== undefined) {
      return this.#findings.refuse("a second 'auth' line: one entry signs", { at: word.at, first: this.#auth.at });
    }
    const entry = this.keys.get(number);
    if (entry !== undefined) {
      const text = `'auth ${number}' must stand before its entry, or heartbeat does not find it`;
      return this.#findings.refuse(text, { at: word.at, first: entry.at });
    }
    this.#auth = { number, at: value.at };
  }

  #entry(first: Word, words: readonly Word[]): void {
    const [, methodWord, keyWord, surplus] = words;
    const number = this.#number(first);
    const allowed = Object.keys(authMethods);
    if (methodWord === undefined)
      return this.#findings.syntax(`entry ${first.text} without a method`, { at: first.at, allowed });
    const { text } = methodWord;
    if (!isMethod(text)) {
      return this.#findings.refuse(`unknown method '${text}'`, { at: methodWord.at, found: text, allowed });
    }
    const { needsKey } = authMethods[text];
    if (needsKey && keyWord === undefined) {
      return this.#findings.refuse(`${text} needs a key`, {
        at: methodWord.at,
        allowed: [`${first.text} ${text} KEY`],
      });
    }
    if (!needsKey && keyWord !== undefined) {
      return this.#findings.refuse(`${text} takes no key (a comment needs a line of its own)`, { at: keyWord.at });
    }
    if (surplus !== undefined) {
      this.#findings.warn("a key is one word: what follows has no effect, as with heartbeat", surplus.at);
    }
    if (number === undefined) return;
    const before = this.keys.get(number);
    if (before !== undefined) {
      return this.#findings.refuse(`entry ${number} is written twice`, { at: first.at, first: before.at });
    }
    this.keys.set(number, { number, method: text, key: keyWord?.text ?? "", at: first.at });
  }

  #number({ text, at }: Word): number | undefined {
    const detail = { at, found: text, allowed: [`0..${MAX_AUTH_NUMBER}`] };
    return parseCount(text, 0, MAX_AUTH_NUMBER) ?? this.#findings.refuse(`number '${text}' is out of range`, detail);
  }

  signing(): AuthKey | undefined {
    const at = { file: this.#file, line: 1, column: 1 };
    if (this.#auth === undefined) {
      // Only where nothing else was wrong: a refused line may have been the one.
      if (this.#findings.errors.length > 0) return undefined;
      return this.#findings.refuse("no 'auth N' line: no entry signs", { at });
    }
    const key = this.keys.get(this.#auth.number);
    if (key !== undefined || this.#findings.errors.length > 0) return key;
    const allowed = [...this.keys.keys()].map(String);
    return this.#findings.refuse(`entry ${this.#auth.number} is missing`, { at: this.#auth.at, allowed });
  }
}

const isMethod = (text: string): text is AuthMethod => Object.hasOwn(authMethods, text);
