/**
 * One side's half of the bitmap exchange (drbd-84 §6.2): a sequence of P_BITMAP and P_COMPRESSED_BITMAP in any mix whose offsets
 * are implicit, so sender and receiver keep the same position by the same rules.
 *
 *   after plain        position = 64 x words sent, at most the bit count
 *   after compressed   word = position / 64, rounded down: bits may be sent twice, never left out
 *   the end            a compressed packet that reaches the last bit, else an empty P_BITMAP
 */
import { since } from "./agreement.ts";
import { type BitmapBits, decodeRuns, encodeRuns } from "./bitmap-code.ts";
import { bufferPayloadBytes, headerBytes, packets } from "./packets.ts";

const WORD_BYTES = 8;
const WORD_BITS = 64;

/** The bitmap as 64-bit words of its byte stream: bit n is bit n % 8 of byte n / 8 (drbd-84 §6.1). */
export interface BitmapWords {
  /** ceil(bitCount / 64). */
  readonly wordCount: number;
  /** Copies `count` words from `word` on to `target[at]`; bits behind the last one are zero. */
  copyOut(word: number, count: number, target: Uint8Array, at: number): void;
  /** Sets every bit that is set in `source[at]`; bits behind the last one are ignored. */
  mergeIn(word: number, count: number, source: Uint8Array, at: number): void;
}

/** Packets and bytes, headers included, of one direction. */
export interface BitmapTraffic {
  readonly plainPackets: number;
  readonly plainBytes: number;
  readonly rlePackets: number;
  readonly rleBytes: number;
}

/** Position and traffic of one direction. */
class Cursor implements BitmapTraffic {
  readonly bits: BitmapBits;
  readonly words: BitmapWords;
  readonly apv: number;
  bit = 0;
  word = 0;
  done = false;
  plainPackets = 0;
  plainBytes = 0;
  rlePackets = 0;
  rleBytes = 0;

  constructor(bits: BitmapBits, words: BitmapWords, apv: number) {
    this.bits = bits;
    this.words = words;
    this.apv = apv;
  }

  /** Words the next plain packet must hold; 0 is the terminator. */
  get plainWords(): number {
    return Math.min(Math.floor(bufferPayloadBytes(this.apv) / WORD_BYTES), this.words.wordCount - this.word);
  }

  passPlain(words: number): void {
    this.plainPackets++;
    this.plainBytes += headerBytes(this.apv) + words * WORD_BYTES;
    this.word += words;
    this.bit = Math.min(this.word * WORD_BITS, this.bits.bitCount);
    this.done = words === 0;
  }

  passCompressed(length: number, next: number): void {
    this.rlePackets++;
    this.rleBytes += headerBytes(this.apv) + length;
    this.bit = next;
    this.word = Math.floor(next / WORD_BITS);
    this.done = next === this.bits.bitCount;
  }

  /** Incompressible here: back to the word that holds the position. */
  alignDown(): void {
    this.word = Math.floor(this.bit / WORD_BITS);
    this.bit = this.word * WORD_BITS;
  }
}

/** Produces the packets of one bitmap, one by one. */
export class BitmapSender {
  readonly #cursor: Cursor;
  readonly #useRle: boolean;
  #command: number = packets.P_BITMAP.code;

  /** `useRle`: the `use-rle` option; it counts from apv 90 on. */
  constructor(bits: BitmapBits, words: BitmapWords, apv: number, useRle: boolean) {
    this.#cursor = new Cursor(bits, words, apv);
    this.#useRle = useRle && apv >= since.compressedBitmap;
  }

  /** True when nothing more is to be sent. */
  get done(): boolean {
    return this.#cursor.done;
  }

  /** Command of the packet written last. */
  get command(): number {
    return this.#command;
  }

  get traffic(): BitmapTraffic {
    return this.#cursor;
  }

  /** Writes the next payload at `target[at]`, which must have room for 4088 bytes; returns its length. Not to be called when done. */
  nextPayload(target: Uint8Array, at: number): number {
    const cursor = this.#cursor;
    if (this.#useRle && cursor.bit < cursor.bits.bitCount) {
      const { length, next } = encodeRuns(cursor.bits, cursor.bit, target, at, bufferPayloadBytes(cursor.apv));
      if (length > 0) {
        this.#command = packets.P_COMPRESSED_BITMAP.code;
        cursor.passCompressed(length, next);
        return length;
      }
      cursor.alignDown();
    }
    this.#command = packets.P_BITMAP.code;
    const words = cursor.plainWords;
    cursor.words.copyOut(cursor.word, words, target, at);
    cursor.passPlain(words);
    return words * WORD_BYTES;
  }
}

/** Merges the packets of one bitmap into the own one. */
export class BitmapReceiver {
  readonly #cursor: Cursor;

  constructor(bits: BitmapBits, words: BitmapWords, apv: number) {
    this.#cursor = new Cursor(bits, words, apv);
  }

  /** True when the peer's bitmap is complete; the next packet belongs to something else. */
  get done(): boolean {
    return this.#cursor.done;
  }

  get traffic(): BitmapTraffic {
    return this.#cursor;
  }

  /**
   * Takes the payload `source[at, at + length)` of `command`; `length` must have passed `checkSize`. Returns undefined, or the
   * violation; bits merged before it was met stay set, which can only cost a resync of equal blocks.
   */
  take(command: number, source: Uint8Array, at: number, length: number): string | undefined {
    if (this.#cursor.done) return `bitmap: packet after the end, length ${length}`;
    if (command === packets.P_BITMAP.code) return this.#takePlain(source, at, length);
    if (command === packets.P_COMPRESSED_BITMAP.code) return this.#takeCompressed(source, at, length);
    return `bitmap: unexpected packet, expected:P_BITMAP or P_COMPRESSED_BITMAP received:0x${command.toString(16)}`;
  }

  #takePlain(source: Uint8Array, at: number, length: number): string | undefined {
    const cursor = this.#cursor;
    const words = cursor.plainWords;
    const expected = words * WORD_BYTES;
    if (length !== expected) {
      return `P_BITMAP: unexpected packet size, expected:${expected} received:${length} at word ${cursor.word}`;
    }
    cursor.words.mergeIn(cursor.word, words, source, at);
    cursor.passPlain(words);
    return undefined;
  }

  #takeCompressed(source: Uint8Array, at: number, length: number): string | undefined {
    const { bits, bit } = this.#cursor;
    const next = decodeRuns(bits.bitCount, bit, source, at, length, (from, to, set) => {
      if (set) bits.setRange(from, to);
    });
    if (typeof next === "string") return next;
    this.#cursor.passCompressed(length, next);
    return undefined;
  }
}

/**
 * DRBD's log line for one direction: `send bitmap stats [Bytes(packets)]: plain 0(0), RLE 19(1), total 19; compression: 70.4%`.
 * Undefined where nothing was gained: 8.4 says nothing then.
 */
export function bitmapStats(
  direction: "send" | "receive",
  traffic: BitmapTraffic,
  apv: number,
  wordCount: number,
): string | undefined {
  const { plainBytes, plainPackets, rleBytes, rlePackets } = traffic;
  const total = plainBytes + rleBytes;
  // The kernel's estimate of a plain transfer divides words by bytes; its log is what operators compare with.
  const plainHeaders = Math.ceil(wordCount / bufferPayloadBytes(apv)) + 1;
  const plain = headerBytes(apv) * plainHeaders + wordCount * WORD_BYTES;
  if (total === 0 || total >= plain) return undefined;
  const saved = 1000 - Math.floor((1000 * total) / plain);
  const percent = `${Math.floor(saved / 10)}.${saved % 10}`;
  const counts = `plain ${plainBytes}(${plainPackets}), RLE ${rleBytes}(${rlePackets}), total ${total}`;
  return `${direction} bitmap stats [Bytes(packets)]: ${counts}; compression: ${percent}%`;
}
