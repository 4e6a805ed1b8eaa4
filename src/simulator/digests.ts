/** A keyed checksum in place of an HMAC: both ends of a simulated connection use it, and nobody attacks. */
import type { Digests } from "../core/ports.ts";

const BYTES = 20;

export class SimDigests implements Digests {
  hmac(algorithm: string, key: Uint8Array, message: Uint8Array): Uint8Array | undefined {
    if (algorithm !== "sha1") return undefined;
    const digest = new Uint8Array(BYTES);
    for (let lane = 0; lane < BYTES; lane++) {
      let hash = 0x811c9dc5 ^ Math.imul(lane + 1, 0x9e3779b1);
      for (const part of [key, message]) for (const byte of part) hash = Math.imul(hash ^ byte, 0x01000193);
      digest[lane] = hash >>> 24;
    }
    return digest;
  }
}
