import test from "ava";
import fc from "fast-check";
import { NO_MEMORY, Slab } from "../../../src/core/slab.ts";

const PAGE = 4096;
const MIB = 1024 * 1024;

/** Bytes a block of `length` takes: the next power of two, a page at least. */
function blockOf(length: number): number {
  let size = PAGE;
  while (size < length) size *= 2;
  return size;
}

test("blocks are aligned to their size, lie in the range and never overlap; what was given back can be had again", (t) => {
  const step = fc.oneof(
    fc.record({ take: fc.oneof(fc.integer({ min: 1, max: 3 * PAGE }), fc.integer({ min: 1, max: MIB })) }),
    fc.record({ give: fc.nat(1000) }),
  );
  fc.assert(
    fc.property(fc.constantFrom(0, MIB, 8 * MIB), fc.array(step, { maxLength: 200 }), (base, steps) => {
      const slab = new Slab(base, MIB);
      const held: { at: number; size: number }[] = [];
      for (const each of steps) {
        if ("give" in each) {
          const [block] = held.splice(each.give % Math.max(1, held.length), 1);
          if (block !== undefined) slab.free(block.at);
          continue;
        }
        const size = blockOf(each.take);
        const at = slab.allocate(each.take);
        const used = held.reduce((sum, block) => sum + block.size, 0);
        if (at === NO_MEMORY) {
          t.true(used + size > MIB || held.length > 0, "an empty slab has room for anything up to its length");
          continue;
        }
        t.is((at - base) % size, 0);
        t.true(at >= base && at + size <= base + MIB);
        t.true(held.every((block) => at + size <= block.at || block.at + block.size <= at));
        held.push({ at, size });
        t.is(slab.used, used + size);
      }
      for (const { at } of held) slab.free(at);
      t.is(slab.used, 0);
      t.is(slab.allocate(MIB), base, "everything has grown together again");
    }),
    { numRuns: 100 },
  );
});

test("nothing is handed out beyond the end, and more than the whole is refused", (t) => {
  const slab = new Slab(0, MIB);
  t.is(slab.allocate(MIB + 1), NO_MEMORY);
  const pages = Array.from({ length: MIB / PAGE }, () => slab.allocate(1));
  t.is(new Set(pages).size, MIB / PAGE);
  t.is(slab.allocate(1), NO_MEMORY);
});

test("a second free of the same block is our bug and is said so", (t) => {
  const slab = new Slab(0, MIB);
  const at = slab.allocate(PAGE);
  slab.free(at);
  t.throws(() => slab.free(at), { message: /not allocated/ });
  t.throws(() => slab.free(PAGE / 2), { message: /not allocated/ });
});
