/**
 * Where something stands in the operator's files, and what is wrong there. Every message of this folder starts with
 * `file:line:column`, names what was found, what is allowed, and the nearest known word.
 */

/** Line and column count from 1; a column counts UTF-16 units. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/**
 * `syntax`: the text does not follow the grammar. `invalid`: it does, and contradicts a rule. drbdadm leaves with 10
 * for both.
 */
export type ConfigErrorCode = "syntax" | "invalid";

export interface ConfigErrorDetail {
  readonly at: Position;
  /** The word as written; empty at the end of the file or where no single word is wrong. */
  readonly found?: string;
  readonly allowed?: readonly string[];
  /** Of a pair that conflicts, the one written first. */
  readonly first?: Position;
}

export const showPosition = (at: Position): string => `${at.file}:${at.line}:${at.column}`;

/** Returned, never thrown across this folder's boundary. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code: ConfigErrorCode;
  readonly at: Position;
  readonly found: string;
  readonly allowed: readonly string[];
  readonly nearest: string | undefined;
  readonly first: Position | undefined;

  constructor(code: ConfigErrorCode, what: string, detail: ConfigErrorDetail) {
    const found = detail.found ?? "";
    const allowed = detail.allowed ?? [];
    const nearest = nearestWord(found, allowed);
    super(
      `${showPosition(detail.at)}: ${what}` +
        (allowed.length > 0 ? `; allowed: ${allowed.join(", ")}` : "") +
        (nearest === undefined ? "" : `; did you mean '${nearest}'?`) +
        (detail.first === undefined ? "" : `; first used at ${showPosition(detail.first)}`),
    );
    this.code = code;
    this.at = detail.at;
    this.found = found;
    this.allowed = allowed;
    this.nearest = nearest;
    this.first = detail.first;
  }
}

/** Something accepted that an operator should know of. */
export interface ConfigWarning {
  readonly at: Position;
  readonly text: string;
}

/**
 * The known word within a third of the length (at least one, at most three) single-letter edits; the first of equals.
 */
export function nearestWord(found: string, known: readonly string[]): string | undefined {
  if (found.length < 2 || found.length > 64) return undefined;
  let best: string | undefined;
  let distance = Math.min(3, Math.max(1, Math.floor(found.length / 3))) + 1;
  for (const word of known) {
    if (Math.abs(word.length - found.length) >= distance || word === found) continue;
    const edits = editDistance(found, word);
    if (edits < distance) {
      distance = edits;
      best = word;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitute));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
