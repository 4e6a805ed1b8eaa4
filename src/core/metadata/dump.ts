/**
 * The text form of metadata: `dump-md` writes it (drbd-84 §9.7), dump-reader.ts reads it. Numbers in the dump are decimal, UUIDs and bitmap words
 * 16 upper-case hex digits; a word is 64 bits of the little-endian bitmap.
 */
import type { Sector } from "../units.ts";
import { ones } from "./bitmap.ts";
import type { Geometry } from "./geometry.ts";
import { uuidText } from "./show.ts";
import type { Superblock } from "./superblock.ts";

/** First lines of a dump; the core has no clock. `when` is `2024-01-31 12:00:00 +0100 [1706698800]`. */
export interface DumpHead {
  readonly when: string;
  readonly host: string;
  readonly commandLine: string;
}

const WORD = 8;
const WORDS_PER_LINE = 4;
const WORDS_PER_COMMENT = 32;
const CHUNK_WORDS = 64 * 1024;
/** One word stands for 256 KiB of data. */
const KIB_PER_WORD = 256;

/** Bitmap bytes in a dump: whole 64-bit words, rounded up to 4 KiB. */
export const dumpedBitmapBytes = (laSize: Sector): number =>
  Math.ceil(Math.ceil(Math.ceil(laSize / 8) / 64) / 512) * 4096;

/** The words of a bitmap on disk, read a chunk at a time. */
class Words {
  readonly length: number;
  readonly #read: (at: number, length: number) => Uint8Array;
  #first = -1;
  #view: DataView = new DataView(new ArrayBuffer(0));

  constructor(read: (at: number, length: number) => Uint8Array, length: number) {
    this.#read = read;
    this.length = length;
  }

  #at(n: number): number {
    const first = n - (n % CHUNK_WORDS);
    if (first !== this.#first) {
      const bytes = this.#read(first * WORD, Math.min(CHUNK_WORDS, this.length - first) * WORD);
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#first = first;
    }
    return (n - first) * WORD;
  }
  low(n: number): number {
    const at = this.#at(n);
    return this.#view.getUint32(at, true);
  }
  high(n: number): number {
    const at = this.#at(n);
    return this.#view.getUint32(at + 4, true);
  }
  text(n: number): string {
    const hex = (cell: number): string => cell.toString(16).toUpperCase().padStart(8, "0");
    return `0x${hex(this.high(n))}${hex(this.low(n))};`;
  }
  /** Words from `n` on that equal word `n`, where that is all clear or all set; else 0. */
  run(n: number): number {
    const cell = this.low(n);
    if ((cell !== 0 && cell !== 0xffffffff) || this.high(n) !== cell) return 0;
    let end = n + 1;
    while (end < this.length && this.low(end) === cell && this.high(end) === cell) end++;
    return end - n;
  }
}

/** The lines between `bm {` and `}`. Runs of at least 8 equal words of 0 or ~0 are counted, in multiples of 4. */
function bitmapLines(words: Words): string {
  const lines: string[] = [];
  let at = 0;
  while (at < words.length) {
    if (at % WORDS_PER_COMMENT === 0) lines.push(`   # at ${at * KIB_PER_WORD}kB\n`);
    const run = words.run(at);
    const counted = run - (run % WORDS_PER_LINE);
    if (counted >= 2 * WORDS_PER_LINE) {
      lines.push(`    ${counted} times ${words.text(at)}\n`);
      at += counted;
    } else {
      const last = Math.min(at + WORDS_PER_LINE, words.length);
      lines.push(`    ${Array.from({ length: last - at }, (_, n) => words.text(at + n)).join(" ")}\n`);
      at = last;
    }
  }
  return lines.join("");
}

function bitsSet(words: Words): number {
  let found = 0;
  for (let n = 0; n < words.length; n++) found += ones(words.low(n)) + ones(words.high(n));
  return found;
}

const UNCLEAN =
  "This_is_an_unclean_meta_data_dump._Don't_trust_the_bitmap.\n" +
  '# You should "apply-al" first, if you plan to restore this.\n\n';

/** The whole dump. `readBitmap(at, length)` reads from the bitmap area on disk. */
export function dumpMetadata(
  head: DumpHead,
  s: Superblock,
  geometry: Geometry,
  clean: boolean,
  readBitmap: (at: number, length: number) => Uint8Array,
): string {
  const bitmapBytes = dumpedBitmapBytes(s.laSize);
  const words = new Words(readBitmap, bitmapBytes / WORD);
  const uuids = [s.current, s.bitmap, s.history1, s.history2].map((uuid) => `0x${uuidText(uuid)};`).join(" ");
  return `# DRBD meta data dump
# ${head.when}
# ${head.host}> ${head.commandLine}
#

version "v08";

${clean ? "" : UNCLEAN}# md_size_sect ${s.mdSize}
# md_offset ${geometry.superblock * 512}
# al_offset ${geometry.alStart * 512}
# bm_offset ${geometry.bmStart * 512}

uuid {
    ${uuids}
    flags 0x00000000;
}
# al-extents ${s.alExtents};
la-size-sect ${s.laSize};
bm-byte-per-bit ${s.bmBytesPerBit};
device-uuid 0x${uuidText(s.deviceUuid)};
la-peer-max-bio-size ${s.laPeerMaxBioSize};
al-stripes ${geometry.al.stripes};
al-stripe-size-4k ${geometry.al.stripeSize4k};
# bm-bytes ${bitmapBytes};
bm {
${bitmapLines(words)}}
# bits-set ${bitsSet(words)};
`;
}
