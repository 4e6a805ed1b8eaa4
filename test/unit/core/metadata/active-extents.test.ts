import test from "ava";
import fc from "fast-check";
import {
  ActiveExtents,
  AL_ACTIVE,
  AL_BUSY,
  AL_FULL,
  AL_PENDING,
  AL_STARVED,
  type AlUse,
  bitmapPageOf,
  NO_SLOT,
} from "../../../../src/core/metadata/active-extents.ts";
import {
  AL_BLOCK_BYTES,
  encodeTransaction,
  replayActivityLog,
  ringPosition,
} from "../../../../src/core/metadata/activity-log.ts";
import type { AlLayout } from "../../../../src/core/metadata/geometry.ts";
import { type AlExtent, alExtent } from "../../../../src/core/units.ts";
import { memoryOf } from "./vectors.ts";

const settle = (extents: ActiveExtents): void => {
  if (extents.begin()) extents.commit();
};
const evictedBy = (extents: ActiveExtents): AlExtent[] =>
  Array.from({ length: extents.evictedCount }, (_, n) => extents.evicted(n));

test("§9.5: free slots are handed out from the highest down", (t) => {
  const extents = new ActiveExtents(67);
  t.is(extents.use(alExtent(1000), 3), AL_PENDING);
  settle(extents);
  t.deepEqual(
    [1000, 1001, 1002].map((n) => extents.lookup(alExtent(n))),
    [66, 65, 64],
  );
});

test("§8.1 step 2: an extent is active only after its transaction; then it costs nothing", (t) => {
  const extents = new ActiveExtents(67);
  t.is(extents.use(alExtent(7), 1), AL_PENDING);
  t.is(extents.lookup(alExtent(7)), NO_SLOT);
  t.true(extents.begin());
  t.is(extents.use(alExtent(7), 1), AL_PENDING);
  extents.commit();
  t.is(extents.lookup(alExtent(7)), 66);
  t.is(extents.use(alExtent(7), 1), AL_ACTIVE);
  t.is(extents.referencesOf(alExtent(7)), 3);
  t.false(extents.begin());
});

test("the least recently used extent without references gives way, and is named before the transaction is written", (t) => {
  const extents = new ActiveExtents(3);
  for (const n of [10, 11, 12]) {
    extents.use(alExtent(n), 1);
    settle(extents);
  }
  extents.unuse(alExtent(11), 1);
  extents.unuse(alExtent(10), 1);
  extents.use(alExtent(11), 1);
  extents.unuse(alExtent(11), 1);
  t.is(extents.use(alExtent(20), 1), AL_PENDING);
  t.deepEqual(evictedBy(extents), [alExtent(10)]);
  t.is(extents.lookup(alExtent(10)), NO_SLOT);
  t.true(extents.begin());
  t.is(extents.transaction.context[2], 10, "the context shows the old content of the slot");
  extents.commit();
  t.is(extents.lookup(alExtent(20)), 2);
  t.is(extents.evictedCount, 0);
});

test("a request takes all its extents or none", (t) => {
  const extents = new ActiveExtents(3);
  extents.use(alExtent(0), 2);
  settle(extents);
  t.is(extents.use(alExtent(1), 3), AL_STARVED);
  t.deepEqual(
    [0, 1, 2, 3].map((n) => extents.referencesOf(alExtent(n))),
    [1, 1, 0, 0],
  );
});

test("the unreferenced extents of a request cannot give way to its missing ones", (t) => {
  const extents = new ActiveExtents(2);
  extents.use(alExtent(5), 2);
  settle(extents);
  extents.unuse(alExtent(6), 1);
  t.is(extents.use(alExtent(6), 2), AL_STARVED);
  extents.unuse(alExtent(5), 1);
  t.is(extents.use(alExtent(6), 2), AL_PENDING);
  t.deepEqual(evictedBy(extents), [alExtent(5)]);
});

test("while starving nothing new is admitted, until a slot becomes free", (t) => {
  const extents = new ActiveExtents(2);
  extents.use(alExtent(0), 2);
  settle(extents);
  t.is(extents.use(alExtent(9), 1), AL_STARVED);
  t.is(extents.use(alExtent(0), 1), AL_STARVED);
  extents.unuse(alExtent(1), 1);
  t.is(extents.use(alExtent(9), 1), AL_PENDING);
});

test("§9.5: at most 64 changes in one transaction; what comes while it is in flight waits for the next", (t) => {
  const extents = new ActiveExtents(1237);
  t.is(extents.use(alExtent(0), 64), AL_PENDING);
  t.is(extents.use(alExtent(64), 1), AL_FULL);
  t.is(extents.use(alExtent(63), 2), AL_FULL);
  t.true(extents.begin());
  t.is(extents.use(alExtent(64), 1), AL_BUSY);
  t.is(extents.transaction.updates, 64);
  extents.commit();
  t.is(extents.use(alExtent(64), 1), AL_PENDING);
  t.is(extents.activeCount, 64);
});

test("§9.5: the context window moves by 919 slots and starts again behind the last", (t) => {
  const extents = new ActiveExtents(2000);
  const starts: number[] = [];
  for (let n = 0; n < 5; n++) {
    extents.use(alExtent(n), 1);
    extents.begin();
    starts.push(extents.transaction.contextStart);
    extents.commit();
  }
  t.deepEqual(starts, [0, 919, 1838, 0, 919]);
});

test("a failed transaction keeps its changes and its number for the next attempt", (t) => {
  const extents = new ActiveExtents(2);
  extents.use(alExtent(1), 2);
  settle(extents);
  extents.unuse(alExtent(1), 2);
  extents.use(alExtent(8), 1);
  extents.begin();
  const { trNumber } = extents.transaction;
  extents.abort();
  t.is(extents.lookup(alExtent(8)), NO_SLOT);
  t.is(extents.lookup(alExtent(1)), NO_SLOT, "what gives way may be gone from the disk already");
  t.is(extents.use(alExtent(9), 1), AL_PENDING);
  t.true(extents.begin());
  t.is(extents.transaction.trNumber, trNumber);
  t.deepEqual(evictedBy(extents), [alExtent(1), alExtent(2)]);
  extents.commit();
  t.is(extents.activeCount, 2);
});

test("numbers wrap at 2^32", (t) => {
  const extents = new ActiveExtents(67, 2 ** 32 - 1);
  extents.use(alExtent(1), 1);
  extents.begin();
  t.is(extents.transaction.trNumber, 2 ** 32 - 1);
  extents.commit();
  t.is(extents.nextTransaction, 0);
});

test("forgetting unused extents frees their slots and no others", (t) => {
  const extents = new ActiveExtents(67);
  extents.use(alExtent(0), 4);
  settle(extents);
  extents.unuse(alExtent(1), 2);
  t.is(extents.forgetUnused(), 2);
  t.deepEqual(
    [0, 1, 2, 3].map((n) => extents.lookup(alExtent(n))),
    [66, NO_SLOT, NO_SLOT, 63],
  );
  extents.checkInvariants();
});

test("§6.4: a bitmap page covers 32 extents", (t) => {
  t.deepEqual(
    [0, 31, 32, 2 ** 22 - 1].map((n) => bitmapPageOf(alExtent(n))),
    [0, 0, 1, 2 ** 17 - 1],
  );
});

/** The rules of this cache without any cleverness: maps, arrays and searching. */
class Model {
  readonly slots: (number | undefined)[];
  readonly free: number[];
  /** Slots, least recently used first. */
  unused: number[] = [];
  readonly references = new Map<number, number>();
  pending: { slot: number; extent: number }[] = [];
  inFlight = false;
  starving = false;

  constructor(size: number) {
    this.slots = new Array<number | undefined>(size).fill(undefined);
    this.free = Array.from({ length: size }, (_, n) => n);
  }

  active(): number[] {
    const changing = new Set(this.pending.map((p) => p.slot));
    return this.slots.flatMap((extent, slot) => (extent === undefined || changing.has(slot) ? [] : [extent]));
  }

  use(first: number, count: number): AlUse {
    if (this.starving) return AL_STARVED;
    const wanted = Array.from({ length: count }, (_, n) => first + n);
    const active = new Set(this.active());
    const missing = wanted.filter((e) => !active.has(e) && !this.pending.some((p) => p.extent === e));
    if (missing.length > 0) {
      if (this.inFlight) return AL_BUSY;
      const givable = this.free.length + this.unused.filter((s) => !wanted.includes(this.slots[s] ?? -1)).length;
      if (givable < missing.length) {
        this.starving = true;
        return AL_STARVED;
      }
      if (this.pending.length + missing.length > 64) return AL_FULL;
    }
    for (const e of wanted) {
      this.references.set(e, (this.references.get(e) ?? 0) + 1);
      this.unused = this.unused.filter((s) => this.slots[s] !== e);
    }
    for (const extent of missing) {
      const slot = this.free.pop() ?? this.unused.shift();
      if (slot === undefined) throw new Error("model: no slot");
      this.pending.push({ slot, extent });
    }
    return wanted.every((e) => active.has(e)) ? AL_ACTIVE : AL_PENDING;
  }

  unuse(first: number, count: number): void {
    for (let e = first; e < first + count; e++) {
      const left = (this.references.get(e) ?? 0) - 1;
      this.references.set(e, left);
      if (left === 0 && !this.pending.some((p) => p.extent === e)) this.#release(this.slots.indexOf(e));
    }
  }

  #release(slot: number): void {
    this.unused.push(slot);
    this.starving = false;
  }

  commit(): void {
    const done = this.pending;
    this.pending = [];
    this.inFlight = false;
    for (const { slot, extent } of done) {
      this.slots[slot] = extent;
      if ((this.references.get(extent) ?? 0) === 0) this.#release(slot);
    }
  }
}

type Step =
  | { readonly kind: "use"; readonly first: number; readonly count: number }
  | { readonly kind: "unuse"; readonly which: number }
  | { readonly kind: "begin" | "commit" | "abort" | "torn" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("use" as const),
      first: fc.nat(40),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 7, arbitrary: fc.record({ kind: fc.constant("unuse" as const), which: fc.nat(1000) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom("begin" as const, "commit" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("abort" as const, "torn" as const) }) },
);

/** Runs steps on both, comparing after each; `onCommit` sees the log whenever a block was written. */
function compare(slots: number, steps: readonly Step[], al: AlLayout, spread: number): void {
  const extents = new ActiveExtents(slots);
  const model = new Model(slots);
  const disk = memoryOf(al.stripes * al.stripeSize4k * AL_BLOCK_BYTES);
  const held: (readonly [AlExtent, number])[] = [];
  const replayed = (): readonly number[] => replayActivityLog(disk.bytes).extents;
  const sorted = (list: number[]): number[] => list.sort((a, b) => a - b);
  const write = (): number => {
    const at = AL_BLOCK_BYTES * ringPosition(extents.transaction.trNumber, al);
    encodeTransaction(disk, at, extents.transaction);
    return at;
  };
  let exact = true;
  const check = (): void => {
    extents.checkInvariants();
    const active = sorted(model.active());
    expectEqual(
      sorted(Array.from({ length: slots }, (_, s) => extents.extentAt(s)).filter((e) => e !== NO_SLOT)),
      active,
    );
    const onDisk = new Set(replayed());
    const missing = active.filter((e) => !onDisk.has(e));
    expectEqual(missing, [], "active extents that the disk does not list");
    if (exact && model.pending.length === 0) expectEqual([...onDisk], active, "replay of the disk");
  };
  for (const s of steps) {
    if (s.kind === "use") {
      const first = alExtent(s.first * spread);
      const count = Math.min(s.count, slots);
      const answer = extents.use(first, count);
      expectEqual(answer, model.use(first, count), "use");
      if (answer === AL_ACTIVE || answer === AL_PENDING) held.push([first, count]);
    } else if (s.kind === "unuse") {
      const [one] = held.splice(s.which % Math.max(1, held.length), 1);
      if (one) {
        extents.unuse(...one);
        model.unuse(...one);
      }
    } else if (s.kind === "begin") {
      expectEqual(extents.begin(), !model.inFlight && model.pending.length > 0, "begin");
      model.inFlight ||= model.pending.length > 0;
      expectEqual(extents.transaction.updates === 0 || extents.pendingCount === model.pending.length, true);
    } else if (model.inFlight) {
      const before = disk.bytes.slice();
      const at = write();
      if (s.kind === "commit") {
        extents.commit();
        model.commit();
        exact = true;
      } else {
        // The write failed: not at all, or half way.
        if (s.kind === "abort") disk.bytes.set(before);
        else disk.bytes.fill(0xa5, at + 2048, at + AL_BLOCK_BYTES);
        exact = false;
        extents.abort();
        model.inFlight = false;
      }
    }
    check();
  }
}

function expectEqual<T>(actual: T, expected: T, what = ""): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${a}, expected ${b}`);
}

for (const [slots, al, spread] of [
  [1, { stripes: 1, stripeSize4k: 8 }, 1],
  [5, { stripes: 1, stripeSize4k: 8 }, 1],
  [12, { stripes: 3, stripeSize4k: 5 }, 1],
  [67, { stripes: 1, stripeSize4k: 8 }, 2 ** 26 - 1],
] as const)
  test(`${slots} slots behave as the plain model, and the disk replays to the active set after every step`, (t) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => compare(slots, steps, al, spread)),
      { numRuns: 60 },
    );
    t.pass();
  });

/** Many extents over the largest slot table an activity log of 32 KiB can repeat, one transaction after another, each also torn. */
test("§9.5: 6433 slots on 8 blocks: every prefix replays to the active set, with the last block torn to the set before", (t) => {
  const al = { stripes: 1, stripeSize4k: 8 };
  const slots = 6433;
  const extents = new ActiveExtents(slots);
  const disk = memoryOf(8 * AL_BLOCK_BYTES);
  const active = (): number[] =>
    Array.from({ length: slots }, (_, s) => extents.extentAt(s))
      .filter((e) => e !== NO_SLOT)
      .sort((a, b) => a - b);
  for (let n = 0; n < 8; n++) {
    extents.beginEmpty();
    encodeTransaction(disk, AL_BLOCK_BYTES * ringPosition(extents.transaction.trNumber, al), extents.transaction);
    extents.commit();
  }
  for (let n = 0; n < 240; n++) {
    // 64 new extents each, after 100 rounds the oldest give way.
    const first = alExtent(n * 64);
    t.is(extents.use(first, 64), AL_PENDING);
    t.true(extents.begin());
    const before = replayActivityLog(disk.bytes).extents;
    const at = AL_BLOCK_BYTES * ringPosition(extents.transaction.trNumber, al);
    disk.bytes.fill(0x5a, at + 512 * (n % 8), at + AL_BLOCK_BYTES);
    if (n % 8 === 0) t.deepEqual(replayActivityLog(disk.bytes).extents, before);
    encodeTransaction(disk, at, extents.transaction);
    extents.commit();
    extents.unuse(first, 64);
    if (n % 8 === 7) t.deepEqual(replayActivityLog(disk.bytes).extents, active());
  }
  t.is(extents.activeCount, slots);
  extents.checkInvariants();
});
