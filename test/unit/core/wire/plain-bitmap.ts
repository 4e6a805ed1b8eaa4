/** Two bitmaps of the plainest kind behind the interfaces of the exchange: one in bytes, one as a list of runs for huge sizes. */
import type { BitmapBits } from "../../../../src/core/wire/bitmap-code.ts";
import type { BitmapWords } from "../../../../src/core/wire/bitmap-exchange.ts";

export class PlainBitmap implements BitmapBits, BitmapWords {
  readonly bitCount: number;
  readonly wordCount: number;
  readonly bytes: Uint8Array;

  constructor(bitCount: number, set: Iterable<number> = []) {
    this.bitCount = bitCount;
    this.wordCount = Math.ceil(bitCount / 64);
    this.bytes = new Uint8Array(this.wordCount * 8);
    for (const bit of set) this.setRange(bit, bit + 1);
  }

  has(bit: number): boolean {
    return ((this.bytes[bit >>> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  nextSet(from: number): number {
    return this.#next(from, true);
  }

  nextClear(from: number): number {
    return this.#next(from, false);
  }

  #next(from: number, set: boolean): number {
    let bit = from;
    const boring = set ? 0 : 0xff;
    while (bit < this.bitCount && this.has(bit) !== set) {
      bit += bit % 8 === 0 && this.bytes[bit / 8] === boring ? 8 : 1;
    }
    return Math.min(bit, this.bitCount);
  }

  setRange(from: number, to: number): void {
    if (from < 0 || to > this.bitCount || from >= to) throw new Error(`setRange(${from}, ${to}) of ${this.bitCount}`);
    for (let bit = from; bit < to; bit++) this.bytes[bit >>> 3] = (this.bytes[bit >>> 3] ?? 0) | (1 << (bit & 7));
  }

  copyOut(word: number, count: number, target: Uint8Array, at: number): void {
    if (word + count > this.wordCount) throw new Error(`copyOut(${word}, ${count}) of ${this.wordCount}`);
    target.set(this.bytes.subarray(word * 8, (word + count) * 8), at);
  }

  mergeIn(word: number, count: number, source: Uint8Array, at: number): void {
    if (word + count > this.wordCount) throw new Error(`mergeIn(${word}, ${count}) of ${this.wordCount}`);
    for (let n = 0; n < count * 8; n++) {
      const bits = source[at + n] ?? 0;
      for (let bit = 0; bit < 8; bit++) {
        const position = (word * 8 + n) * 8 + bit;
        if ((bits & (1 << bit)) !== 0 && position < this.bitCount) this.setRange(position, position + 1);
      }
    }
  }

  bits(): number[] {
    return Array.from({ length: this.bitCount }, (_, bit) => bit).filter((bit) => this.has(bit));
  }
}

/** Alternating runs, starting at bit 0; no word access. */
export class RunBitmap implements BitmapBits {
  readonly bitCount: number;
  readonly #runs: { readonly from: number; readonly to: number; readonly set: boolean }[] = [];

  constructor(runs: readonly number[], firstSet: boolean) {
    let from = 0;
    let set = firstSet;
    for (const run of runs) {
      this.#runs.push({ from, to: from + run, set });
      from += run;
      set = !set;
    }
    this.bitCount = from;
  }

  nextSet(from: number): number {
    return this.#next(from, true);
  }

  nextClear(from: number): number {
    return this.#next(from, false);
  }

  #next(from: number, set: boolean): number {
    const run = this.#runs.find((candidate) => candidate.set === set && candidate.to > from);
    return run === undefined ? this.bitCount : Math.max(run.from, from);
  }

  setRange(): void {
    throw new Error("read only");
  }
}
