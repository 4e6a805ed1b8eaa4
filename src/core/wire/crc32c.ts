/**
 * CRC-32C (reflected polynomial 0x82f63b78), the only checksum the core computes itself: the activity log needs the raw variant
 * (drbd-84 §9.5), data-integrity, verify and checksum-based resync the standard one (drbd-84 §7.9, §8.5).
 *
 * Eight tables, eight bytes a step: the activity log alone sums 4 KiB per transaction.
 */
const POLYNOMIAL = 0x82f63b78;
const LANES = 8;

/** Lane k maps a byte to its remainder after k further zero bytes; lane k starts at 256 k. */
const tables = new Uint32Array(256 * LANES);
for (let value = 0; value < 256; value++) {
  let remainder = value;
  for (let n = 0; n < 8; n++) remainder = (remainder & 1) === 1 ? (remainder >>> 1) ^ POLYNOMIAL : remainder >>> 1;
  tables[value] = remainder;
}
for (let at = 256; at < tables.length; at++) {
  const previous = entry(at - 256);
  tables[at] = (previous >>> 8) ^ entry(previous & 0xff);
}

function entry(at: number): number {
  return tables[at] ?? 0;
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

function update(start: number, bytes: Uint8Array, from: number, to: number): number {
  let crc = start;
  let at = from;
  for (; at + LANES <= to; at += LANES) {
    crc ^=
      byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24);
    crc =
      entry(1792 + (crc & 0xff)) ^
      entry(1536 + ((crc >>> 8) & 0xff)) ^
      entry(1280 + ((crc >>> 16) & 0xff)) ^
      entry(1024 + (crc >>> 24)) ^
      entry(768 + byteAt(bytes, at + 4)) ^
      entry(512 + byteAt(bytes, at + 5)) ^
      entry(256 + byteAt(bytes, at + 6)) ^
      entry(byteAt(bytes, at + 7));
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ entry((crc ^ byteAt(bytes, at)) & 0xff);
  return crc >>> 0;
}

/**
 * Raw CRC-32C of `bytes[start, end)`: start value 0, no final inversion. Used by the activity log only (drbd-84 §9.5).
 * Unsigned 32 bits. The range must lie within `bytes`.
 */
export function crc32cRaw(bytes: Uint8Array, start: number, end: number): number {
  return update(0, bytes, start, end);
}

/**
 * Standard CRC-32C of `bytes[start, end)`, inverted on entry and exit. As a DRBD digest the four bytes are stored
 * little-endian (drbd-84 §7.9). Unsigned 32 bits. The range must lie within `bytes`.
 */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  return (update(0xffffffff, bytes, start, end) ^ 0xffffffff) >>> 0;
}
