/** Lines and words of heartbeat's plain files, with their places. */
import type { Position } from "../../../core/config/source.ts";

export interface Word {
  readonly text: string;
  readonly at: Position;
}

/** Longest line that heartbeat reads in one piece, in characters; the rest would be a line of its own. */
export const MAX_LINE = 1023;

/** Largest file read, in characters: a configuration of two nodes is a thousand times smaller. */
export const MAX_FILE = 1 << 20;

/** The words of `text` between characters of `separators`; `column` is that of its first character, from 1. */
export function splitWords(text: string, separators: string, file: string, line: number, column = 1): Word[] {
  const words: Word[] = [];
  let start = -1;
  for (let i = 0; i <= text.length; i++) {
    const isWord = i < text.length && !separators.includes(text.charAt(i));
    if (isWord && start < 0) start = i;
    if (isWord || start < 0) continue;
    words.push({ text: text.slice(start, i), at: { file, line, column: column + start } });
    start = -1;
  }
  return words;
}

/** Physical lines without their ends (`\n` or `\r\n`); a byte order mark is dropped. */
export function splitLines(text: string): string[] {
  return text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .map((line) => line.replace(/\r+$/, ""));
}

/** What is wrong with a character that no word may hold, and where; undefined: nothing. Remarks may hold anything. */
export function oddCharacter(text: string, file: string, line: number): Word | undefined {
  const index = text.search(/(?!\t)[\p{Cc}\p{Cs}\uFFFD-\uFFFF]/u);
  if (index < 0) return undefined;
  const what = text.charAt(index) === "\uFFFD" ? "a character that is not UTF-8" : "a control character";
  return { text: what, at: { file, line, column: index + 1 } };
}
