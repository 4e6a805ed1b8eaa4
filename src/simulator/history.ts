/**
 * What the application may find in each sector, from what it sent and what it was told. Knows nothing of how the engine works but its promise:
 * writes that overlap take effect in the order they were submitted.
 *
 * For one sector, writes in order:    … s … a … u1 u2
 *   s  stable: covered by an answered FLUSH, or answered with FUA. Nothing may bring back what was before.
 *   a  acknowledged: after a crash that spared one full copy, nothing may bring back what was before.
 *   u  sent and not answered: may be found or not.
 */
import { GARBAGE, ZEROES } from "./stamps.ts";

interface Write {
  readonly sector: number;
  readonly count: number;
  readonly zeroes: boolean;
}

interface Place {
  /** Numbers of writes, ascending; the first may be the initial content, 0. */
  writes: number[];
  acked: number;
  stable: number;
}

export interface ReadExpectation {
  /** Per sector of the read: the oldest write that may be seen. */
  readonly oldest: Float64Array;
}

export class History {
  readonly #writes: Map<number, Write>;
  readonly #places: Map<number, Place>;
  /** Acknowledged since the last answered flush. */
  #unflushed: Set<number>;
  #readsOpen = 0;

  constructor(from?: History) {
    this.#writes = new Map(from === undefined ? [] : from.#writes);
    this.#places = new Map();
    this.#unflushed = new Set();
  }

  /**
   * A second Primary goes on with what its disk shows, whatever the first has acknowledged alone. `found` per sector, GARBAGE where it is
   * just being written.
   */
  fork(found: (sector: number) => number): History {
    const fork = new History(this);
    for (const [sector, place] of this.#places) {
      const number = found(sector);
      if (number === GARBAGE) fork.#places.set(sector, { writes: [0, ...place.writes], acked: 0, stable: 0 });
      else fork.#places.set(sector, { writes: [number], acked: number, stable: 0 });
    }
    return fork;
  }

  get sectors(): IterableIterator<number> {
    return this.#places.keys();
  }

  /** Before the request is given to the engine. */
  sent(number: number, sector: number, count: number, zeroes: boolean): void {
    this.#writes.set(number, { sector, count, zeroes });
    for (let s = sector; s < sector + count; s++) {
      const place = this.#places.get(s);
      if (place === undefined) this.#places.set(s, { writes: [0, number], acked: 0, stable: 0 });
      else place.writes.push(number);
    }
  }

  acknowledged(number: number, fua: boolean): void {
    const write = this.#writes.get(number);
    if (write === undefined) throw new Error(`write ${number} was not sent`);
    for (let s = write.sector; s < write.sector + write.count; s++) {
      const place = this.#places.get(s);
      if (place === undefined) continue;
      place.acked = Math.max(place.acked, number);
      if (fua) place.stable = Math.max(place.stable, number);
      this.#prune(place);
    }
    if (!fua) this.#unflushed.add(number);
  }

  /** What a flush sent now will cover. */
  flushSent(): readonly number[] {
    return [...this.#unflushed];
  }

  flushAcknowledged(covers: readonly number[]): void {
    for (const number of covers) {
      this.#unflushed.delete(number);
      const write = this.#writes.get(number);
      if (write === undefined) continue;
      for (let s = write.sector; s < write.sector + write.count; s++) {
        const place = this.#places.get(s);
        // After a rollback the write may be gone from here.
        if (place?.writes.includes(number)) place.stable = Math.max(place.stable, number);
      }
    }
  }

  readSent(sector: number, count: number): ReadExpectation {
    this.#readsOpen++;
    const oldest = new Float64Array(count);
    for (let n = 0; n < count; n++) oldest[n] = this.#places.get(sector + n)?.acked ?? 0;
    return { oldest };
  }

  readEnded(): void {
    this.#readsOpen--;
  }

  /** Whether a read may show `found` in the sector; `oldest` as it was when the read was sent. */
  mayRead(sector: number, found: number, oldest: number): boolean {
    const place = this.#places.get(sector);
    if (place === undefined) return found === ZEROES;
    return place.writes.some((number) => number >= oldest && this.#shows(number, found));
  }

  /** Whether the sector of a copy that must not have lost anything (`spared`), or no more than what was not flushed, may show `found`. */
  mayHold(sector: number, found: number, spared: boolean): boolean {
    const place = this.#places.get(sector);
    if (place === undefined) return found === ZEROES;
    return this.mayRead(sector, found, spared ? place.acked : place.stable);
  }

  /** Was found, and is now what counts: later writes that were never answered are gone. */
  settle(sector: number, found: number): void {
    const place = this.#places.get(sector);
    if (place === undefined || found === GARBAGE) return;
    const number = place.writes.findLast((n) => this.#shows(n, found));
    if (number === undefined) return;
    place.writes = place.writes.filter((n) => n <= number);
    place.acked = number;
    place.stable = Math.min(place.stable, number);
  }

  describe(sector: number): string {
    const place = this.#places.get(sector);
    if (place === undefined) return "never written";
    const names = place.writes.map((n) => `${n}${this.#writes.get(n)?.zeroes ? "z" : ""}`);
    return `writes ${names.join(",")} acknowledged ${place.acked} stable ${place.stable}`;
  }

  #shows(number: number, found: number): boolean {
    if (found === ZEROES) return number === 0 || this.#writes.get(number)?.zeroes === true;
    return number === found && this.#writes.get(number)?.zeroes === false;
  }

  #prune(place: Place): void {
    // A read under way may still show what was there when it was sent.
    if (this.#readsOpen > 0 || (place.writes[0] ?? 0) >= place.stable) return;
    place.writes = place.writes.filter((n) => n >= place.stable);
  }
}
