/** Reads the text form of metadata that `dump-md` writes, for `restore-md` (drbd-84 §9.7). Comments start with `#`. */
import { type Sector, sector } from "../units.ts";

/** A run of equal words of a dumped bitmap; the value as its two halves. */
export interface WordRun {
  readonly count: number;
  readonly low: number;
  readonly high: number;
}

export interface Dump {
  readonly current: bigint;
  readonly bitmap: bigint;
  readonly history1: bigint;
  readonly history2: bigint;
  readonly flags: number;
  readonly laSize: Sector;
  readonly deviceUuid: bigint;
  readonly laPeerMaxBioSize: number;
  readonly alStripes: number;
  readonly alStripeSize4k: number;
  readonly words: readonly WordRun[];
}

/** `reason` names the line: `Parse error in line 8: keyword 'uuid' expected`. `version`: a dump of another format. */
export type ParsedDump =
  | { readonly ok: true; readonly dump: Dump }
  | { readonly ok: false; readonly reason: string; readonly version?: string };

interface Token {
  readonly text: string;
  readonly line: number;
}

class ParseError extends Error {
  readonly version: string | undefined;
  constructor(message: string, version?: string) {
    super(message);
    this.version = version;
  }
}

const TOKEN = /[ \t\r]+|#[^\n]*|(\n)|("[^"\n]*"|[{};]|[^\s{};#"]+|.)/y;

function tokens(text: string): Token[] {
  const found: Token[] = [];
  let line = 1;
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match; match = TOKEN.exec(text)) {
    if (match[1] !== undefined) line++;
    else if (match[2] !== undefined) found.push({ text: match[2], line });
  }
  found.push({ text: "", line });
  return found;
}

class Reader {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = tokens(text);
  }

  peek(): string {
    return this.#tokens[this.#at]?.text ?? "";
  }

  fail(expected: string): never {
    const token = this.#tokens[this.#at] ?? { text: "", line: 0 };
    const got = token.text === "" ? ", but end of file encountered" : `, not '${token.text}'`;
    throw new ParseError(`Parse error in line ${token.line}: ${expected} expected${got}`);
  }

  /** Takes the next token if `accepts` likes it. */
  take(expected: string, accepts: (text: string) => boolean): string {
    const text = this.peek();
    if (text === "" || !accepts(text)) this.fail(expected);
    this.#at++;
    return text;
  }

  keyword(word: string): void {
    this.take(`keyword '${word}'`, (text) => text === word);
  }
  mark(mark: ";" | "{" | "}"): void {
    const names = { ";": "semicolon (;)", "{": "opening brace ({)", "}": "closing brace (})" };
    this.take(names[mark], (text) => text === mark);
  }
  number(max: number): number {
    return Number(this.take(`number (0..${max})`, (text) => /^\d{1,20}$/.test(text) && Number(text) <= max));
  }
  hex(digits: 8 | 16): string {
    const pattern = new RegExp(`^0x[0-9a-f]{${digits}}$`, "i");
    return this.take(digits === 16 ? "a 16-digit hex number" : "an 8-digit hex number", (text) => pattern.test(text));
  }
  uuid(): bigint {
    const value = BigInt(this.hex(16));
    this.mark(";");
    return value;
  }
  /** `keyword number;` */
  setting(word: string, max: number): number {
    this.keyword(word);
    const value = this.number(max);
    this.mark(";");
    return value;
  }
}

const U32 = 2 ** 32 - 1;
const MAX_SECTORS = 2 ** 53 - 1;

/** Reads what `dump-md` wrote. A dump of unclean metadata is refused by its own first line. */
export function parseDump(text: string): ParsedDump {
  try {
    return { ok: true, dump: readDump(new Reader(text)) };
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return { ok: false, reason: error.message, ...(error.version === undefined ? {} : { version: error.version }) };
  }
}

function readDump(reader: Reader): Dump {
  reader.keyword("version");
  const version = reader.take("a quoted version", (one) => one.startsWith('"')).slice(1, -1);
  reader.mark(";");
  if (version !== "v08") throw new ParseError(`dump is '${version}' you requested 'v08'.`, version);
  reader.keyword("uuid");
  reader.mark("{");
  const [current, bitmap, history1, history2] = [reader.uuid(), reader.uuid(), reader.uuid(), reader.uuid()];
  reader.keyword("flags");
  const flags = Number(reader.hex(8));
  reader.mark(";");
  reader.mark("}");
  const laSize = sector(reader.setting("la-size-sect", MAX_SECTORS));
  reader.keyword("bm-byte-per-bit");
  reader.take("4096", (one) => one === "4096");
  reader.mark(";");
  reader.keyword("device-uuid");
  const deviceUuid = reader.uuid();
  // Dumps of before 8.4.3 end their head here.
  const laPeerMaxBioSize = reader.peek() === "la-peer-max-bio-size" ? reader.setting("la-peer-max-bio-size", U32) : 0;
  const striped = reader.peek() === "al-stripes";
  const alStripes = striped ? reader.setting("al-stripes", U32) : 1;
  const alStripeSize4k = striped ? reader.setting("al-stripe-size-4k", U32) : 8;
  const words = readBitmap(reader);
  return {
    current,
    bitmap,
    history1,
    history2,
    flags,
    laSize,
    deviceUuid,
    laPeerMaxBioSize,
    alStripes,
    alStripeSize4k,
    words,
  };
}

function readBitmap(reader: Reader): WordRun[] {
  const expected = "repeat count, 16-digit hex number, or closing brace (})";
  const words: WordRun[] = [];
  reader.keyword("bm");
  reader.mark("{");
  while (reader.peek() !== "}") {
    let count = 1;
    if (/^\d/.test(reader.peek()) && !reader.peek().startsWith("0x")) {
      count = reader.number(U32);
      reader.keyword("times");
    } else if (!reader.peek().startsWith("0x")) reader.fail(expected);
    const hex = reader.hex(16);
    words.push({ count, high: Number(hex.slice(0, 10)), low: Number(`0x${hex.slice(10)}`) });
    reader.mark(";");
  }
  reader.mark("}");
  if (reader.peek() !== "") reader.fail("end of file");
  return words;
}
