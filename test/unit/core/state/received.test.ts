/** What a received P_STATE and P_UUIDS mean: drbd-84 §3.5, §3.6, §4.8. */
import test from "ava";
import {
  answersPeerState,
  applyPeerState,
  considersResync,
  type PeerStateFacts,
  type PeerStateReading,
  readPeerState,
  readPeerUuids,
} from "../../../../src/core/state/received.ts";
import { Conn, DiskState, initialState, Role, type State } from "../../../../src/core/state/state.ts";
import { stateOf } from "./_word.ts";

const D = DiskState;
const pair: State = {
  ...initialState,
  peer: Role.Secondary,
  conn: Conn.Connected,
  disk: D.UpToDate,
  pdsk: D.UpToDate,
};
const fresh: State = { ...pair, conn: Conn.WFReportParams, peer: Role.Unknown, pdsk: D.DUnknown };
const facts: PeerStateFacts = { uuidFlags: 0, considerResync: false, bits: 0, failedBits: 0 };
const source: State = { ...pair, conn: Conn.SyncSource, pdsk: D.Inconsistent };

type Case = readonly [string, own: State, peer: State, Partial<PeerStateFacts>, PeerStateReading];
const cases: readonly Case[] = [
  ["closing", { ...pair, conn: Conn.TearDown }, pair, {}, { kind: "closing" }],
  [
    "§3.6 a new connection; the first P_STATE's conn, WFConnection, is ignored",
    fresh,
    stateOf(0x0000d081),
    {},
    { kind: "apply", pdsk: D.UpToDate, conn: Conn.Connected, decide: true },
  ],
  [
    "§3.6 a new connection to a peer without disk",
    fresh,
    { ...fresh, disk: D.Diskless },
    { uuidFlags: undefined },
    { kind: "apply", pdsk: D.Diskless, conn: Conn.Connected, decide: false },
  ],
  [
    "§3.6 a new connection without own disk",
    { ...fresh, disk: D.Diskless },
    fresh,
    {},
    { kind: "apply", pdsk: D.UpToDate, conn: Conn.Connected, decide: false },
  ],
  [
    "§3.6 the peer attaches late, would be Inconsistent",
    { ...pair, pdsk: D.Diskless },
    { ...pair, disk: D.Negotiating },
    { uuidFlags: 4 },
    { kind: "apply", pdsk: D.Inconsistent, conn: Conn.Connected, decide: true },
  ],
  [
    "§3.6 the peer attaches late, would be Consistent",
    { ...pair, pdsk: D.Diskless },
    { ...pair, disk: D.Negotiating },
    {},
    { kind: "apply", pdsk: D.Consistent, conn: Conn.Connected, decide: true },
  ],
  [
    "§3.6 I attach late",
    { ...pair, disk: D.Negotiating },
    pair,
    {},
    { kind: "apply", pdsk: D.UpToDate, conn: Conn.Connected, decide: true },
  ],
  [
    "§3.6 the peer was forced to be Primary",
    { ...pair, disk: D.Inconsistent },
    stateOf(0x000090a9),
    { considerResync: true },
    { kind: "apply", pdsk: D.UpToDate, conn: Conn.Connected, decide: true },
  ],
  [
    "§3.6 the peer has begun the resync of a forced promotion (12.6)",
    { ...pair, role: Role.Primary, pdsk: D.Inconsistent },
    stateOf(0x000108e6),
    {},
    { kind: "apply", pdsk: D.Inconsistent, conn: Conn.Connected, decide: true },
  ],
  [
    "a mere role change",
    pair,
    { ...pair, role: Role.Primary },
    {},
    { kind: "apply", pdsk: D.UpToDate, conn: Conn.Connected, decide: false },
  ],
  [
    "§3.6 the peer is Ahead",
    pair,
    { ...pair, conn: Conn.Ahead, pdsk: D.Consistent },
    {},
    { kind: "apply", pdsk: D.UpToDate, conn: Conn.Behind, decide: false },
  ],
  ["§4.8 a, all clean", source, stateOf(0x000110a6), {}, { kind: "end of resync", finish: true }],
  ["§4.8 a, only failed bits left", source, pair, { bits: 2, failedBits: 2 }, { kind: "end of resync", finish: true }],
  ["§4.8 a, bits left", source, pair, { bits: 3, failedBits: 2 }, { kind: "end of resync", finish: false }],
  [
    "§4.8 b, the peer still prepares",
    { ...source, conn: Conn.WFBitMapS, pdsk: D.Consistent },
    { ...pair, conn: Conn.WFBitMapT },
    {},
    { kind: "apply", pdsk: D.Inconsistent, conn: Conn.WFBitMapS, decide: false },
  ],
  ["§4.8 c", { ...pair, conn: Conn.VerifyT }, pair, {}, { kind: "end of verify" }],
  [
    "§4.8 d",
    pair,
    { ...pair, conn: Conn.SyncTarget, disk: D.Inconsistent },
    {},
    { kind: "apply", pdsk: D.UpToDate, conn: Conn.Connected, decide: false },
  ],
  [
    "the peer's disk is worse now",
    pair,
    { ...pair, disk: D.Inconsistent },
    {},
    { kind: "apply", pdsk: D.Inconsistent, conn: Conn.Connected, decide: false },
  ],
];
for (const [name, own, peer, more, expected] of cases)
  test(`P_STATE: ${name}`, (t) => {
    t.deepEqual(readPeerState(own, peer, { ...facts, ...more }), expected);
  });

test("§3.6: what is applied: the decided conn, the peer's role, the real disk, its pauses; the first time softly", (t) => {
  const peer = { ...pair, role: Role.Primary, userIsp: 1 };
  t.deepEqual(applyPeerState(fresh, peer, D.UpToDate, Conn.WFBitMapT, D.UpToDate), {
    kind: "change",
    change: { conn: Conn.WFBitMapT, peer: Role.Primary, pdsk: D.UpToDate, peerIsp: 1 },
    mode: "soft",
  });
  const later = applyPeerState(pair, { ...peer, userIsp: 0 }, D.UpToDate, Conn.Connected, D.UpToDate);
  t.deepEqual(later, {
    kind: "change",
    change: { conn: Conn.Connected, peer: Role.Primary, pdsk: D.UpToDate, peerIsp: 0 },
    mode: "hard",
  });
});

test("§9.4/5: a negotiating disk takes its remembered state unless it becomes Target", (t) => {
  const own = { ...pair, disk: D.Negotiating };
  const disk = (conn: number) => {
    const result = applyPeerState(own, pair, D.UpToDate, conn, D.Outdated);
    return result.kind === "change" ? result.change.disk : -1;
  };
  t.is(disk(Conn.Connected), D.Outdated);
  t.is(disk(Conn.WFBitMapS), D.Outdated);
  t.is(disk(Conn.WFBitMapT), undefined);
});

test("§3.6: a refusal drops the connection, or fails the disk that was attached late", (t) => {
  t.deepEqual(applyPeerState(fresh, pair, D.UpToDate, "refused", D.UpToDate), { kind: "drop" });
  const mine = { ...pair, disk: D.Negotiating };
  t.deepEqual(applyPeerState(mine, pair, D.UpToDate, "refused", D.UpToDate), { kind: "fail own disk" });
  const theirs = applyPeerState(pair, { ...pair, disk: D.Negotiating }, D.Consistent, "refused", D.UpToDate);
  t.is(theirs.kind === "change" ? theirs.change.pdsk : -1, D.Diskless);
});

test("§3.6, §10.10: a forced promotion is recognised and answered with P_UUIDS and P_STATE by the future Target", (t) => {
  const inconsistent = { ...pair, disk: D.Inconsistent, pdsk: D.Inconsistent };
  t.true(considersResync(inconsistent, { ...inconsistent, peer: Role.Primary, pdsk: D.UpToDate }));
  t.false(considersResync(pair, { ...pair, peer: Role.Primary }));
  const target = { ...inconsistent, conn: Conn.WFBitMapT, peer: Role.Primary, pdsk: D.UpToDate };
  t.true(answersPeerState(inconsistent, target, stateOf(0x000090a9)));
  t.false(answersPeerState(inconsistent, target, stateOf(0x000108e6)));
  t.false(answersPeerState(fresh, target, stateOf(0x0000d081)));
});

const set = (current: bigint) => ({ current, bitmap: 0n, history1: 0n, history2: 0n });
test("§3.5: a diskless Primary connects only to the data it has been showing", (t) => {
  const own = { own: undefined, exposedUuid: 0xa1n, agreedVersion: 101 };
  const primary = { ...fresh, role: Role.Primary, disk: D.Diskless };
  t.deepEqual(readPeerUuids(primary, set(0xb0n), 0, own), {
    kind: "refuse",
    text: "Can only connect to data with current UUID=00000000000000A1",
  });
  t.is(readPeerUuids(primary, set(0xa0n), 0, own).kind, "take");
  t.is(readPeerUuids({ ...primary, role: Role.Secondary }, set(0xb0n), 0, own).kind, "take");
  const connected = { ...primary, conn: Conn.Connected, pdsk: D.UpToDate };
  t.is(readPeerUuids(connected, set(0xb0n), 0, own).kind, "take");
  t.is(readPeerUuids({ ...connected, pdsk: D.Diskless }, set(0xb0n), 0, own).kind, "refuse");
});

test("§3.5: flag 8 skips the initial sync of a fresh, connected node from version 90 on", (t) => {
  const own = { own: set(4n), exposedUuid: 0n, agreedVersion: 90 };
  t.is(readPeerUuids(pair, set(0xa0n), 8, own).kind, "skip initial sync");
  t.is(readPeerUuids(pair, set(0xa0n), 8, { ...own, agreedVersion: 89 }).kind, "take");
  t.is(readPeerUuids(pair, set(0xa0n), 8, { ...own, own: set(0xb0n) }).kind, "take");
  t.is(readPeerUuids(fresh, set(0xa0n), 8, own).kind, "take");
  t.is(readPeerUuids(pair, set(0xa0n), 0, own).kind, "take");
});
