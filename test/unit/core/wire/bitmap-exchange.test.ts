import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import { BitmapReceiver, BitmapSender, bitmapStats } from "../../../../src/core/wire/bitmap-exchange.ts";
import { bufferPayloadBytes, packetName, packets } from "../../../../src/core/wire/packets.ts";
import { type CapturedFlow, captureNames, readCapture, vectors } from "./captured.ts";
import { PlainBitmap } from "./plain-bitmap.ts";

interface Sent {
  readonly name: string;
  readonly payload: Buffer;
}

/** All packets of a bitmap. */
function send(bitmap: PlainBitmap, apv: number, useRle: boolean): { sent: Sent[]; sender: BitmapSender } {
  const sender = new BitmapSender(bitmap, bitmap, apv, useRle);
  const sent: Sent[] = [];
  while (!sender.done) {
    const target = Buffer.alloc(4096, 0xee);
    const length = sender.nextPayload(target, 4);
    if (length > bufferPayloadBytes(apv)) throw new Error(`payload of ${length} bytes`);
    sent.push({ name: packetName(sender.command), payload: target.subarray(4, 4 + length) });
  }
  return { sent, sender };
}

function receive(bitmap: PlainBitmap, apv: number, sent: readonly Sent[]): BitmapReceiver {
  const receiver = new BitmapReceiver(bitmap, bitmap, apv);
  for (const { name, payload } of sent) {
    if (receiver.done) throw new Error("done before the last packet");
    const violation = receiver.take(packets[name as "P_BITMAP"].code, payload, 0, payload.length);
    if (violation !== undefined) throw new Error(violation);
  }
  return receiver;
}

const shape = (sent: readonly Sent[]) => sent.map(({ name, payload }) => `${name} ${payload.length}`);

test("a plain bitmap is full packets, a shorter last one and an empty one (§6.2)", (t) => {
  const gibibyte = new PlainBitmap(262144);
  const full = Array(8).fill("P_BITMAP 4080");
  t.deepEqual(shape(send(gibibyte, 101, false).sent), [...full, "P_BITMAP 128", "P_BITMAP 0"]);
  t.deepEqual(shape(send(gibibyte, 99, false).sent), [...Array(8).fill("P_BITMAP 4088"), "P_BITMAP 64", "P_BITMAP 0"]);
  t.deepEqual(shape(send(new PlainBitmap(246), 86, true).sent), ["P_BITMAP 32", "P_BITMAP 0"]);
  t.deepEqual(shape(send(new PlainBitmap(246), 90, true).sent), ["P_COMPRESSED_BITMAP 3"]);
});

test("a bitmap without bits is one empty packet", (t) => {
  const { sent } = send(new PlainBitmap(0), 101, true);
  t.deepEqual(shape(sent), ["P_BITMAP 0"]);
  t.true(receive(new PlainBitmap(0), 101, sent).done);
});

/** Captured bitmaps: each run of bitmap packets in one flow, with the agreed version. */
function capturedBitmaps(flow: CapturedFlow): { apv: number; sent: Sent[] }[] {
  const found: { apv: number; sent: Sent[] }[] = [];
  let open: Sent[] | undefined;
  for (const { row, raw, headerBytes, apv } of flow) {
    const isBitmap = row.name === "P_BITMAP" || row.name === "P_COMPRESSED_BITMAP";
    if (!isBitmap) {
      open = undefined;
      continue;
    }
    if (open === undefined) {
      open = [];
      found.push({ apv, sent: open });
    }
    open.push({
      name: row.name,
      payload: Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).subarray(headerBytes),
    });
  }
  return found;
}

/** Usable bits of a capture's device: 984 KiB, 2008 KiB, 1 GiB and so on, as the decoder of the first packet needs it. */
function bitCountOf(flow: CapturedFlow): number | undefined {
  const sizes = flow.find(({ row }) => row.name === "P_SIZES");
  if (sizes === undefined) return undefined;
  return Math.ceil(Number(sizes.raw.getBigUint64(sizes.headerBytes + 16)) / 8);
}

test("every bitmap of every capture is received to its end, and sent again packet by packet the same (§6.2)", (t) => {
  let exchanges = 0;
  for (const flow of captureNames().flatMap(readCapture)) {
    const bitCount = bitCountOf(flow);
    if (bitCount === undefined || bitCount === 0) continue;
    for (const { apv, sent } of capturedBitmaps(flow)) {
      const bitmap = new PlainBitmap(bitCount);
      t.true(receive(bitmap, apv, sent).done);
      const useRle = sent[0]?.name === "P_COMPRESSED_BITMAP";
      t.deepEqual(send(bitmap, apv, useRle).sent, sent, flow[0]?.where);
      exchanges++;
    }
  }
  t.true(exchanges > 50, `${exchanges}`);
});

interface PlainVector {
  readonly payload: string;
  readonly bits: readonly number[];
}
const plainVectors: readonly PlainVector[] = JSON.parse(readFileSync(`${vectors}bitmap-plain.json`, "utf8"));

test("captured plain payloads hold the bits said (bitmap-plain.json)", (t) => {
  t.is(plainVectors.length, 2);
  for (const { payload, bits } of plainVectors) {
    const bytes = Buffer.from(payload, "hex");
    const bitmap = new PlainBitmap(bytes.length * 8);
    receive(bitmap, 101, [{ name: "P_BITMAP", payload: bytes }]);
    t.deepEqual(bitmap.bits(), bits);
  }
});

/** Clear bits but for noise from `from` to `to`, which no run-length code shortens. */
function noisy(bitCount: number, from: number, to: number): PlainBitmap {
  const bitmap = new PlainBitmap(bitCount);
  let state = 1;
  for (let bit = from; bit < to; bit++) {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    if (state > 2 ** 30) bitmap.setRange(bit, bit + 1);
  }
  return bitmap;
}

test("packets mix: compressed, plain from the word below an unaligned end, compressed again from a word boundary (§6.2)", (t) => {
  const bitmap = noisy(400_003, 100_001, 250_000);
  const { sent, sender } = send(bitmap, 101, true);
  const names = sent.map(({ name }) => name);
  t.is(names[0], "P_COMPRESSED_BITMAP");
  t.is(names[1], "P_BITMAP");
  t.is(names.at(-1), "P_COMPRESSED_BITMAP");
  const copy = new PlainBitmap(400_003);
  const receiver = receive(copy, 101, sent);
  t.true(receiver.done);
  t.deepEqual(copy.bytes, bitmap.bytes);
  t.deepEqual({ ...receiver.traffic }, { ...sender.traffic, bits: copy, words: copy });
});

test("a plain packet that ends the bitmap is followed by the empty one, in a mix too (§6.2)", (t) => {
  const bitmap = noisy(100_000 + 64 * 700, 100_001, 100_000 + 64 * 700);
  const { sent } = send(bitmap, 101, true);
  t.is(sent[0]?.name, "P_COMPRESSED_BITMAP");
  t.deepEqual(shape(sent.slice(-1)), ["P_BITMAP 0"]);
  t.true(receive(new PlainBitmap(bitmap.bitCount), 101, sent).done);
});

/** Bitmaps of noise, set and clear stretches. */
const stretch = fc.tuple(
  fc.constantFrom("noise", "set", "clear"),
  fc.integer({ min: 1, max: 40_000 }),
  fc.nat(2 ** 31 - 1),
);
const anyBitmap = fc.array(stretch, { minLength: 1, maxLength: 5 }).map((stretches) => {
  const bitmap = new PlainBitmap(stretches.reduce((sum, [, length]) => sum + length, 0));
  let from = 0;
  for (const [kind, length, seed] of stretches) {
    let state = seed;
    for (let bit = from; bit < from + length; bit++) {
      state = (state * 1103515245 + 12345) % 2 ** 31;
      if (kind === "set" || (kind === "noise" && state > 2 ** 30)) bitmap.setRange(bit, bit + 1);
    }
    from += length;
  }
  return bitmap;
});

test("any bitmap arrives whole and is merged into what is there, at every version, plain, compressed and mixed (§6.2)", (t) => {
  const marks = new Set<string>();
  fc.assert(
    fc.property(anyBitmap, fc.constantFrom(86, 90, 101), fc.boolean(), (bitmap, apv, useRle) => {
      const { sent } = send(bitmap, apv, useRle);
      const copy = new PlainBitmap(bitmap.bitCount, [0]);
      t.true(receive(copy, apv, sent).done);
      bitmap.setRange(0, 1);
      t.true(Buffer.from(copy.bytes).equals(bitmap.bytes));
      marks.add([...new Set(sent.map(({ name }) => name))].toSorted().join("+"));
      if (apv < 90) t.false(sent.some(({ name }) => name === "P_COMPRESSED_BITMAP"));
    }),
    { numRuns: 60 },
  );
  t.deepEqual([...marks].toSorted(), ["P_BITMAP", "P_BITMAP+P_COMPRESSED_BITMAP", "P_COMPRESSED_BITMAP"]);
});

test("a plain packet of another size than the position asks for is a violation (§6.2)", (t) => {
  const bitmap = new PlainBitmap(262144);
  const receiver = new BitmapReceiver(bitmap, bitmap, 101);
  const take = (length: number) => receiver.take(packets.P_BITMAP.code, new Uint8Array(4096).fill(0xff), 0, length);
  t.is(take(4072), "P_BITMAP: unexpected packet size, expected:4080 received:4072 at word 0");
  t.is(take(4088), "P_BITMAP: unexpected packet size, expected:4080 received:4088 at word 0");
  t.is(take(0), "P_BITMAP: unexpected packet size, expected:4080 received:0 at word 0");
  t.deepEqual(bitmap.nextSet(0), bitmap.bitCount);
  for (let n = 0; n < 8; n++) t.is(take(4080), undefined);
  t.is(take(4080), "P_BITMAP: unexpected packet size, expected:128 received:4080 at word 4080");
  t.is(take(128), undefined);
  t.false(receiver.done);
  t.is(take(0), undefined);
  t.true(receiver.done);
  t.is(take(0), "bitmap: packet after the end, length 0");
});

test("a compressed packet that reaches the end is the last one; another packet is a violation (§6.2)", (t) => {
  const bitmap = new PlainBitmap(246);
  const receiver = new BitmapReceiver(bitmap, bitmap, 101);
  const payload = Buffer.from("a25f31", "hex");
  t.regex(receiver.take(packets.P_STATE.code, payload, 0, 3) ?? "", /unexpected packet, expected:P_BITMAP or P_COMP/);
  t.is(receiver.take(packets.P_COMPRESSED_BITMAP.code, payload, 0, 3), undefined);
  t.true(receiver.done);
  t.is(bitmap.nextClear(0), 246);
  t.is(receiver.take(packets.P_COMPRESSED_BITMAP.code, payload, 0, 3), "bitmap: packet after the end, length 3");
});

test("bits of the last word behind the last bit are dropped", (t) => {
  const bitmap = new PlainBitmap(70);
  receive(bitmap, 101, [{ name: "P_BITMAP", payload: Buffer.alloc(16, 0xff) }]);
  t.deepEqual([...bitmap.bytes.subarray(8)], [0x3f, 0, 0, 0, 0, 0, 0, 0]);
});

test("any sequence of packets never throws and never leaves the bitmap", (t) => {
  const packet = fc.tuple(
    fc.constantFrom("P_BITMAP", "P_COMPRESSED_BITMAP"),
    fc.uint8Array({ maxLength: 64 }),
    fc.boolean(),
  );
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 6 }), fc.integer({ min: 0, max: 1000 }), (sequence, bitCount) => {
      const bitmap = new PlainBitmap(bitCount);
      const receiver = new BitmapReceiver(bitmap, bitmap, 101);
      for (const [name, bytes, plausible] of sequence) {
        if (plausible && bytes.length > 0) bytes[0] = ((bytes[0] ?? 0) & 0xf0) | 2;
        if (receiver.take(packets[name as "P_BITMAP"].code, bytes, 0, bytes.length) !== undefined) return;
      }
      t.pass();
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

const stats = test.macro({
  exec(t, bitCount: number, set: readonly number[], apv: number, expected: string) {
    const bitmap = new PlainBitmap(bitCount, set);
    const { sender } = send(bitmap, apv, true);
    t.is(bitmapStats("send", sender.traffic, apv, bitmap.wordCount), `send bitmap stats [Bytes(packets)]: ${expected}`);
  },
  title: (_, bitCount: number, __, apv: number, expected: string) =>
    `the kernel logs ${expected} for ${bitCount} bits at ${apv}`,
});
const allOf = (count: number) => Array.from({ length: count }, (_, bit) => bit);
test(stats, 246, allOf(246), 101, "plain 0(0), RLE 19(1), total 19; compression: 70.4%");
test(stats, 502, [1, 10, 11, ...allOf(80).slice(64)], 101, "plain 0(0), RLE 24(1), total 24; compression: 75.0%");
const peerBits = [10, 32, 33, 34, 35, 36, 37, 38, 39, 100];
test(stats, 246, peerBits, 101, "plain 0(0), RLE 24(1), total 24; compression: 62.5%");
test(stats, 246, peerBits, 90, "plain 0(0), RLE 16(1), total 16; compression: 66.7%");

test("a plain transfer has no statistics line, as in the kernel's log", (t) => {
  for (const bitCount of [246, 502, 262127]) {
    const bitmap = new PlainBitmap(bitCount, peerBits);
    t.is(bitmapStats("send", send(bitmap, 101, false).sender.traffic, 101, bitmap.wordCount), undefined);
  }
});
