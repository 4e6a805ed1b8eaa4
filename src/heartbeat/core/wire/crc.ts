/**
 * The `crc` method of authkeys: CRC-32, polynomial 0x04C11DB7, most significant bit first, start value 0, no reflection,
 * complemented at the end; cksum(1) without the length (heartbeat §4.1). Detects errors, proves nothing.
 */
const POLYNOMIAL = 0x04c11db7;

const table = new Uint32Array(256);
for (let value = 0; value < 256; value++) {
  let remainder = value << 24;
  for (let n = 0; n < 8; n++)
    remainder = (remainder & 0x80000000) === 0 ? remainder << 1 : (remainder << 1) ^ POLYNOMIAL;
  table[value] = remainder;
}

/** Unsigned 32 bits. */
export function heartbeatCrc(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) crc = (crc << 8) ^ (table[((crc >>> 24) ^ byte) & 255] ?? 0);
  return ~crc >>> 0;
}
