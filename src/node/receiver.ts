/**
 * Expectations met from a window of received bytes. Used by every kind of stream: the owner puts bytes behind `end`, asks
 * `next()` until it says NOTHING, and receives more if `open`.
 */
import { WINDOW_BYTES } from "./arena.ts";

/** No expectation is open, or its bytes are not there yet. */
export const NOTHING = -1;
/** The payload asked for is complete. */
export const PAYLOAD = -2;
/** From here on a payload is received straight into its place; below, one copy is cheaper than one more wake-up. */
const DIRECT_BYTES = 32 * 1024;
const LONGEST_HEADER = 8192;

const NONE = 0;
const HEADER = 1;
const INTO = 2;
const SKIP = 3;
/** Drop everything: nobody will ask again. */
const DRAIN = 4;

export class Receiver {
  readonly window: DataView;
  readonly #bytes: Uint8Array;
  readonly #base: number;
  #start = 0;
  #end = 0;
  #mode = NONE;
  #missing = 0;
  #target = 0;

  /** The window stands at `base` of `bytes`. */
  constructor(bytes: Uint8Array, base: number) {
    this.#bytes = bytes;
    this.#base = base;
    this.window = new DataView(bytes.buffer, base, WINDOW_BYTES);
  }

  get open(): boolean {
    return this.#mode !== NONE;
  }

  /** Bytes still to come for the open payload. */
  get missing(): number {
    return this.#missing;
  }

  /** Bytes in the window that nobody has asked for yet. */
  get pending(): number {
    return this.#end - this.#start;
  }

  /** Where the next bytes of the payload belong if they should bypass the window, else -1. */
  get directAt(): number {
    return this.#mode === INTO && this.#missing >= DIRECT_BYTES ? this.#target : -1;
  }

  expectHeader(length: number): void {
    if (length < 1 || length > LONGEST_HEADER) throw new RangeError(`expectHeader(${length})`);
    this.#expect(HEADER, length);
  }

  expectInto(offset: number, length: number): void {
    this.#expect(INTO, length);
    this.#target = offset;
  }

  expectSkip(length: number): void {
    this.#expect(SKIP, length);
  }

  /** Everything from now on is dropped, unless something is still expected. */
  drain(): void {
    if (this.#mode === NONE) this.#mode = DRAIN;
  }

  /** Offset in the window of the header asked for, PAYLOAD or NOTHING. Closes the expectation it reports. */
  next(): number {
    const have = this.#end - this.#start;
    switch (this.#mode) {
      case HEADER: {
        if (have < this.#missing) return NOTHING;
        const at = this.#start;
        this.#start += this.#missing;
        this.#mode = NONE;
        this.#missing = 0;
        return at;
      }
      case INTO:
      case SKIP: {
        const length = Math.min(have, this.#missing);
        const from = this.#base + this.#start;
        if (this.#mode === INTO && length > 0) this.#bytes.copyWithin(this.#target, from, from + length);
        this.#start += length;
        this.received(0, length);
        if (this.#missing > 0) return NOTHING;
        this.#mode = NONE;
        return PAYLOAD;
      }
      case DRAIN:
        this.#start = this.#end;
        return NOTHING;
      default:
        return NOTHING;
    }
  }

  /** Moves what is left to the front, so that a header never wraps; returns the offset in memory where bytes may be added. */
  makeRoom(): number {
    if (this.#start > 0) {
      this.#bytes.copyWithin(this.#base, this.#base + this.#start, this.#base + this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#base + this.#end;
  }

  get room(): number {
    return WINDOW_BYTES - this.#end;
  }

  /** `inWindow` bytes were added behind the window's end, `direct` bytes of the payload stand in their place. */
  received(inWindow: number, direct: number): void {
    this.#end += inWindow;
    this.#target += direct;
    this.#missing -= direct;
  }

  /** What was being waited for, for messages about its end. */
  describe(): string {
    if (this.#mode === NONE || this.#mode === DRAIN) return "";
    const what = this.#mode === HEADER ? "header" : "payload";
    return `waiting for ${this.#missing} bytes of ${what}, have ${this.#end - this.#start}`;
  }

  #expect(mode: number, length: number): void {
    if (this.#mode !== NONE && this.#mode !== DRAIN) throw new Error("an expectation is open already");
    if (length < 0 || !Number.isSafeInteger(length)) throw new RangeError(`cannot expect ${length} bytes`);
    this.#mode = mode;
    this.#missing = length;
  }
}
