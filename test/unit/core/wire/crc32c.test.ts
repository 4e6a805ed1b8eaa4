import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import { crc32c, crc32cRaw } from "../../../../src/core/wire/crc32c.ts";
import { vectors } from "./captured.ts";

const digits = new TextEncoder().encode("123456789");

test("raw CRC-32C of 123456789 is 58e3fa20 (§9.5)", (t) => {
  t.is(crc32cRaw(digits, 0, digits.length), 0x58e3fa20);
});

test("raw CRC-32C of an initialised activity-log block is 709cc651 (§9.5)", (t) => {
  const block = new DataView(new ArrayBuffer(4096));
  block.setUint32(0, 0x69cb65a2);
  block.setUint16(12, 0xffff);
  t.is(crc32cRaw(new Uint8Array(block.buffer), 0, 4096), 0x709cc651);
});

test("raw CRC-32C of the transaction of §12.4 is 4abba26a", (t) => {
  const block = new DataView(new ArrayBuffer(4096));
  new Uint8Array(block.buffer).fill(0xff, 36);
  block.setUint32(0, 0x69cb65a2);
  block.setUint32(4, 0x13);
  block.setUint16(14, 1);
  block.setUint16(16, 0x43);
  block.setUint16(36, 0x37);
  block.setUint32(164, 0x0b);
  for (let slot = 56; slot <= 66; slot++) block.setUint32(420 + 4 * slot, 66 - slot);
  t.is(crc32cRaw(new Uint8Array(block.buffer), 0, 4096), 0x4abba26a);
});

test("standard CRC-32C: check value, and the zero, one and counting vectors of RFC 3720 B.4 (§7.9)", (t) => {
  t.is(crc32c(digits, 0, digits.length), 0xe3069283);
  t.is(crc32c(new Uint8Array(32), 0, 32), 0x8a9136aa);
  t.is(crc32c(new Uint8Array(32).fill(0xff), 0, 32), 0x62a8ab43);
  const counting = Uint8Array.from({ length: 32 }, (_, n) => n);
  t.is(crc32c(counting, 0, 32), 0x46dd794e);
  t.is(crc32c(counting.toReversed(), 0, 32), 0x113fdb5c);
});

/** The definition, bit by bit. */
function bitwise(start: number, bytes: Uint8Array): number {
  let crc = start;
  for (const byte of bytes) {
    crc ^= byte;
    for (let n = 0; n < 8; n++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return crc >>> 0;
}

test("every range of every length equals the bitwise definition", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(8), fc.nat(8), (bytes, front, back) => {
      const start = Math.min(front, bytes.length);
      const end = Math.max(start, bytes.length - back);
      const range = bytes.subarray(start, end);
      t.is(crc32cRaw(bytes, start, end), bitwise(0, range));
      t.is(crc32c(bytes, start, end), (bitwise(0xffffffff, range) ^ 0xffffffff) >>> 0);
    }),
  );
});

interface DigestVector {
  readonly algorithm: string;
  readonly digest: string;
  readonly data: string;
}
const digestVectors: readonly DigestVector[] = JSON.parse(readFileSync(`${vectors}digests.json`, "utf8"));

test("captured crc32c digests are the standard CRC-32C of the data, stored little-endian (§7.9, digests.json)", (t) => {
  const crcs = digestVectors.filter(({ algorithm }) => algorithm === "crc32c");
  t.is(crcs.length, 2);
  for (const { digest, data } of crcs) {
    const bytes = Buffer.from(data, "hex");
    t.is(crc32c(bytes, 0, bytes.length), Buffer.from(digest, "hex").readUInt32LE(0));
  }
});
