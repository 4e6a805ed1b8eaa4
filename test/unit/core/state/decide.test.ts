/**
 * From the comparison to the connection state, and what the operator decided about split brains: drbd-84 §5.5, §5.6.
 */
import test from "ava";
import {
  afterSplitBrainPolicies,
  policiesFor0Primaries,
  policiesFor1Primary,
  policiesFor2Primaries,
  recoverFromSplitBrain,
  type SplitBrain,
} from "../../../../src/core/state/after-split-brain.ts";
import { type Decision, decideSync, type HandshakeInput } from "../../../../src/core/state/decide.ts";
import { Conn, DiskState, Role } from "../../../../src/core/state/state.ts";
import type { UuidSet } from "../../../../src/core/state/uuids.ts";

const A = 0x1111_0000_0000_aaa0n;
const B = 0x2222_0000_0000_bbb0n;
const C = 0x3333_0000_0000_ccc0n;
const set = (current: bigint, bitmap = 0n, history1 = 0n, history2 = 0n): UuidSet => ({
  current,
  bitmap,
  history1,
  history2,
});
const equal = { self: set(A), peer: set(A) };
const older = { self: set(A), peer: set(B, A) };
const newer = { self: set(B, A), peer: set(A) };
const muchOlder = { self: set(A), peer: set(B, C, 8n, A) };
const splitBrain = { self: set(A, C), peer: set(B, C) };
const ambiguous = { self: set(A), peer: set(B) };
const unrelated = { self: set(A, 0n, 8n, 8n), peer: set(B, 0n, 16n, 16n) };

const base: HandshakeInput = {
  ...equal,
  crashedPrimary: false,
  role: Role.Secondary,
  peerRole: Role.Secondary,
  resolveConflicts: false,
  agreedVersion: 101,
  wsame: true,
  policies: {
    after0p: "disconnect",
    after1p: "disconnect",
    after2p: "disconnect",
    alwaysAsbp: false,
    rrConflict: "disconnect",
  },
  disk: DiskState.UpToDate,
  peerDisk: DiskState.UpToDate,
  sentBits: 3,
  bits: 3,
  peerBits: 5,
  peerFlags: 0,
  discardMyData: false,
  dryRun: false,
  mayDemote: false,
};
const policies = (more: Partial<HandshakeInput["policies"]>) => ({ policies: { ...base.policies, ...more } });
const summary = (d: Decision): string =>
  d.kind === "refuse"
    ? `refuse: ${d.refuse}${d.dryRun ? " (dry run)" : ""}`
    : `${d.conn === Conn.Connected ? "Connected" : d.conn === Conn.WFBitMapS ? "Source" : "Target"}` +
      `${d.full ? " full" : ""}${d.demote ? " demoted" : ""}`;
const unresolved = "refuse: Split-Brain detected but unresolved, dropping connection!";
const isb = "initial-split-brain";
const diskless = "refuse: I shall become SyncSource, but I am inconsistent!";
const priLost = "refuse: I shall become SyncTarget, but I am primary!";

type Case = readonly [string, Partial<HandshakeInput>, outcome: string, handlers?: readonly string[]];
const cases: readonly Case[] = [
  ["5.5/11 equal", equal, "Connected"],
  ["5.5/11 older", older, "Target"],
  ["5.5/11 newer", newer, "Source"],
  ["5.5/10 much older", muchOlder, "Target full"],
  ["5.5/10 the peer is fresh", { self: set(A), peer: set(4n), peerDisk: DiskState.Inconsistent }, "Source full"],
  ["5.5/1 unrelated", unrelated, "refuse: Unrelated data, aborting!"],
  [
    "5.5/1 version",
    { self: set(A, C), peer: set(A), agreedVersion: 90 },
    "refuse: To resolve this both sides have to support at least protocol 91",
  ],
  [
    "5.5/1 feature",
    { ...equal, crashedPrimary: true, role: Role.Primary, wsame: false },
    "refuse: To resolve this both sides have to support at least protocol 101 and feature flags 0x4",
  ],
  ["5.5/2 my disk is worse although newer", { ...newer, disk: DiskState.Inconsistent }, "Target"],
  ["5.5/2 the peer's disk is worse although newer", { ...older, peerDisk: DiskState.Inconsistent }, "Source"],
  ["5.5/2 worse and split brain", { ...splitBrain, disk: DiskState.Inconsistent }, "Target"],
  ["5.5/2 worse and ambiguous", { ...ambiguous, peerDisk: DiskState.Inconsistent }, "Source full"],
  ["5.5/2 worse and much older", { ...muchOlder, peerDisk: DiskState.Inconsistent }, "Source full"],
  ["5.5/7 both Inconsistent", { ...newer, disk: DiskState.Inconsistent, peerDisk: DiskState.Inconsistent }, diskless],
  ["5.5/6 split brain", splitBrain, unresolved, [isb, "split-brain"]],
  ["5.5/6 ambiguous", ambiguous, unresolved, [isb, "split-brain"]],
  ["5.5/4 least changes, mine", { ...splitBrain, ...policies({ after0p: "discard-least-changes" }) }, "Target", [isb]],
  [
    "5.5/4 an ambiguous one needs always-asbp",
    { ...ambiguous, ...policies({ after0p: "discard-least-changes" }) },
    unresolved,
    [isb, "split-brain"],
  ],
  [
    "5.5/4 always-asbp, and then in full",
    { ...ambiguous, ...policies({ after0p: "discard-least-changes", alwaysAsbp: true }) },
    "Target full",
    [isb],
  ],
  ["5.5/5 I discard", { ...splitBrain, discardMyData: true }, "Target", [isb]],
  ["5.5/5 the peer discards", { ...splitBrain, peerFlags: 1 }, "Source", [isb]],
  ["5.5/5 both discard", { ...splitBrain, peerFlags: 1, discardMyData: true }, unresolved, [isb, "split-brain"]],
  ["5.5/5 without split brain it means nothing", { ...newer, discardMyData: true }, "Source"],
  ["5.5/8 rr-conflict disconnect", { ...older, role: Role.Primary }, priLost],
  [
    "5.5/8 rr-conflict call-pri-lost",
    { ...older, role: Role.Primary, ...policies({ rrConflict: "call-pri-lost" }) },
    priLost,
    ["pri-lost"],
  ],
  ["5.5/8 rr-conflict violently", { ...older, role: Role.Primary, ...policies({ rrConflict: "violently" }) }, "Target"],
  ["5.5/8 not with a disk below Consistent", { ...older, role: Role.Primary, disk: DiskState.Outdated }, "Target"],
  [
    "5.5/9 dry run",
    { ...older, dryRun: true },
    "refuse: dry-run connect: Would become SyncTarget, doing a bit-map based resync. (dry run)",
  ],
  [
    "5.5/9 dry run, full",
    { self: set(A), peer: set(4n), peerDisk: 4, dryRun: true },
    "refuse: dry-run connect: Would become SyncSource, doing a full resync. (dry run)",
  ],
  [
    "5.5/9 dry run, nothing",
    { dryRun: true },
    "refuse: dry-run connect: No resync, would become Connected immediately. (dry run)",
  ],
  [
    "5.6 a Primary that is discarded steps down",
    {
      ...splitBrain,
      role: Role.Primary,
      mayDemote: true,
      ...policies({ after0p: "discard-local", after1p: "call-pri-lost-after-sb" }),
    },
    "Target demoted",
    [isb],
  ],
  [
    "5.6 a Primary that is discarded and in use",
    { ...splitBrain, role: Role.Primary, ...policies({ after0p: "discard-local", after1p: "call-pri-lost-after-sb" }) },
    unresolved,
    [isb, "pri-lost-after-sb", "split-brain"],
  ],
];

for (const [name, more, outcome, handlers] of cases)
  test(`§${name}: ${outcome}`, (t) => {
    const decision = decideSync({ ...base, ...more });
    t.is(summary(decision), outcome);
    t.deepEqual([...decision.handlers], [...(handlers ?? [])]);
    if (decision.kind === "refuse") t.is(decision.log.at(-1)?.text, decision.refuse);
  });

test("§5.4, §5.5: the log has DRBD's lines in DRBD's order (capture 51, as drbd1 logged it)", (t) => {
  const decision = decideSync({
    ...base,
    self: set(0x0b18718e2c2e819en, 0x867e95730382e348n),
    peer: set(0x9742d26546852560n, 0x867e95730382e349n),
    sentBits: 1,
    peerBits: 1,
    discardMyData: true,
  });
  t.deepEqual(
    decision.log.map((line) => line.text),
    [
      "drbd_sync_handshake:",
      "self 0B18718E2C2E819E:867E95730382E348:0000000000000000:0000000000000000 bits:1 flags:0",
      "peer 9742D26546852560:867E95730382E349:0000000000000000:0000000000000000 bits:1 flags:0",
      "uuid_compare()=100 by rule 90",
      "Split-Brain detected, manually solved. Sync from peer node",
    ],
  );
});

test("§5.4: a corrected set is shown before the verdict", (t) => {
  const decision = decideSync({ ...base, self: set(A), peer: set(B, A + 0x0001_0000_0000_0000n, A) });
  t.deepEqual(
    decision.log.slice(3).map((line) => line.text),
    [
      "Lost last syncUUID packet, corrected:",
      "peer 222200000000BBB0:111100000000AAA0:0000000000000000:0000000000000000 bits:5 flags:0",
      "uuid_compare()=-1 by rule 51",
    ],
  );
});

test("§5.6: the policies have their wire numbers", (t) => {
  t.deepEqual(afterSplitBrainPolicies.indexOf("disconnect"), 0);
  t.deepEqual(afterSplitBrainPolicies.indexOf("discard-least-changes"), 4);
  t.deepEqual(afterSplitBrainPolicies.indexOf("discard-remote"), 6);
  t.deepEqual(afterSplitBrainPolicies.indexOf("consensus"), 7);
  t.deepEqual(afterSplitBrainPolicies.indexOf("violently-as0p"), 10);
});

const bool = [false, true];
const roles = [Role.Primary, Role.Secondary];
function* splitBrains(): Generator<SplitBrain> {
  for (const after0p of policiesFor0Primaries)
    for (const after1p of policiesFor1Primary)
      for (const after2p of policiesFor2Primaries)
        for (const role of roles)
          for (const peerRole of roles)
            for (const wasPrimary of bool)
              for (const peerWasPrimary of bool)
                for (const changes of [0, 1, 2])
                  for (const peerChanges of [0, 1, 2])
                    for (const resolveConflicts of bool)
                      for (const mayDemote of bool)
                        yield {
                          after0p,
                          after1p,
                          after2p,
                          role,
                          peerRole,
                          wasPrimary,
                          peerWasPrimary,
                          changes,
                          peerChanges,
                          resolveConflicts,
                          mayDemote,
                        };
}

/** §5.6 read line by line: the verdict without what demotion makes of it. */
function byTheBook(s: SplitBrain): number {
  const tie = s.resolveConflicts ? -1 : 1;
  const [self, peer] = [Number(s.wasPrimary), Number(s.peerWasPrimary)];
  const zero = (): number => {
    if (s.changes === 0 && s.peerChanges === 0) return tie;
    if (s.peerChanges === 0) return 1;
    if (s.changes === 0) return -1;
    return -100;
  };
  const least = () => (s.changes < s.peerChanges ? -1 : s.changes > s.peerChanges ? 1 : tie);
  const zeroThenLeast = () => (zero() === -100 ? least() : zero());
  const olderFirst = () => (self === 0 && peer === 1 ? 1 : self === 1 && peer === 0 ? -1 : zeroThenLeast());
  const zeroPrimaries = (): number => {
    if (s.after0p === "discard-younger-primary")
      return self === 0 && peer === 1 ? -1 : self === 1 && peer === 0 ? 1 : olderFirst();
    if (s.after0p === "discard-older-primary") return olderFirst();
    if (s.after0p === "discard-zero-changes") return zero();
    if (s.after0p === "discard-least-changes") return least();
    if (s.after0p === "discard-local") return -1;
    return s.after0p === "discard-remote" ? 1 : -100;
  };
  const count = Number(s.role === Role.Primary) + Number(s.peerRole === Role.Primary);
  if (count === 0) return zeroPrimaries();
  const policy = count === 1 ? s.after1p : s.after2p;
  if (policy === "disconnect") return -100;
  if (policy === "discard-secondary") return s.role === Role.Primary ? 1 : -1;
  if (policy !== "consensus") return zeroPrimaries();
  const discardsSecondary = zeroPrimaries() === (s.role === Role.Primary ? 1 : -1);
  return discardsSecondary ? zeroPrimaries() : -100;
}

test("§5.6: every combination of policies, roles, changes and ties is judged as the reference tells", (t) => {
  let seen = 0;
  for (const s of splitBrains()) {
    const recovery = recoverFromSplitBrain(s);
    const count = Number(s.role === Role.Primary) + Number(s.peerRole === Role.Primary);
    const policy = count === 1 ? s.after1p : s.after2p;
    const mustDemote =
      count > 0 && policy === "call-pri-lost-after-sb" && s.role === Role.Primary && byTheBook(s) === -1;
    const expected = mustDemote && !s.mayDemote ? -100 : byTheBook(s);
    const handlers = mustDemote && !s.mayDemote ? 1 : 0;
    if (
      recovery.verdict !== expected ||
      recovery.demote !== (mustDemote && s.mayDemote) ||
      recovery.handlers.length !== handlers
    )
      t.fail(JSON.stringify({ s, recovery, expected }));
    seen++;
  }
  t.is(seen, 7 * 5 * 3 * 4 * 4 * 9 * 4);
});

const mirrorPolicy = { "discard-local": "discard-remote", "discard-remote": "discard-local" } as const;

test("§5.6: the two nodes come to mirrored verdicts under every policy", (t) => {
  for (const s of splitBrains()) {
    if (!s.mayDemote) continue;
    const mirrored = recoverFromSplitBrain({
      ...s,
      after0p: s.after0p in mirrorPolicy ? mirrorPolicy[s.after0p as keyof typeof mirrorPolicy] : s.after0p,
      role: s.peerRole,
      peerRole: s.role,
      wasPrimary: s.peerWasPrimary,
      peerWasPrimary: s.wasPrimary,
      changes: s.peerChanges,
      peerChanges: s.changes,
      resolveConflicts: !s.resolveConflicts,
    });
    const { verdict } = recoverFromSplitBrain(s);
    if (mirrored.verdict !== (verdict === -100 ? -100 : 0 - verdict)) t.fail(JSON.stringify(s));
  }
  t.pass();
});

test("§5.5: over all situations a node becomes Source exactly when its peer becomes Target, fully or not alike", (t) => {
  const situations = [equal, older, newer, muchOlder, splitBrain, ambiguous, unrelated];
  const disks = [DiskState.Inconsistent, DiskState.Outdated, DiskState.Consistent, DiskState.UpToDate];
  let agreed = 0;
  for (const sets of situations)
    for (const disk of disks)
      for (const peerDisk of disks)
        for (const alwaysAsbp of bool)
          for (const after0p of policiesFor0Primaries.slice(0, 5))
            for (const discardMyData of bool)
              for (const peerFlags of [0, 1]) {
                const input = {
                  ...base,
                  ...sets,
                  disk,
                  peerDisk,
                  discardMyData,
                  peerFlags,
                  ...policies({ alwaysAsbp, after0p }),
                };
                const one = decideSync(input);
                const other = decideSync({
                  ...input,
                  self: sets.peer,
                  peer: sets.self,
                  disk: peerDisk,
                  peerDisk: disk,
                  sentBits: input.peerBits,
                  bits: input.peerBits,
                  peerBits: input.sentBits,
                  resolveConflicts: true,
                  discardMyData: peerFlags === 1,
                  peerFlags: discardMyData ? 1 : 0,
                });
                // Rule 7: only the would-be Source of two Inconsistent disks notices; the connection ends for both.
                if (one.kind === "refuse" || other.kind === "refuse") {
                  const bothInconsistent = disk === DiskState.Inconsistent && peerDisk === DiskState.Inconsistent;
                  if (one.kind !== other.kind && !bothInconsistent) t.fail(JSON.stringify(input, (_, v) => String(v)));
                  continue;
                }
                const opposite = new Map([
                  [Conn.WFBitMapS, Conn.WFBitMapT],
                  [Conn.WFBitMapT, Conn.WFBitMapS],
                  [Conn.Connected, Conn.Connected],
                ]);
                t.is(other.conn, opposite.get(one.conn) ?? -1);
                t.is(other.full, one.full);
                agreed++;
              }
  t.true(agreed > 1000);
});
