import test from "ava";
import fc from "fast-check";
import { Overlap } from "../../../../src/core/volume/overlap.ts";

const MIB = 1024 * 1024;

interface Range {
  readonly at: number;
  readonly length: number;
  readonly reads: boolean;
}
interface Entry extends Range {
  readonly id: number;
  started: boolean;
}

/** The rule itself: a request may start when nothing earlier that conflicts with it is left. */
const mayStart = (all: readonly Entry[], n: number): boolean => {
  const mine = all[n];
  if (mine === undefined) return false;
  return !all
    .slice(0, n)
    .some((o) => !(o.reads && mine.reads) && o.at < mine.at + mine.length && mine.at < o.at + o.length);
};

const range: fc.Arbitrary<Range> = fc.record({
  // Around chunk borders, and 512 chunks apart, where ranges share a bucket.
  at: fc
    .tuple(fc.constantFrom(0, MIB, 2 * MIB, 512 * MIB, 513 * MIB, 2 ** 41), fc.integer({ min: -4, max: 4 }))
    .map(([base, n]) => Math.max(0, base + n * 65536)),
  length: fc.constantFrom(512, 4096, 65536, 3 * 65536, MIB, MIB + 512, 2 * MIB, 5 * MIB, 128 * MIB),
  reads: fc.boolean(),
});

test("a request starts when every earlier conflicting one has ended, and then at once (drbd-84 §8.1 step 1, §7.3)", (t) => {
  const step = fc.oneof(fc.record({ enter: range }), fc.record({ leave: fc.nat(100) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const all: Entry[] = [];
      const overlap = new Overlap(64, (id) => {
        const n = all.findIndex((entry) => entry.id === id);
        const entry = all[n];
        t.false(entry?.started ?? true, "started once");
        t.true(mayStart(all, n));
        if (entry !== undefined) entry.started = true;
      });
      let next = 0;
      for (const each of steps) {
        if ("enter" in each) {
          const entry: Entry = { ...each.enter, id: next++, started: false };
          all.push(entry);
          entry.started = overlap.enter(entry.id, entry.at, entry.length, entry.reads);
        } else {
          const running = all.filter(({ started }) => started);
          const ended = running[each.leave % Math.max(1, running.length)];
          if (ended === undefined) continue;
          all.splice(all.indexOf(ended), 1);
          overlap.leave(ended.id);
        }
        for (const [n, entry] of all.entries()) t.is(entry.started, mayStart(all, n));
        t.is(overlap.members, all.length);
      }
    }),
    { numRuns: 300 },
  );
});

test("what becomes ready together starts in the order it came", (t) => {
  const started: number[] = [];
  const overlap = new Overlap(8, (id) => started.push(id));
  overlap.enter(7, 0, 8192, false);
  overlap.enter(3, 4096, 512, false);
  overlap.enter(5, 0, 512, false);
  overlap.enter(1, 1024, 512, false);
  overlap.leave(7);
  t.deepEqual(started, [3, 5, 1]);
});

test("a chain of requests that end as soon as they start is worked off without a stack as deep as the chain", (t) => {
  const count = 6000;
  let ended = 0;
  const overlap: Overlap = new Overlap(count, (id) => {
    ended++;
    overlap.leave(id);
  });
  for (let id = 0; id < count; id++) overlap.enter(id, 0, 2 ** 40, false);
  overlap.leave(0);
  t.is(ended, count - 1);
  t.is(overlap.members, 0);
});

test("leaving without having entered is our bug and is said so", (t) => {
  t.throws(() => new Overlap(8, () => undefined).leave(3), { message: /not in/ });
});
