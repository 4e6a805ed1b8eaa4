/** Whose data is newer: drbd-84 §5.4, over every combination of a small alphabet of UUIDs. */
import test from "ava";
import fc from "fast-check";
import { type CompareInput, compareRows, compareUuids, NEEDS_WSAME } from "../../../../src/core/state/compare.ts";
import { Role } from "../../../../src/core/state/state.ts";
import * as uuids from "../../../../src/core/state/uuids.ts";

const A = 0x1111_0000_0000_aaa0n;
const B = 0x2222_0000_0000_bbb0n;
const C = 0x3333_0000_0000_ccc0n;
const D = 0x4444_0000_0000_ddd0n;
const NEXT_A = A + 0x0001_0000_0000_0000n;
const set = (current: bigint, bitmap = 0n, history1 = 0n, history2 = 0n): uuids.UuidSet => ({
  current,
  bitmap,
  history1,
  history2,
});

const base: Omit<CompareInput, "self" | "peer"> = {
  crashedPrimary: false,
  peerCrashedPrimary: false,
  role: Role.Secondary,
  peerRole: Role.Secondary,
  resolveConflicts: false,
  agreedVersion: 101,
  wsame: true,
};
const compare = (self: uuids.UuidSet, peer: uuids.UuidSet, more: Partial<CompareInput> = {}) =>
  compareUuids({ ...base, self, peer, ...more });

interface Case {
  readonly rule: number;
  readonly result: number;
  readonly self: uuids.UuidSet;
  readonly peer: uuids.UuidSet;
  readonly more?: Partial<CompareInput>;
  readonly corrected?: { readonly self?: uuids.UuidSet; readonly peer?: uuids.UuidSet };
}

const crashed = { crashedPrimary: true };
const peerCrashed = { peerCrashedPrimary: true };
const bothCrashed = { ...crashed, ...peerCrashed };
const old = { agreedVersion: 95 };
const ancient = { agreedVersion: 90 };

const cases: readonly Case[] = [
  { rule: 10, result: 0, self: set(4n), peer: set(5n) },
  { rule: 20, result: -2, self: set(4n), peer: set(A) },
  { rule: 20, result: -2, self: set(0n), peer: set(A) },
  { rule: 30, result: 2, self: set(A), peer: set(4n) },
  { rule: 30, result: 2, self: set(A), peer: set(0n) },
  { rule: 34, result: 1, self: set(A, B, C), peer: set(A, 0n, B, C), corrected: { self: set(A, 0n, B, C) } },
  { rule: 35, result: -1, self: set(A, 0n, B, C), peer: set(A, B, C), corrected: { peer: set(A, 0n, B, C) } },
  { rule: 36, result: 1, self: set(A, B, C), peer: set(A, 0n, C, D) },
  { rule: 37, result: -1, self: set(A, 0n, C, D), peer: set(A, B, C) },
  { rule: 34, result: -1091, self: set(A, B, C), peer: set(A, 0n, B, C), more: ancient },
  { rule: 35, result: -1091, self: set(A, 0n, B, C), peer: set(A, B, C), more: ancient },
  { rule: 36, result: -1091, self: set(A, B, C), peer: set(A, 0n, C, D), more: ancient },
  { rule: 37, result: -1091, self: set(A, 0n, C, D), peer: set(A, B, C), more: ancient },
  // Empty means 0 with bit 0 counted: a slot of 1 is not empty, so neither 34 to 37 applies.
  { rule: 40, result: 0, self: set(A, 1n), peer: set(A, B) },
  { rule: 40, result: 0, self: set(A), peer: set(A | 1n) },
  { rule: 40, result: 1, self: set(A), peer: set(A), more: crashed },
  { rule: 40, result: -1, self: set(A), peer: set(A), more: peerCrashed },
  { rule: 40, result: 1, self: set(A), peer: set(A), more: bothCrashed },
  { rule: 40, result: -1, self: set(A), peer: set(A), more: { ...bothCrashed, resolveConflicts: true } },
  { rule: 41, result: 1, self: set(A), peer: set(A), more: { ...peerCrashed, role: Role.Primary } },
  { rule: 41, result: -1, self: set(A), peer: set(A), more: { ...crashed, peerRole: Role.Primary } },
  {
    rule: 41,
    result: -100,
    self: set(A),
    peer: set(A),
    more: { ...crashed, role: Role.Primary, peerRole: Role.Primary },
  },
  {
    rule: 41,
    result: -(0x10000 + 101 + 4 * 256),
    self: set(A),
    peer: set(A),
    more: { ...crashed, role: Role.Primary, wsame: false },
  },
  { rule: 50, result: -1, self: set(A), peer: set(B, A | 1n) },
  { rule: 51, result: -1, self: set(A), peer: set(B, NEXT_A, A, C), corrected: { peer: set(B, A, C, C) } },
  { rule: 60, result: -2, self: set(A), peer: set(B, D, A, C) },
  { rule: 51, result: -1, self: set(A, 0n, C), peer: set(B, D, A, C), more: old, corrected: { peer: set(B, A, C, C) } },
  { rule: 60, result: -2, self: set(A, 0n, D), peer: set(B, NEXT_A, A, C), more: old },
  { rule: 51, result: -1091, self: set(A, 0n, C), peer: set(B, D, A, C), more: ancient },
  { rule: 60, result: -2, self: set(A), peer: set(B, D, C, A) },
  { rule: 70, result: 1, self: set(B, A | 1n), peer: set(A) },
  { rule: 71, result: 1, self: set(B, NEXT_A, A, C), peer: set(A), corrected: { self: set(B, A, C, C) } },
  { rule: 71, result: 1, self: set(B, D, A, C), peer: set(A, 0n, C), more: old, corrected: { self: set(B, A, C, C) } },
  { rule: 71, result: -1091, self: set(B, D, A, C), peer: set(A, 0n, C), more: ancient },
  { rule: 80, result: 2, self: set(B, D, A, C), peer: set(A) },
  { rule: 80, result: 2, self: set(B, D, C, A), peer: set(A) },
  { rule: 90, result: 100, self: set(A, C | 1n), peer: set(B, C) },
  { rule: 100, result: -100, self: set(A, C, D, C), peer: set(B, D, NEXT_A, D) },
  { rule: 100, result: -100, self: set(A), peer: set(B) },
  { rule: 100, result: -1000, self: set(A, 0n, C, C), peer: set(B, 0n, D, D) },
];

for (const { rule, result, self, peer, more, corrected } of cases)
  test(`§5.4 rule ${rule} gives ${result}: ${uuids.uuidSetText(self)} against ${uuids.uuidSetText(peer)} ${JSON.stringify(more ?? {})}`, (t) => {
    const got = compare(self, peer, more);
    t.deepEqual({ rule: got.rule, result: got.result }, { rule, result });
    t.deepEqual(got.self, corrected?.self ?? self);
    t.deepEqual(got.peer, corrected?.peer ?? peer);
  });

test("§5.4: every row of the table is the deciding one in some case", (t) => {
  const decided = new Set(
    cases.map((c) => {
      const input = { ...base, self: c.self, peer: c.peer, ...c.more };
      return compareRows.findIndex((row) => row.when(input));
    }),
  );
  t.is(decided.size, compareRows.length);
});

/** The rules as the reference tells them, one after another, with the corrections left out. */
function byTheBook(i: CompareInput): [result: number, rule: number] {
  const eq = (a: bigint, b: bigint) => a >> 1n === b >> 1n;
  const { self: s, peer: p, agreedVersion: apv } = i;
  const s4 = eq(s.current, 4n);
  const p4 = eq(p.current, 4n);
  if (s4 && p4) return [0, 10];
  if ((s4 || eq(s.current, 0n)) && !p4) return [-2, 20];
  if (!s4 && (p4 || eq(p.current, 0n))) return [2, 30];
  if (eq(s.current, p.current)) {
    const tooOld = apv < 91;
    if (p.bitmap === 0n && s.bitmap !== 0n) {
      const missed = eq(s.bitmap, p.history1) && eq(s.history1, p.history2);
      return [tooOld ? -1091 : 1, missed ? 34 : 36];
    }
    if (s.bitmap === 0n && p.bitmap !== 0n) {
      const missed = eq(s.history1, p.bitmap) && eq(s.history2, p.history1);
      return [tooOld ? -1091 : -1, missed ? 35 : 37];
    }
    const rct = (i.crashedPrimary ? 1 : 0) + (i.peerCrashedPrimary ? 2 : 0);
    if (rct === 0) return [0, 40];
    const mine = i.role === Role.Primary;
    const theirs = i.peerRole === Role.Primary;
    if (mine || theirs) {
      if (!i.wsame) return [-0x10000 - 101 - 1024, 41];
      if (mine && theirs) return [-100, 41];
      return [mine ? 1 : -1, 41];
    }
    return [rct === 1 ? 1 : rct === 2 ? -1 : i.resolveConflicts ? -1 : 1, 40];
  }
  if (eq(s.current, p.bitmap)) return [-1, 50];
  const off = 0x0001_0000_0000_0000n;
  if (eq(s.current, p.history1) && (apv >= 96 ? eq((p.history1 & ~1n) + off, p.bitmap) : eq(s.history1, p.history2)))
    return [apv < 91 ? -1091 : -1, 51];
  if (eq(s.current, p.history1) || eq(s.current, p.history2)) return [-2, 60];
  if (eq(s.bitmap, p.current)) return [1, 70];
  if (eq(s.history1, p.current) && (apv >= 96 ? eq((s.history1 & ~1n) + off, s.bitmap) : eq(s.history2, p.history1)))
    return [apv < 91 ? -1091 : 1, 71];
  if (eq(s.history1, p.current) || eq(s.history2, p.current)) return [2, 80];
  if (eq(s.bitmap, p.bitmap) && !eq(s.bitmap, 0n)) return [100, 90];
  for (const own of [s.history1, s.history2]) if (eq(own, p.history1) || eq(own, p.history2)) return [-100, 100];
  return [-1000, 100];
}

const alphabet = [0n, 1n, 4n, A, NEXT_A | 1n, B];
function* allSets(): Generator<uuids.UuidSet> {
  for (const current of alphabet)
    for (const bitmap of alphabet)
      for (const history1 of alphabet)
        for (const history2 of [0n, A, B]) yield set(current, bitmap, history1, history2);
}

test("§5.4: all pairs of sets over six UUIDs, at versions 90, 95 and 101, decide as the reference tells", (t) => {
  const sets = [...allSets()];
  let compared = 0;
  for (const self of sets)
    for (const peer of sets)
      for (const agreedVersion of [90, 95, 101]) {
        const input = { ...base, self, peer, agreedVersion };
        const got = compareUuids(input);
        const [result, rule] = byTheBook(input);
        if (got.result !== result || got.rule !== rule)
          t.fail(`${uuids.uuidSetText(self)} ${uuids.uuidSetText(peer)} ${agreedVersion}: ${got.rule} ${rule}`);
        compared++;
      }
  t.is(compared, 648 * 648 * 3);
});

test("§5.4 rules 40, 41: every combination of crash flags, roles, tie break and feature", (t) => {
  const bool = [false, true];
  const roles = [Role.Primary, Role.Secondary];
  for (const crashedPrimary of bool)
    for (const peerCrashedPrimary of bool)
      for (const role of roles)
        for (const peerRole of roles)
          for (const resolveConflicts of bool)
            for (const wsame of bool) {
              const flags = { crashedPrimary, peerCrashedPrimary, role, peerRole, resolveConflicts, wsame };
              const input = { ...base, self: set(A), peer: set(A), ...flags };
              const got = compareUuids(input);
              t.deepEqual([got.result, got.rule], byTheBook(input), JSON.stringify(flags));
              const mirrored = compareUuids({
                ...input,
                crashedPrimary: peerCrashedPrimary,
                peerCrashedPrimary: crashedPrimary,
                role: peerRole,
                peerRole: role,
                resolveConflicts: !resolveConflicts,
              });
              const symmetric = got.result === -100 || got.result === NEEDS_WSAME;
              t.is(mirrored.result, symmetric ? got.result : 0 - got.result, JSON.stringify(flags));
            }
});

const isSymmetric = (result: number): boolean => Math.abs(result) >= 100;

test("§5.4: mirrored inputs give mirrored results wherever not each of the two sets knows the other's Current", (t) => {
  const sets = [...allSets()].filter((s) => s.current > 1n);
  const knows = (a: uuids.UuidSet, b: uuids.UuidSet): boolean =>
    [a.bitmap, a.history1, a.history2].some((uuid) => uuids.sameGeneration(uuid, b.current));
  let compared = 0;
  for (const self of sets)
    for (const peer of sets) {
      const equal = uuids.sameGeneration(self.current, peer.current);
      if (!equal && knows(self, peer) && knows(peer, self)) continue;
      const one = compare(self, peer);
      const other = compare(peer, self, { resolveConflicts: true });
      const expected = isSymmetric(one.result) ? one.result : 0 - one.result;
      if (other.result !== expected) t.fail(`${uuids.uuidSetText(self)} ${uuids.uuidSetText(peer)}`);
      compared++;
    }
  t.true(compared > 100_000);
});

/**
 * Two nodes live through random events of §5.2, each step as the kernel would take it; crashes fall between the
 * packets.
 */
type Event = "promote 0" | "promote 1" | "connect" | "sync, P_SYNC_UUID lost" | "sync, finish lost" | "sync";
const events: readonly Event[] = [
  "promote 0",
  "promote 1",
  "connect",
  "sync, P_SYNC_UUID lost",
  "sync, finish lost",
  "sync",
];

test("§5.2 with §5.4: after any history of promotions and interrupted resyncs the two nodes decide mirrored", (t) => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...events), { maxLength: 14 }), fc.bigInt({ min: 1n }), (history, seed) => {
      let random = seed;
      const next = () => (random = (random * 6364136223846793005n + 1442695040888963407n) & 0xffff_ffff_ffff_ffffn);
      const start = set(A);
      let nodes: [uuids.UuidSet, uuids.UuidSet] = [start, start];
      for (const event of history) {
        if (event === "promote 0" || event === "promote 1") {
          const which = event === "promote 0" ? 0 : 1;
          const alone = nodes[which];
          // A Primary without peer starts a generation unless one is open already; then it is demoted.
          const opened = alone.bitmap === 0n ? uuids.newCurrent(alone, next(), true) : alone;
          nodes[which] = uuids.setPrimaryBit(opened, false);
          continue;
        }
        const one = compare(nodes[0], nodes[1]);
        const other = compare(nodes[1], nodes[0], { resolveConflicts: true });
        if (other.result !== (isSymmetric(one.result) ? one.result : 0 - one.result)) return false;
        if (one.result === 0 || isSymmetric(one.result)) continue;
        const isSource = one.result > 0;
        const source = isSource ? one.self : other.self;
        const target = isSource ? other.self : one.self;
        const sent = source;
        const started = uuids.resyncStartSource(source, next());
        let after: [uuids.UuidSet, uuids.UuidSet] = [started.set, target];
        if (event === "connect") after = [source, target];
        else if (event !== "sync, P_SYNC_UUID lost") {
          const syncing = uuids.resyncStartTarget(target, started.syncUuid, false);
          const finished = uuids.resyncFinishedTarget(syncing, sent, false);
          after = [event === "sync" ? uuids.resyncFinishedSource(started.set) : started.set, finished];
        }
        nodes = isSource ? after : [after[1], after[0]];
        if (event === "sync" && compare(nodes[0], nodes[1]).result !== 0) return false;
      }
      return true;
    }),
    { numRuns: 3000, seed: 84 },
  );
  t.pass();
});
