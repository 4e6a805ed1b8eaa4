/**
 * What the workload writes: every 512-byte sector says by itself which write it is of and where it belongs, so that reads, tears and copies
 * are judged without a copy of the data. Words are 32 bits, in the machine's order:
 *
 *   0 magic | 1 number of the write | 2 sector | 3 … 126 a pattern of the two | 127 number of the write
 */
const WORDS = 128;
const MAGIC = 0x57524954;

/** A sector of zeroes: never written, trimmed or zeroed. */
export const ZEROES = 0;
/** Neither a whole stamp of this sector nor zeroes. */
export const GARBAGE = -1;

const pattern = (write: number, sector: number): number => Math.imul(write ^ Math.imul(sector, 0x9e3779b1), 0x85ebca6b);

/** Fills `count` sectors of memory from word `at` on. */
export function stamp(words: Uint32Array, at: number, write: number, sector: number, count: number): void {
  for (let n = 0; n < count; n++) {
    const from = at + n * WORDS;
    words.fill(pattern(write, sector + n), from, from + WORDS);
    words[from] = MAGIC;
    words[from + 1] = write;
    words[from + 2] = sector + n;
    words[from + WORDS - 1] = write;
  }
}

/** Number of the write that the sector at word `at` shows, ZEROES or GARBAGE. */
export function readStamp(words: Uint32Array, at: number, sector: number): number {
  if (words[at] === 0) {
    for (let n = 1; n < WORDS; n++) if (words[at + n] !== 0) return GARBAGE;
    return ZEROES;
  }
  const write = words[at + 1] ?? 0;
  const whole = words[at] === MAGIC && words[at + 2] === sector && words[at + WORDS - 1] === write;
  if (!whole) return GARBAGE;
  const expected = pattern(write, sector) >>> 0;
  for (let n = 3; n < WORDS - 1; n++) if (words[at + n] !== expected) return GARBAGE;
  return write;
}

/** The words of a page or another aligned piece of memory. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}
