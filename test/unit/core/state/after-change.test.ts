/** What is sent and done after a change: drbd-84 §4.8, §5.2. */
import test from "ava";
import {
  type AfterContext,
  afterChange,
  afterRows,
  announces,
  type Effect,
} from "../../../../src/core/state/after-change.ts";
import { Conn, DiskState, initialState, Role, type State, type StateChange } from "../../../../src/core/state/state.ts";

const pair: State = {
  ...initialState,
  peer: Role.Secondary,
  conn: Conn.Connected,
  disk: DiskState.UpToDate,
  pdsk: DiskState.UpToDate,
};
const context: AfterContext = { agreedVersion: 101, bitmapUuid: 0n, forced: false };
const isPrimary = { role: Role.Primary };
const D = DiskState;

const cases: readonly (readonly [string, State, StateChange, readonly Effect[], Partial<AfterContext>?])[] = [
  ["a plain promotion", pair, isPrimary, ["P_STATE"]],
  ["a demotion", { ...pair, ...isPrimary }, { role: Role.Secondary }, ["write bitmap", "P_STATE"]],
  [
    "a forced promotion of an Inconsistent pair",
    { ...pair, disk: D.Inconsistent, pdsk: D.Inconsistent },
    { ...isPrimary, disk: D.UpToDate },
    ["P_UUIDS", "P_STATE"],
    { forced: true },
  ],
  ["a promotion without peer", { ...pair, conn: Conn.WFConnection }, isPrimary, []],
  [
    "the handshake ends",
    { ...pair, conn: Conn.WFReportParams, peer: Role.Unknown, pdsk: D.DUnknown },
    { conn: Conn.Connected, peer: Role.Secondary, pdsk: D.UpToDate },
    ["P_STATE"],
  ],
  [
    "the handshake ends with a resync, Source",
    { ...pair, conn: Conn.WFReportParams, peer: Role.Unknown, pdsk: D.DUnknown },
    { conn: Conn.WFBitMapS, peer: Role.Secondary, pdsk: D.Consistent },
    ["send bitmap", "P_STATE"],
  ],
  [
    "a disk is attached while connected",
    { ...pair, disk: D.Attaching },
    { disk: D.Negotiating },
    ["P_SIZES", "P_UUIDS", "P_STATE"],
  ],
  ["the peer attached equal data", { ...pair, pdsk: D.Diskless }, { pdsk: D.UpToDate }, ["P_UUIDS", "P_STATE"]],
  [
    "the peer attached old data",
    { ...pair, pdsk: D.Diskless },
    { conn: Conn.WFBitMapS, pdsk: D.Consistent },
    ["P_UUIDS", "P_STATE", "send bitmap"],
  ],
  ["detach, first half", pair, { disk: D.Failed }, ["P_STATE"]],
  ["detach, second half", { ...pair, disk: D.Failed }, { disk: D.Diskless }, ["P_STATE"]],
  [
    "detach --force of a Target: P_STATE twice (§4.4)",
    { ...pair, conn: Conn.SyncTarget, disk: D.Inconsistent },
    { conn: Conn.Connected, disk: D.Failed },
    ["P_STATE", "resume dependents", "P_STATE"],
  ],
  ["a disk error passed on", pair, { disk: D.Inconsistent }, ["P_STATE"]],
  ["the peer's disk fails under a Primary", { ...pair, ...isPrimary }, { pdsk: D.Failed }, ["new-current", "P_UUIDS"]],
  [
    "the peer's disk fails, the own generation is open already",
    { ...pair, ...isPrimary },
    { pdsk: D.Failed },
    [],
    { bitmapUuid: 7n },
  ],
  [
    "the peer's disk fails, and the peer is Primary",
    { ...pair, peer: Role.Primary },
    { pdsk: D.Failed },
    ["new-current", "P_UUIDS"],
  ],
  ["the peer's disk fails between two Secondaries", pair, { pdsk: D.Failed }, []],
  [
    "the peer's disk is gone for good",
    { ...pair, ...isPrimary, pdsk: D.Failed },
    { pdsk: D.Diskless },
    [],
    { bitmapUuid: 7n },
  ],
  [
    "a Primary loses the connection",
    { ...pair, ...isPrimary },
    { conn: Conn.NetworkFailure, peer: Role.Unknown, pdsk: D.DUnknown },
    ["new-current"],
  ],
  [
    "a Primary loses the connection and waits for fencing",
    { ...pair, ...isPrimary },
    { conn: Conn.NetworkFailure, peer: Role.Unknown, pdsk: D.DUnknown, suspFen: 1 },
    ["postpone new-current"],
  ],
  ["a diskless peer is promoted", { ...pair, pdsk: D.Diskless }, { peer: Role.Primary }, ["new-current", "P_UUIDS"]],
  [
    "the Source starts",
    { ...pair, conn: Conn.WFBitMapS, pdsk: D.Consistent },
    { conn: Conn.SyncSource, pdsk: D.Inconsistent },
    ["P_SYNC_UUID"],
  ],
  [
    "the Source starts below version 96: P_SYNC_UUID goes all the same",
    { ...pair, conn: Conn.WFBitMapS, pdsk: D.Consistent },
    { conn: Conn.SyncSource, pdsk: D.Inconsistent },
    ["P_SYNC_UUID"],
    { agreedVersion: 95 },
  ],
  [
    "the Target starts",
    { ...pair, conn: Conn.WFSyncUUID, disk: D.Outdated },
    { conn: Conn.SyncTarget, disk: D.Inconsistent },
    [],
  ],
  [
    "the Source pauses by its user",
    { ...pair, conn: Conn.SyncSource, pdsk: D.Inconsistent },
    { conn: Conn.PausedSyncS, userIsp: 1 },
    ["P_STATE", "pause dependents"],
  ],
  [
    "the peer's user pauses",
    { ...pair, conn: Conn.SyncSource, pdsk: D.Inconsistent },
    { conn: Conn.PausedSyncS, peerIsp: 1 },
    ["pause dependents"],
  ],
  [
    "the Target is done",
    { ...pair, conn: Conn.SyncTarget, disk: D.Inconsistent },
    { conn: Conn.Connected, disk: D.UpToDate },
    ["resume dependents", "P_STATE", "write bitmap"],
  ],
  [
    "the Source is done",
    { ...pair, conn: Conn.SyncSource, pdsk: D.Inconsistent },
    { conn: Conn.Connected, pdsk: D.UpToDate },
    ["resume dependents", "write bitmap"],
  ],
  ["invalidate was consented to", pair, { conn: Conn.StartingSyncT, disk: D.Outdated }, ["set all bits"]],
  ["verify begins", pair, { conn: Conn.VerifyS }, []],
  [
    "verify ends, VerifyS",
    { ...pair, conn: Conn.VerifyS },
    { conn: Conn.Connected },
    ["resume dependents", "P_STATE", "write bitmap"],
  ],
  [
    "verify ends, VerifyT",
    { ...pair, conn: Conn.VerifyT },
    { conn: Conn.Connected },
    ["resume dependents", "write bitmap"],
  ],
  [
    "verify ends at version 100, which knows no stop sector",
    { ...pair, conn: Conn.VerifyS },
    { conn: Conn.Connected },
    ["resume dependents", "write bitmap"],
    { agreedVersion: 100 },
  ],
  ["Ahead", { ...pair, ...isPrimary }, { conn: Conn.Ahead, pdsk: D.Consistent }, ["P_STATE"]],
  ["disconnecting", pair, { conn: Conn.Disconnecting, peer: Role.Unknown, pdsk: D.DUnknown }, []],
  [
    "the last good disk of a diskless Primary goes away",
    { ...pair, ...isPrimary, disk: D.Diskless },
    { pdsk: D.Inconsistent },
    ["pri-on-incon-degr"],
  ],
];

for (const [name, old, change, effects, more] of cases)
  test(`§4.8, §5.2: ${name}: ${effects.join(", ") || "nothing"}`, (t) => {
    const ctx = { ...context, ...more };
    t.deepEqual([...afterChange(old, { ...old, ...change }, ctx)], [...effects]);
    t.is(announces(old, { ...old, ...change }, ctx), effects.includes("P_STATE"));
  });

test("§4.8: every row has its effect in some case above", (t) => {
  const used = new Set<string>();
  for (const [, old, change, , more] of cases)
    for (const row of afterRows) if (row.when(old, { ...old, ...change }, { ...context, ...more })) used.add(row.rule);
  t.deepEqual(
    afterRows.map((row) => row.rule).filter((rule) => !used.has(rule)),
    [],
  );
});
