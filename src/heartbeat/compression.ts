/** zlib by Node's own; bz2 is not available here: such messages are dropped and named (heartbeat §3.3). */
import { deflateSync, inflateSync } from "node:zlib";
import type { Compression } from "./core/wire/packet.ts";

export const systemCompression: Compression = {
  compress: (algorithm, bytes) => (algorithm === "zlib" ? new Uint8Array(deflateSync(bytes)) : undefined),
  expand: (algorithm, bytes, limit) => {
    if (algorithm !== "zlib") return undefined;
    try {
      return new Uint8Array(inflateSync(bytes, { maxOutputLength: limit }));
    } catch {
      // Damaged, or larger than any message may be.
      return undefined;
    }
  },
};
