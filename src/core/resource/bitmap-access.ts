/** The in-memory bitmap as the wire's code wants to see it. */
import { type Bitmap, NO_BIT } from "../metadata/bitmap.ts";
import { bit } from "../units.ts";
import type { BitmapBits } from "../wire/bitmap-code.ts";
import type { BitmapWords } from "../wire/bitmap-exchange.ts";

export function bitsOf(bitmap: Bitmap): BitmapBits {
  const orEnd = (n: number): number => (n === NO_BIT ? bitmap.bits : n);
  return {
    bitCount: bitmap.bits,
    nextSet: (from) => orEnd(bitmap.nextSet(bit(from))),
    nextClear: (from) => orEnd(bitmap.nextClear(bit(from))),
    setRange: (from, to) => {
      bitmap.setRange(bit(from), bit(to));
    },
  };
}

export function wordsOf(bitmap: Bitmap): BitmapWords {
  return {
    wordCount: bitmap.wordCount,
    copyOut: (word, count, target, at) => bitmap.copyOut(word, count, target, at),
    mergeIn: (word, count, source, at) => {
      bitmap.mergeIn(word, count, source, at);
    },
  };
}
