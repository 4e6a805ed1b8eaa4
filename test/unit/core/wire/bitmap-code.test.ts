import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import { decodeRuns, encodeRuns, levels, readEncoding } from "../../../../src/core/wire/bitmap-code.ts";
import { captureNames, readCapture, vectors } from "./captured.ts";
import { PlainBitmap, RunBitmap } from "./plain-bitmap.ts";

const ROOM = 4080;

/** Runs of a payload, or the violation. */
function decoded(payload: Uint8Array, bitCount: number, from = 0): { runs: number[]; next: number } | string {
  const runs: number[] = [];
  const next = decodeRuns(bitCount, from, payload, 0, payload.length, (start, end) => runs.push(end - start));
  return typeof next === "string" ? next : { runs, next };
}

/** Hex of the payload of the whole bitmap. */
function encoded(runs: readonly number[], firstSet: boolean): string {
  const target = Buffer.alloc(ROOM, 0xee);
  const { length } = encodeRuns(new RunBitmap(runs, firstSet), 0, target, 0, ROOM);
  return target.subarray(0, length).toString("hex");
}

test("levels are those of the table (§6.3)", (t) => {
  t.deepEqual(
    levels.map(({ totalBits, prefixBits, prefix, dataBits, first, last }) => [
      totalBits,
      prefixBits,
      prefix,
      dataBits,
      first,
      last,
    ]),
    [
      [2, 1, 0x00, 1, 1, 2],
      [3, 2, 0x01, 1, 3, 4],
      [5, 3, 0x03, 2, 5, 8],
      [7, 4, 0x07, 3, 9, 16],
      [10, 5, 0x0f, 5, 17, 48],
      [14, 6, 0x1f, 8, 49, 304],
      [21, 8, 0x3f, 13, 305, 8496],
      [29, 8, 0x7f, 21, 8497, 2105648],
      [42, 8, 0xbf, 34, 2105649, 17181974832],
      [64, 8, 0xff, 56, 17181974833, 72057611219902768],
    ],
  );
});

test("10 set and 54 clear bits are b2 97af00, 262144 equal bits 7fcfde03 with 3 pad bits (§6.3)", (t) => {
  t.is(encoded([10, 54], true), "b297af00");
  t.is(encoded([262144], true), "b27fcfde03");
  t.is(encoded([262144], false), "327fcfde03");
});

test("the worked example of §12.3 decodes and encodes", (t) => {
  const payload = Buffer.from("32b0fd06ee3f7500", "hex");
  t.deepEqual(decoded(payload, 502), { runs: [1, 1, 8, 2, 52, 16, 422], next: 502 });
  t.is(encoded([1, 1, 8, 2, 52, 16, 422], false), "32b0fd06ee3f7500");
  t.is(encoded([246], true), "a25f31");
});

interface RleVector {
  readonly file: string;
  readonly payload: string;
  readonly first_run_is_set: boolean;
  readonly pad_bits: number;
  readonly code: number;
  readonly runs: readonly number[];
}
const rleVectors: readonly RleVector[] = JSON.parse(readFileSync(`${vectors}bitmap-rle.json`, "utf8"));

test("each captured payload decodes to its runs and encodes to its bytes (bitmap-rle.json)", (t) => {
  t.is(rleVectors.length, 14);
  for (const { file, payload, first_run_is_set, pad_bits, code, runs } of rleVectors) {
    const bytes = Buffer.from(payload, "hex");
    const bitCount = runs.reduce((sum, run) => sum + run, 0);
    t.deepEqual(readEncoding(bytes.readUInt8(0)), { code, padBits: pad_bits, firstSet: first_run_is_set });
    t.deepEqual(decoded(bytes, bitCount), { runs: [...runs], next: bitCount }, file);
    t.is(encoded(runs, first_run_is_set), payload, file);
  }
});

test("every compressed bitmap of every capture encodes to its bytes (§6.3)", (t) => {
  let count = 0;
  for (const { row, raw, headerBytes, where } of captureNames().flatMap((name) => readCapture(name).flat())) {
    if (row.name !== "P_COMPRESSED_BITMAP") continue;
    const payload = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).subarray(headerBytes);
    const result = decoded(payload, Number.MAX_SAFE_INTEGER);
    if (typeof result === "string") throw new Error(`${where}: ${result}`);
    t.is(encoded(result.runs, payload.readUInt8(0) >= 128), payload.toString("hex"), where);
    count++;
  }
  t.is(count, 64);
});

/** Run lengths at and around the ends of every level up to 2^53, all sizes alike. */
const anyRun = fc.oneof(
  ...levels.flatMap(({ first, last }) =>
    first > Number.MAX_SAFE_INTEGER
      ? []
      : [fc.integer({ min: first, max: Math.min(last, 2 ** 50) }), fc.constantFrom(first)],
  ),
  ...levels.slice(0, 9).map(({ last }) => fc.constant(last)),
);

test("runs of every level up to 2^50 survive encoding and decoding, positions beyond 2^32 too (§6.3)", (t) => {
  const bitmap = fc.tuple(fc.array(anyRun, { minLength: 1, maxLength: 6 }), fc.boolean());
  fc.assert(
    fc.property(bitmap, ([runs, firstSet]) => {
      const source = new RunBitmap(runs, firstSet);
      const target = new Uint8Array(ROOM).fill(0xee);
      const { length, next } = encodeRuns(source, 0, target, 0, ROOM);
      if (length === 0) return;
      t.is(next, source.bitCount);
      t.deepEqual(decoded(target.subarray(0, length), source.bitCount), { runs, next });
    }),
    { numRuns: 1000 },
  );
});

/** A run's code by the definition in §6.3, with bigints: total bits and value. */
function codeOf(run: bigint): { bits: number; value: bigint } {
  const level = levels.find(({ last }) => run <= BigInt(last));
  if (level === undefined) throw new Error(`${run}`);
  return {
    bits: level.totalBits,
    value: ((run - BigInt(level.first)) << BigInt(level.prefixBits)) + BigInt(level.prefix),
  };
}

test("the stream is the codes of the runs as one little-endian number (§6.3)", (t) => {
  fc.assert(
    fc.property(fc.array(anyRun, { minLength: 1, maxLength: 6 }), (runs) => {
      let value = 0n;
      let bits = 0;
      for (const run of runs) {
        const code = codeOf(BigInt(run));
        value += code.value << BigInt(bits);
        bits += code.bits;
      }
      const bytes = Math.ceil(bits / 8);
      if (runs.reduce((sum, run) => sum + run, 0) < bytes * 8) return;
      const number = Buffer.from(value.toString(16).padStart(bytes * 2, "0"), "hex").reverse();
      const first = 2 + (bytes * 8 - bits) * 16;
      t.is(encoded(runs, false), Buffer.concat([Buffer.from([first]), number]).toString("hex"));
    }),
  );
});

test("a code longer than the bits it covers is given up, one of the same length is not (§6.2)", (t) => {
  const target = new Uint8Array(ROOM);
  const alternating = new PlainBitmap(
    64,
    Array.from({ length: 32 }, (_, n) => 2 * n),
  );
  t.deepEqual(encodeRuns(alternating, 0, target, 0, ROOM), { length: 0, next: 0 });
  t.deepEqual(encodeRuns(new RunBitmap([8], true), 0, target, 0, ROOM), { length: 2, next: 8 });
  t.deepEqual(encodeRuns(new RunBitmap([7], true), 0, target, 0, ROOM), { length: 0, next: 0 });
});

test("encoding stops before the run that does not fit and tells where", (t) => {
  const target = new Uint8Array(16).fill(0xee);
  const source = new RunBitmap([300, 300, 300, 300], true);
  t.deepEqual(encodeRuns(source, 0, target, 0, 5), { length: 5, next: 600 });
  t.deepEqual([...target.subarray(5)], Array(11).fill(0xee));
  t.deepEqual(encodeRuns(source, 600, target, 8, 5), { length: 5, next: 1200 });
  t.deepEqual(decoded(target.subarray(8, 13), 1200, 600), { runs: [300, 300], next: 1200 });
  t.deepEqual(encodeRuns(source, 450, target, 0, 5), { length: 5, next: 900 });
});

const refused = test.macro({
  exec(t, payload: string, bitCount: number, expected: string) {
    t.is(decoded(Buffer.from(payload, "hex"), bitCount) as string, expected);
  },
  title: (name) => `${name} is a violation (§6.3)`,
});
const past = "P_COMPRESSED_BITMAP: run past the end of the bitmap, expected:..245 received:246 at bit 0";
test("a set run past the end", refused, "a25f31", 245, past);
test("a clear run past the end", refused, "225f31", 245, past);
test(
  "a payload without code",
  refused,
  "a2",
  246,
  "P_COMPRESSED_BITMAP: unexpected packet size, expected:2.. received:1",
);
test("another encoding", refused, "a35f31", 246, "P_COMPRESSED_BITMAP: unknown encoding, expected:2 received:3");
test(
  "a code cut off by the end",
  refused,
  "a25f",
  246,
  "P_COMPRESSED_BITMAP: code cut off, expected:14 bits received:6 at bit 0",
);
test(
  "a run of level 10 beyond any volume",
  refused,
  "82ffffffffffffffff",
  2 ** 32,
  "P_COMPRESSED_BITMAP: run past the end of the bitmap, expected:..4294967296 received:72057611219902770 at bit 0",
);
test(
  "anything after the last bit",
  refused,
  "a25f3100",
  246,
  "P_COMPRESSED_BITMAP: run past the end of the bitmap, expected:..246 received:247 at bit 246",
);

test("random payloads never throw, runs ascend without gaps and stay within the bitmap (§6.3)", (t) => {
  let accepted = 0;
  const payloads = fc.tuple(
    fc.uint8Array({ minLength: 0, maxLength: 40 }),
    fc.nat(500),
    fc.integer({ min: 500, max: 3000 }),
  );
  fc.assert(
    fc.property(payloads, fc.boolean(), ([payload, from, bitCount], valid) => {
      if (valid && payload.length > 0) payload[0] = ((payload[0] ?? 0) & 0xf0) | 2;
      let position = from;
      const next = decodeRuns(bitCount, from, payload, 0, payload.length, (start, end) => {
        t.is(start, position);
        t.true(end > start && end <= bitCount);
        position = end;
      });
      if (typeof next === "string") return;
      accepted++;
      t.is(next, position);
    }),
    { numRuns: 3000 },
  );
  t.true(accepted > 50);
});
