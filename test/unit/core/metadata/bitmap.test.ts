import test from "ava";
import fc from "fast-check";
import { Bitmap, NO_BIT, NO_PAGE } from "../../../../src/core/metadata/bitmap.ts";
import { bit, bytes, sector } from "../../../../src/core/units.ts";
import { vector } from "./vectors.ts";

const ofBits = (n: number): Bitmap => new Bitmap(sector(n * 8));

test("§6.1: one bit per 4 KiB, a started block counts; words of 64 bits, pages of 32768", (t) => {
  for (const [sectors, bits, words, pages] of [
    [0, 0, 0, 0],
    [1, 1, 1, 1],
    [8, 1, 1, 1],
    [9, 2, 1, 1],
    [512, 64, 1, 1],
    [513, 65, 2, 1],
    [2097016, 262127, 4096, 8],
    [262144 * 2 + 8, 65537, 1025, 3],
  ] as const) {
    const bitmap = new Bitmap(sector(sectors));
    t.is(bitmap.bits, bits);
    t.is(bitmap.wordCount, words);
    t.is(bitmap.pageCount, pages);
  }
});

test("§6.1: bit n is bit n mod 8 of byte n / 8", (t) => {
  const bitmap = ofBits(128);
  for (const n of [0, 9, 31, 32, 63, 64, 127]) bitmap.setRange(bit(n), bit(n + 1));
  const out = new Uint8Array(16);
  bitmap.copyOut(0, 2, out, 0);
  t.deepEqual([...out], [1, 2, 0, 0x80, 1, 0, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0x80]);
});

test("§6.1: padding behind the last bit stays 0 when all bits are set or merged", (t) => {
  const bitmap = ofBits(70);
  t.is(bitmap.setRange(bit(0), bit(70)), 70);
  const out = new Uint8Array(16).fill(9);
  bitmap.copyOut(0, 2, out, 0);
  t.deepEqual([...out.subarray(8)], [0x3f, 0, 0, 0, 0, 0, 0, 0]);
  const other = ofBits(70);
  t.is(other.mergeIn(0, 2, new Uint8Array(16).fill(0xff), 0), 70);
  t.is(other.count, 70);
  t.is(other.nextClear(bit(0)), NO_BIT);
});

test("§6.1: setting rounds outward, clearing inward", (t) => {
  const bitmap = ofBits(100);
  t.is(bitmap.setOutOfSync(sector(7), bytes(1024)), 2);
  t.is(bitmap.setOutOfSync(sector(7), bytes(1024)), 0);
  t.is(bitmap.setInSync(sector(1), bytes(15 * 512)), 1);
  t.true(bitmap.has(bit(0)));
  t.false(bitmap.has(bit(1)));
  t.is(bitmap.setInSync(sector(0), bytes(7 * 512)), 0);
  t.is(bitmap.setInSync(sector(0), bytes(8 * 512)), 1);
});

test("§6.1: the last partial block of the device counts as whole when the range reaches the end", (t) => {
  const bitmap = new Bitmap(sector(19));
  t.is(bitmap.setOutOfSync(sector(0), bytes(19 * 512)), 3);
  t.is(bitmap.setInSync(sector(16), bytes(2 * 512)), 0);
  t.is(bitmap.setInSync(sector(16), bytes(3 * 512)), 1);
  t.is(bitmap.setInSync(sector(0), bytes(19 * 512)), 2);
  t.is(bitmap.count, 0);
});

test("what lies behind the end of the device is ignored", (t) => {
  const bitmap = new Bitmap(sector(80));
  t.is(bitmap.setOutOfSync(sector(80), bytes(4096)), 0);
  t.is(bitmap.setOutOfSync(sector(72), bytes(1024 * 1024)), 1);
  t.is(bitmap.setInSync(sector(800), bytes(4096)), 0);
});

test("§9.5 vectors: the crashed Primary's bitmap has 65 bits, with its 67 extents marked 68613", (t) => {
  const bitmap = new Bitmap(sector(2097016));
  const before = vector("crashed-primary-1GiB.bm-before.bin");
  const after = vector("crashed-primary-1GiB.bm-after.bin");
  for (let page = 0; page < bitmap.pageCount; page++) bitmap.copyPageIn(page, before, page * 4096);
  t.is(bitmap.count, 65);
  t.is(bitmap.nextDirtyPage(), NO_PAGE);
  const extents = [4, 5, 13, 14, 15, 22, 23, 24, 32, 33, 41, 42, 50, 51, 52, 59, 60, 61, 69, 70, 78, 79, 87, 88, 89];
  extents.push(
    96,
    97,
    98,
    106,
    107,
    115,
    116,
    124,
    125,
    126,
    133,
    134,
    135,
    143,
    144,
    152,
    153,
    161,
    162,
    163,
    170,
    171,
  );
  extents.push(172, 180, 181, 189, 190, 198, 199, 200, 207, 208, 209, 217, 218, 226, 227, 235, 236, 237, 245, 246);
  for (const e of extents) bitmap.setRange(bit(e * 1024), bit((e + 1) * 1024));
  t.is(bitmap.count, 68613);
  const out = new Uint8Array(32768);
  for (let page = 0; page < bitmap.pageCount; page++) bitmap.copyPageOut(page, out, page * 4096);
  t.deepEqual(out, after);
});

test("pages become dirty by changes only, and again after they were cleaned", (t) => {
  const bitmap = ofBits(3 * 32768 + 5);
  t.is(bitmap.nextDirtyPage(), NO_PAGE);
  bitmap.clearRange(bit(0), bit(bitmap.bits));
  t.is(bitmap.nextDirtyPage(), NO_PAGE);
  bitmap.setRange(bit(32768), bit(32769));
  bitmap.setRange(bit(3 * 32768 + 4), bit(3 * 32768 + 5));
  t.is(bitmap.nextDirtyPage(), 1);
  t.is(bitmap.nextDirtyPage(2), 3);
  bitmap.cleanPage(1);
  bitmap.setRange(bit(32768), bit(32769));
  t.false(bitmap.isDirtyPage(1));
  bitmap.clearRange(bit(32768), bit(32769));
  t.true(bitmap.isDirtyPage(1));
  bitmap.soilAllPages();
  t.is(bitmap.nextDirtyPage(), 0);
});

test("a last page is padded with zeroes when copied out, and a copied-in one loses what does not exist", (t) => {
  const bitmap = ofBits(32768 + 3);
  bitmap.copyPageIn(1, new Uint8Array(4096).fill(0xff), 0);
  t.is(bitmap.count, 3);
  const out = new Uint8Array(4096).fill(0xee);
  bitmap.copyPageOut(1, out, 0);
  t.is(out[0], 7);
  t.true(out.subarray(1).every((b) => b === 0));
});

test("bits up to 2^32: 16 TiB of data", (t) => {
  const bitmap = ofBits(2 ** 32);
  t.is(bitmap.setRange(bit(2 ** 32 - 1), bit(2 ** 32)), 1);
  t.is(bitmap.setRange(bit(2 ** 31 - 1), bit(2 ** 31 + 1)), 2);
  t.is(bitmap.nextSet(bit(0)), bit(2 ** 31 - 1));
  t.is(bitmap.nextSet(bit(2 ** 31 + 1)), bit(2 ** 32 - 1));
  t.is(bitmap.nextSet(bit(2 ** 31 + 1), bit(2 ** 32 - 1)), NO_BIT);
  t.is(bitmap.nextClear(bit(2 ** 31 - 1)), bit(2 ** 31 + 1));
  t.is(bitmap.nextClear(bit(2 ** 32 - 1)), NO_BIT);
  t.is(bitmap.count, 3);
  t.is(bitmap.countRange(bit(2 ** 31), bit(2 ** 32)), 2);
  t.true(bitmap.any(bit(2 ** 31), bit(2 ** 31 + 1)));
  t.is(bitmap.setOutOfSync(sector(2 ** 34 + 9), bytes(512)), 1);
  t.true(bitmap.has(bit(2 ** 31 + 1)));
  t.throws(() => ofBits(2 ** 32 + 1));
});

test("growing keeps old bits and sets the new ones if asked, with a last block that was partial", (t) => {
  const bitmap = new Bitmap(sector(8 * 100 + 3));
  bitmap.setRange(bit(5), bit(6));
  bitmap.resize(sector(8 * 40000), true);
  t.is(bitmap.count, 1 + 40000 - 100);
  t.is(bitmap.nextSet(bit(6)), bit(100));
  const clear = new Bitmap(sector(8 * 100));
  clear.setRange(bit(5), bit(6));
  clear.resize(sector(8 * 40000), false);
  t.is(clear.count, 1);
  t.true(clear.isDirtyPage(1));
});

test("shrinking drops bits behind the end; growing again finds them clear", (t) => {
  const bitmap = ofBits(70000);
  bitmap.setRange(bit(0), bit(70000));
  bitmap.resize(sector(8 * 40001), false);
  t.is(bitmap.count, 40001);
  bitmap.resize(sector(8 * 70000), false);
  t.is(bitmap.count, 40001);
  t.is(bitmap.nextClear(bit(0)), bit(40001));
  t.is(bitmap.nextSet(bit(40001)), NO_BIT);
});

type Change =
  | { readonly kind: "set" | "clear"; readonly a: number; readonly b: number }
  | { readonly kind: "merge"; readonly a: number; readonly fill: readonly number[] }
  | { readonly kind: "resize"; readonly a: number; readonly set: boolean };

const MAX = 70_000;
/** Positions near the boundaries of cells, words and pages are where mistakes live. */
const position = fc.oneof(
  fc.nat(MAX),
  fc
    .tuple(fc.constantFrom(32, 64, 1024, 32768), fc.nat(200), fc.integer({ min: -2, max: 2 }))
    .map(([unit, n, d]) => Math.max(0, Math.min(MAX, unit * n + d))),
);
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom("set" as const, "clear" as const), a: position, b: position }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("merge" as const),
      a: position,
      fill: fc.array(fc.nat(255), { minLength: 8, maxLength: 80 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("resize" as const), a: position, set: fc.boolean() }) },
);

function applyBoth(bitmap: Bitmap, model: boolean[], c: Change): [number, number] {
  if (c.kind === "resize") {
    const before = model.length;
    bitmap.resize(sector(c.a * 8), c.set);
    model.length = c.a;
    if (c.a > before) model.fill(c.set, before);
    return [0, 0];
  }
  if (c.kind === "merge") {
    const words = Math.min(Math.floor(c.fill.length / 8), bitmap.wordCount);
    const word = Math.min(Math.floor(c.a / 64), bitmap.wordCount - words);
    let expected = 0;
    for (let n = 0; n < words * 64; n++) {
      const set = (((c.fill[Math.floor(n / 8)] ?? 0) >> (n % 8)) & 1) === 1;
      const at = word * 64 + n;
      if (!set || at >= model.length || model[at] === true) continue;
      model[at] = true;
      expected++;
    }
    return [bitmap.mergeIn(word, words, new Uint8Array(c.fill), 0), expected];
  }
  const [from, to] = [Math.min(c.a, c.b, model.length), Math.min(Math.max(c.a, c.b), model.length)];
  const set = c.kind === "set";
  let expected = 0;
  for (let n = from; n < to; n++) if (model[n] !== set) expected++;
  model.fill(set, from, to);
  return [set ? bitmap.setRange(bit(from), bit(to)) : bitmap.clearRange(bit(from), bit(to)), expected];
}

test("any sequence of changes equals a plain list of booleans: counts, searches, bytes, dirty pages", (t) => {
  fc.assert(
    fc.property(position, fc.array(change, { maxLength: 12 }), position, position, (size, changes, from, to) => {
      const bitmap = ofBits(size);
      const model = new Array<boolean>(size).fill(false);
      for (const c of changes) {
        const before = model.slice();
        for (let page = 0; page < bitmap.pageCount; page++) bitmap.cleanPage(page);
        const [got, expected] = applyBoth(bitmap, model, c);
        if (got !== expected) throw new Error(`${c.kind}: ${got} changed, expected ${expected}`);
        for (const [n, set] of model.entries())
          if (set !== (before[n] ?? false) && !bitmap.isDirtyPage(Math.floor(n / 32768)))
            throw new Error(`page of bit ${n} is not dirty`);
      }
      const sum = (list: boolean[]): number => list.reduce((n, set) => n + (set ? 1 : 0), 0);
      const end = Math.min(to, model.length);
      const within = (n: number): number => (n >= 0 && n < end ? n : NO_BIT);
      const facts: readonly (readonly [number, number])[] = [
        [bitmap.count, sum(model)],
        [bitmap.countRange(bit(from), bit(to)), sum(model.slice(from, Math.max(from, to)))],
        [bitmap.nextSet(bit(from), bit(to)), within(model.indexOf(true, from))],
        [bitmap.nextClear(bit(from), bit(to)), within(model.indexOf(false, from))],
        [bitmap.nextSet(bit(from)), model.indexOf(true, from)],
        [bitmap.nextClear(bit(from)), model.indexOf(false, from)],
      ];
      for (const [n, [got, expected]] of facts.entries())
        if (got !== expected) throw new Error(`fact ${n}: ${got}, ${expected}`);
      const out = new Uint8Array(bitmap.wordCount * 8);
      bitmap.copyOut(0, bitmap.wordCount, out, 0);
      for (let n = 0; n < out.length * 8; n++)
        if ((((out[Math.floor(n / 8)] ?? 0) >> (n % 8)) & 1) !== (model[n] === true ? 1 : 0))
          throw new Error(`bit ${n}`);
      const pages = new Uint8Array(4096);
      const again = ofBits(model.length);
      for (let page = 0; page < bitmap.pageCount; page++) {
        bitmap.copyPageOut(page, pages, 0);
        again.copyPageIn(page, pages, 0);
      }
      if (again.count !== bitmap.count) throw new Error("pages lose bits");
    }),
    { numRuns: 150 },
  );
  t.pass();
});
