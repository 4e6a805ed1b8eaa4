/** Digests by OpenSSL, under the names of `cram-hmac-alg` in drbd.conf(5), which are those of the kernel's crypto interface. */
import { createHmac, getHashes } from "node:crypto";
import type { Digests } from "../core/ports.ts";

export class SystemDigests implements Digests {
  readonly #known = new Set(getHashes());

  /** Undefined if OpenSSL does not know the algorithm; upper and lower case are one, as for the kernel's aliases. */
  hmac(algorithm: string, key: Uint8Array, message: Uint8Array): Uint8Array | undefined {
    const name = algorithm.toLowerCase();
    if (!this.#known.has(name)) return undefined;
    return new Uint8Array(createHmac(name, key).update(message).digest());
  }
}
