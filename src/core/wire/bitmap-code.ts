/**
 * The run-length code of P_COMPRESSED_BITMAP (drbd-84 §6.3): alternating runs of clear and set bits, each a variable-length
 * integer, in a bit stream that fills each byte from bit 0 upwards.
 *
 *   encoding byte   0-3: 2 (RLE_VLI_Bits)   4-6: unused bits at the end of the last byte   7: the first run is set
 *   one run         prefix, then (run - first run of its level), each least significant bit first
 *
 * Bit positions exceed 2^31 (16 TiB are 2^32 bits): no 32-bit operators on them.
 */

/** The bitmap as runs of bits. Positions are 0 … `bitCount`. */
export interface BitmapBits {
  readonly bitCount: number;
  /** The first set bit at `from` or after it; `bitCount` if there is none. */
  nextSet(from: number): number;
  /** The first clear bit at `from` or after it; `bitCount` if there is none. */
  nextClear(from: number): number;
  /** Sets `from` … `to` - 1. */
  setRange(from: number, to: number): void;
}

/** RLE_VLI_Bits, the only code there is. */
const ENCODING = 2;
const CODE_MASK = 0x0f;
const FIRST_RUN_SET = 0x80;
const PAD_SHIFT = 4;
const PAD_MASK = 0x07;
/** The longest prefix; a prefix is recognised in this many bits. */
const PEEK_BITS = 8;

interface Level {
  readonly prefixBits: number;
  readonly prefix: number;
  readonly dataBits: number;
  readonly totalBits: number;
  /** Shortest and longest run of this level. The last level's bounds lie beyond 2^53 but are exact doubles. */
  readonly first: number;
  readonly last: number;
}

/** Prefix length, prefix, data bits; the runs follow without a gap (drbd-84 §6.3). */
const codeTable = [
  [1, 0x00, 1],
  [2, 0x01, 1],
  [3, 0x03, 2],
  [4, 0x07, 3],
  [5, 0x0f, 5],
  [6, 0x1f, 8],
  [8, 0x3f, 13],
  [8, 0x7f, 21],
  [8, 0xbf, 34],
  [8, 0xff, 56],
] as const;

function buildLevels(): readonly Level[] {
  const built: Level[] = [];
  let first = 1;
  for (const [prefixBits, prefix, dataBits] of codeTable) {
    const last = first + 2 ** dataBits - 1;
    built.push({ prefixBits, prefix, dataBits, totalBits: prefixBits + dataBits, first, last });
    first = last + 1;
  }
  return built;
}

/** The ten levels, shortest runs first. */
export const levels = buildLevels();

/** Level by the next eight bits of the stream; every value of a byte belongs to exactly one. */
const levelOfPeek: readonly (Level | undefined)[] = Array.from({ length: 2 ** PEEK_BITS }, (_, peek) =>
  levels.find(({ prefixBits, prefix }) => (peek & (2 ** prefixBits - 1)) === prefix),
);

/** Appends bits to `target[at, at + room)`. Bytes are written as they are begun, so nothing needs clearing before. */
class BitWriter {
  readonly #target: Uint8Array;
  readonly #at: number;
  readonly #room: number;
  #bits = 0;

  constructor(target: Uint8Array, at: number, room: number) {
    this.#target = target;
    this.#at = at;
    this.#room = room * 8;
  }

  /** Whole bytes begun so far. */
  get bytes(): number {
    return Math.ceil(this.#bits / 8);
  }

  get padBits(): number {
    return this.bytes * 8 - this.#bits;
  }

  hasRoom(count: number): boolean {
    return this.#bits + count <= this.#room;
  }

  /** `value` below 2^53; bits above it are written as zero. */
  write(value: number, count: number): void {
    let rest = value;
    for (let left = count; left > 0; ) {
      const inByte = this.#bits % 8;
      const taken = Math.min(8 - inByte, left);
      const byte = this.#at + (this.#bits - inByte) / 8;
      const before = inByte === 0 ? 0 : (this.#target[byte] ?? 0);
      this.#target[byte] = before + (rest % 2 ** taken) * 2 ** inByte;
      rest = Math.floor(rest / 2 ** taken);
      this.#bits += taken;
      left -= taken;
    }
  }
}

/** Takes bits from `source[at, at + length)`, leaving out `pad` at the end. */
class BitReader {
  readonly #source: Uint8Array;
  readonly #at: number;
  readonly #end: number;
  #bits = 0;

  constructor(source: Uint8Array, at: number, length: number, pad: number) {
    this.#source = source;
    this.#at = at;
    this.#end = length * 8 - pad;
  }

  get left(): number {
    return this.#end - this.#bits;
  }

  /** The next eight bits, zeroes after the end. */
  peek(): number {
    return this.#value(this.#bits, Math.min(PEEK_BITS, this.left));
  }

  skip(count: number): void {
    this.#bits += count;
  }

  /** Up to 56 bits that must be there. A value of 2^53 or more may be rounded, never below 2^53. */
  read(count: number): number {
    const value = this.#value(this.#bits, count);
    this.#bits += count;
    return value;
  }

  #value(from: number, count: number): number {
    let value = 0;
    let scale = 1;
    for (let taken = 0; taken < count; ) {
      const inByte = (from + taken) % 8;
      const step = Math.min(8 - inByte, count - taken);
      const byte = this.#source[this.#at + (from + taken - inByte) / 8] ?? 0;
      value += ((byte >>> inByte) & (2 ** step - 1)) * scale;
      scale *= 2 ** step;
      taken += step;
    }
    return value;
  }
}

export interface EncodedRuns {
  /** Bytes written: encoding byte and code. 0 if plain bits would be no longer. */
  readonly length: number;
  /** First bit not covered. */
  readonly next: number;
}

/**
 * Encodes runs from bit `from` (below `bitCount`) on as one payload of at most `room` bytes at `target[at]`; stops before the
 * run that does not fit. Chooses as 8.4 does (drbd-84 §6.2): a code longer than the bits it covers is given up.
 */
export function encodeRuns(bits: BitmapBits, from: number, target: Uint8Array, at: number, room: number): EncodedRuns {
  const firstSet = bits.nextSet(from) === from;
  const writer = new BitWriter(target, at + 1, room - 1);
  let next = from;
  for (let set = firstSet; next < bits.bitCount; set = !set) {
    const end = set ? bits.nextClear(next) : bits.nextSet(next);
    const run = end - next;
    const level = levels.find(({ last }) => run <= last);
    if (run < 1 || level === undefined) throw new RangeError(`bitmap run of ${run} bits at ${next}`);
    if (!writer.hasRoom(level.totalBits)) break;
    writer.write(level.prefix, level.prefixBits);
    writer.write(run - level.first, level.dataBits);
    next = end;
  }
  const codeBytes = writer.bytes;
  if (codeBytes === 0 || next - from < codeBytes * 8) return { length: 0, next: from };
  target[at] = ENCODING + writer.padBits * 2 ** PAD_SHIFT + (firstSet ? FIRST_RUN_SET : 0);
  return { length: codeBytes + 1, next };
}

/** The encoding byte of a payload, for trace and checks. */
export function readEncoding(byte: number): {
  readonly code: number;
  readonly padBits: number;
  readonly firstSet: boolean;
} {
  return {
    code: byte & CODE_MASK,
    padBits: (byte >>> PAD_SHIFT) & PAD_MASK,
    firstSet: (byte & FIRST_RUN_SET) !== 0,
  };
}

/**
 * Decodes the payload `source[at, at + length)` and hands every run to `onRun` in order, starting at bit `from`. Returns the
 * first bit not covered, or the violation: another code, no code, a code cut off by the end, a run past `bitCount`. A run past
 * the end is refused whether set or clear; 8.4 refuses only set ones.
 */
export function decodeRuns(
  bitCount: number,
  from: number,
  source: Uint8Array,
  at: number,
  length: number,
  onRun: (from: number, to: number, set: boolean) => void,
): number | string {
  const { code, padBits, firstSet } = readEncoding(source[at] ?? 0);
  if (length < 2) return `P_COMPRESSED_BITMAP: unexpected packet size, expected:2.. received:${length}`;
  if (code !== ENCODING) return `P_COMPRESSED_BITMAP: unknown encoding, expected:${ENCODING} received:${code}`;
  const reader = new BitReader(source, at + 1, length - 1, padBits);
  let next = from;
  for (let set = firstSet; reader.left > 0; set = !set) {
    const level = levelOfPeek[reader.peek()];
    if (level === undefined || level.totalBits > reader.left) {
      return `P_COMPRESSED_BITMAP: code cut off, expected:${level?.totalBits} bits received:${reader.left} at bit ${next}`;
    }
    reader.skip(level.prefixBits);
    const end = next + level.first + reader.read(level.dataBits);
    if (end > bitCount) {
      return `P_COMPRESSED_BITMAP: run past the end of the bitmap, expected:..${bitCount} received:${end} at bit ${next}`;
    }
    onRun(next, end, set);
    next = end;
  }
  return next;
}
