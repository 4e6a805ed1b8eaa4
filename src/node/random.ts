/** Randomness from the operating system, for UUIDs, challenges and jitter. */
import { randomFillSync } from "node:crypto";
import type { Random } from "../core/ports.ts";

const FRACTION_BITS = 53;

export class SystemRandom implements Random {
  readonly #word = new BigUint64Array(1);

  u64(): bigint {
    randomFillSync(this.#word);
    return this.#word[0] ?? 0n;
  }

  fill(target: Uint8Array): void {
    randomFillSync(target);
  }

  fraction(): number {
    return Number(this.u64() >> BigInt(64 - FRACTION_BITS)) / 2 ** FRACTION_BITS;
  }
}
