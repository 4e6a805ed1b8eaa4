/** Legal states and transitions, what they imply, and who is asked: drbd-84 §4. */
import test from "ava";
import {
  answerPeer,
  changeState,
  fromPeer,
  judgeRequest,
  needsConsent,
  peerRequest,
  stateText,
} from "../../../../src/core/state/change.ts";
import { defaultContext, type StateContext } from "../../../../src/core/state/context.ts";
import { diskLimits, sanitize } from "../../../../src/core/state/sanitize.ts";
import { refusalText, ss, ssTable, ssText } from "../../../../src/core/state/ss.ts";
import {
  Conn,
  changeOf,
  DiskState,
  initialState,
  Role,
  requestOf,
  type State,
  type StateChange,
  sameState,
} from "../../../../src/core/state/state.ts";
import { hardRows, isValidState, softRows, validityRows } from "../../../../src/core/state/validity.ts";
import { stateOf, wordOf } from "./_word.ts";

const state = (role: keyof typeof Role, peer: keyof typeof Role, conn: keyof typeof Conn, ds: string): State => {
  const [disk, pdsk] = ds.split("/") as [keyof typeof DiskState, keyof typeof DiskState];
  return {
    ...initialState,
    role: Role[role],
    peer: Role[peer],
    conn: Conn[conn],
    disk: DiskState[disk],
    pdsk: DiskState[pdsk],
  };
};
const connectedPair = state("Secondary", "Secondary", "Connected", "UpToDate/UpToDate");
const primary = state("Primary", "Secondary", "Connected", "UpToDate/UpToDate");
const ctx = (more: Partial<StateContext>): StateContext => ({ ...defaultContext, ...more });

const refusalOf = (old: State, change: StateChange, context = defaultContext, mode: "soft" | "hard" = "soft") => {
  const result = changeState(old, change, mode, context);
  return "refusal" in result ? result.refusal : undefined;
};

test("§4.1, §4.2: names have DRBD's numbers: the examples of state words", (t) => {
  const examples: readonly (readonly [number, State])[] = [
    [0x0000c882, state("Secondary", "Unknown", "WFConnection", "Inconsistent/DUnknown")],
    [0x0000d082, state("Secondary", "Unknown", "WFConnection", "UpToDate/DUnknown")],
    [0x0000d081, state("Primary", "Unknown", "WFConnection", "UpToDate/DUnknown")],
    [0x000088aa, state("Secondary", "Secondary", "Connected", "Inconsistent/Inconsistent")],
    [0x000110a9, state("Primary", "Secondary", "Connected", "UpToDate/UpToDate")],
    [0x0000f0d9, state("Primary", "Secondary", "WFBitMapS", "UpToDate/Consistent")],
    [0x00010ae6, state("Secondary", "Primary", "WFBitMapT", "Outdated/UpToDate")],
    [0x000110a6, state("Secondary", "Primary", "Connected", "UpToDate/UpToDate")],
  ];
  for (const [word, expected] of examples) {
    t.is(wordOf(expected), word);
    t.deepEqual(stateOf(word), expected);
  }
});

const requests: readonly (readonly [string, StateChange, mask: number, val: number])[] = [
  ["primary", { role: Role.Primary }, 0x3, 0x1],
  ["primary --force, disk Inconsistent", { role: Role.Primary, disk: DiskState.UpToDate }, 0x1e03, 0x1001],
  ["detach", { disk: DiskState.Failed }, 0x1e00, 0x400],
  ["invalidate", { conn: Conn.StartingSyncT }, 0x1f0, 0xc0],
  ["invalidate-remote", { conn: Conn.StartingSyncS }, 0x1f0, 0xb0],
  ["verify", { conn: Conn.VerifyS }, 0x1f0, 0x120],
  ["disconnect", { conn: Conn.Disconnecting }, 0x1f0, 0x10],
];
for (const [action, change, mask, val] of requests)
  test(`§4.4: the request of ${action} has mask ${mask.toString(16)} and val ${val.toString(16)}`, (t) => {
    const request = requestOf(change);
    t.is(wordOf(request.mask), mask);
    t.is(wordOf(request.val), val);
    t.deepEqual(changeOf(stateOf(mask), stateOf(val)), change);
  });

const converted: readonly (readonly [string, mask: number, val: number, StateChange])[] = [
  ["primary", 0x3, 0x1, { peer: Role.Primary }],
  ["primary --force", 0x1e03, 0x1001, { peer: Role.Primary, pdsk: DiskState.UpToDate }],
  ["detach", 0x1e00, 0x400, { pdsk: DiskState.Failed }],
  ["invalidate", 0x1f0, 0xc0, { conn: Conn.StartingSyncS }],
  ["invalidate-remote", 0x1f0, 0xb0, { conn: Conn.StartingSyncT }],
  ["verify", 0x1f0, 0x120, { conn: Conn.VerifyT }],
  ["disconnect", 0x1f0, 0x10, { conn: Conn.TearDown }],
];
for (const [action, mask, val, change] of converted)
  test(`§4.3: the peer's request of ${action} is seen from this side`, (t) => {
    t.deepEqual(peerRequest(stateOf(mask), stateOf(val), connectedPair), change);
  });

test("§4.3: any connection state without a counterpart becomes 0, and the peer's pauses become peer_isp", (t) => {
  const kept = new Map([
    [9, 9],
    [10, 10],
    [11, 12],
    [12, 11],
    [1, 7],
    [18, 19],
    [31, 31],
  ]);
  for (let conn = 0; conn < 32; conn++) t.is(fromPeer({ ...connectedPair, conn }).conn, kept.get(conn) ?? 0);
  for (const aftrIsp of [0, 1])
    for (const userIsp of [0, 1])
      t.is(fromPeer({ ...connectedPair, aftrIsp, userIsp }).peerIsp, aftrIsp + userIsp > 0 ? 1 : 0);
});

test("§4.4: a request to outdate this disk is ignored if the disk is below Outdated", (t) => {
  const { mask, val } = requestOf({ conn: Conn.Disconnecting, pdsk: DiskState.Outdated });
  t.deepEqual(peerRequest(mask, val, connectedPair), { conn: Conn.TearDown, disk: DiskState.Outdated });
  const diskless = { ...connectedPair, disk: DiskState.Diskless };
  t.deepEqual(peerRequest(mask, val, diskless), { conn: Conn.TearDown });
});

test("§4.4: the peer's request is applied with the reply; of crossing ones the RESOLVE_CONFLICTS node refuses", (t) => {
  const [mask, val] = [stateOf(3), stateOf(1)];
  for (const requestInFlight of [false, true])
    for (const resolveConflicts of [false, true]) {
      const answer = answerPeer(connectedPair, mask, val, { requestInFlight, resolveConflicts }, defaultContext);
      const refused = requestInFlight && resolveConflicts;
      t.is(answer.retcode, refused ? -19 : 1);
      t.is(answer.state.peer, refused ? Role.Secondary : Role.Primary);
    }
  const free = { requestInFlight: false, resolveConflicts: false };
  t.is(answerPeer(primary, mask, val, free, defaultContext).retcode, -1);
  t.is(answerPeer({ ...connectedPair, peer: Role.Primary }, mask, val, free, defaultContext).retcode, 2);
});

test("§4.5: the codes and texts of refusals, as the tools print them", (t) => {
  t.is(refusalText(-2), "State change failed: (-2) Need access to UpToDate data");
  t.is(refusalText(ss.SS_TWO_PRIMARIES), "State change failed: (-1) Multiple primaries not allowed by config");
  t.deepEqual(
    ssTable.map(([, code]) => code),
    [4, 3, 2, 1, 0, -1, -2, ...Array.from({ length: 18 }, (_, index) => -4 - index)],
  );
  t.is(new Set(ssTable.map(([, , text]) => text)).size, ssTable.length);
  t.is(ssText(-99), "Unknown state change verdict -99");
});

const resourceOnly = ctx({ fencing: "resource-only" });
const validity: readonly (readonly [string, State, StateContext, number])[] = [
  ["4.6/1", state("Primary", "Primary", "Connected", "UpToDate/UpToDate"), defaultContext, -1],
  ["4.6/1 other volume", primary, ctx({ otherVolumePeerPrimary: true }), -20],
  ["4.6/2", connectedPair, ctx({ openCount: 1 }), -12],
  ["4.6/3", state("Primary", "Unknown", "WFConnection", "Consistent/DUnknown"), defaultContext, -2],
  ["4.6/4", state("Primary", "Unknown", "WFConnection", "UpToDate/DUnknown"), resourceOnly, -7],
  ["4.6/5", state("Primary", "Secondary", "Connected", "Inconsistent/Inconsistent"), defaultContext, -2],
  ["4.6/6 local", state("Secondary", "Primary", "SyncTarget", "Failed/UpToDate"), defaultContext, -4],
  ["4.6/6 remote", state("Secondary", "Secondary", "SyncSource", "UpToDate/Diskless"), defaultContext, -5],
  ["4.6/6 neither", state("Secondary", "Secondary", "WFBitMapS", "Consistent/Consistent"), defaultContext, -2],
  ["4.6/7", state("Secondary", "Secondary", "Connected", "Outdated/UpToDate"), defaultContext, -6],
  ["4.6/8 algorithm", { ...connectedPair, conn: Conn.VerifyS }, ctx({ agreedVersion: 101 }), -14],
  ["4.6/8 version", { ...connectedPair, conn: Conn.VerifyT }, ctx({ agreedVersion: 87, verifyAlg: true }), -17],
  ["4.6/9", state("Primary", "Secondary", "Connected", "Consistent/Inconsistent"), defaultContext, -2],
  ["4.6/10 starting", state("Secondary", "Unknown", "StartingSyncS", "UpToDate/DUnknown"), defaultContext, -15],
  ["4.6/10", state("Secondary", "Secondary", "Connected", "UpToDate/DUnknown"), defaultContext, -6],
];
for (const [rule, invalid, context, code] of validity)
  test(`§${rule}: invalid, ${code}`, (t) => {
    t.is(validityRows.find((row) => row.when(invalid, context))?.rule, rule);
    t.is(isValidState(invalid, context), code as never);
  });
test("§4.6: every validity row has a case above", (t) => {
  t.deepEqual(
    validity.map(([rule]) => rule),
    validityRows.map((row) => row.rule),
  );
});

test("§4.6: two primaries are legal where the configuration allows them, and a Primary without fencing may lose its peer", (t) => {
  t.is(isValidState({ ...primary, peer: Role.Primary }, ctx({ twoPrimaries: true })), undefined);
  t.is(isValidState(state("Primary", "Unknown", "WFConnection", "UpToDate/DUnknown"), defaultContext), undefined);
  t.is(isValidState(state("Primary", "Unknown", "WFConnection", "UpToDate/Outdated"), resourceOnly), undefined);
  t.is(isValidState(state("Primary", "Secondary", "Connected", "Diskless/UpToDate"), defaultContext), undefined);
});

const refusals: readonly (readonly [string, State, StateChange, number, ("soft" | "hard")?])[] = [
  [
    "hard: Failed again after detach",
    { ...primary, disk: DiskState.Diskless },
    { disk: DiskState.Failed },
    -11,
    "hard",
  ],
  ["hard: Disconnecting from StandAlone", initialState, { conn: Conn.Disconnecting }, -9, "hard"],
  ["hard: from StandAlone only Unconnected", initialState, { conn: Conn.WFConnection }, -15, "hard"],
  [
    "hard: Connected only via WFReportParams",
    { ...connectedPair, conn: Conn.WFConnection },
    { conn: Conn.Connected },
    -15,
    "hard",
  ],
  [
    "hard: after an error only Unconnected or Disconnecting",
    { ...initialState, conn: Conn.BrokenPipe },
    { conn: Conn.WFConnection },
    -18,
    "hard",
  ],
  [
    "hard: after Disconnecting only StandAlone",
    { ...initialState, conn: Conn.Disconnecting },
    { conn: Conn.Unconnected },
    -18,
    "hard",
  ],
  [
    "verify while a resync runs",
    { ...connectedPair, conn: Conn.PausedSyncS, userIsp: 1, pdsk: DiskState.Inconsistent },
    { conn: Conn.VerifyS, pdsk: DiskState.UpToDate },
    -8,
  ],
  ["resync while verify runs", { ...connectedPair, conn: Conn.VerifyS }, { conn: Conn.StartingSyncT }, -8],
  [
    "invalidate without connection",
    { ...initialState, conn: Conn.WFConnection, disk: DiskState.UpToDate },
    { conn: Conn.StartingSyncT },
    -15,
  ],
  ["a disk out of nothing", initialState, { disk: DiskState.UpToDate }, -11],
  [
    "outdate an Inconsistent disk",
    { ...initialState, disk: DiskState.Inconsistent },
    { disk: DiskState.Outdated },
    -16,
  ],
  ["disconnect while Unconnected", { ...initialState, conn: Conn.Unconnected }, { conn: Conn.Disconnecting }, -18],
  [
    "wait for connections without a net configuration",
    { ...initialState, conn: Conn.Disconnecting },
    { conn: Conn.WFConnection },
    -18,
  ],
  [
    "outdate the peer while it is away",
    { ...initialState, conn: Conn.WFConnection, disk: DiskState.UpToDate },
    { conn: Conn.Disconnecting, pdsk: DiskState.Outdated },
    -21,
  ],
];
for (const [rule, old, change, code, mode] of refusals)
  test(`§4.6: refused with ${code}: ${rule}`, (t) => {
    const context = ctx({ agreedVersion: 101, verifyAlg: true });
    t.is(refusalOf(old, change, context, mode), code as never);
  });

test("§4.6: a soft change out of a state that is invalid for the same reason is allowed", (t) => {
  // Fencing was switched on while the peer was away: demotion must still be possible, so must suspending I/O.
  const alone = state("Primary", "Unknown", "WFConnection", "UpToDate/DUnknown");
  t.is(refusalOf(alone, { susp: 1 }, resourceOnly), undefined);
  t.is(refusalOf(alone, { role: Role.Secondary }, resourceOnly), undefined);
  t.is(refusalOf({ ...alone, role: Role.Secondary }, { role: Role.Primary }, resourceOnly), -7);
});

test("§4.6/4: fencing is an option of the disk and does not hold without one", (t) => {
  const diskless = state("Secondary", "Unknown", "WFConnection", "Diskless/DUnknown");
  t.is(refusalOf(diskless, { role: Role.Primary }, resourceOnly), -2);
});

test("§3.1: while the handshake runs only the connection state may change", (t) => {
  const shaking = { ...connectedPair, conn: Conn.WFReportParams, peer: Role.Unknown, pdsk: DiskState.DUnknown };
  const sent = ctx({ stateSent: true });
  t.is(refusalOf(shaking, { role: Role.Primary }, sent), -18);
  t.is(refusalOf(shaking, { disk: DiskState.Failed }, sent), -18);
  t.is(refusalOf(shaking, { conn: Conn.Connected, peer: Role.Secondary, pdsk: DiskState.UpToDate }, sent), undefined);
  t.is(refusalOf(shaking, { role: Role.Primary }), undefined);
});

const asked: readonly (readonly [string, State, StateChange])[] = [
  ["promotion", connectedPair, { role: Role.Primary }],
  ["invalidate", connectedPair, { conn: Conn.StartingSyncT }],
  ["invalidate-remote", connectedPair, { conn: Conn.StartingSyncS }],
  ["detach", connectedPair, { disk: DiskState.Failed }],
  ["disconnect", connectedPair, { conn: Conn.Disconnecting }],
  ["verify", connectedPair, { conn: Conn.VerifyS }],
];
const notAsked: readonly (readonly [string, State, StateChange])[] = [
  ["demotion", primary, { role: Role.Secondary }],
  ["pause", connectedPair, { userIsp: 1 }],
  [
    "promotion without a peer",
    state("Secondary", "Unknown", "WFConnection", "UpToDate/DUnknown"),
    { role: Role.Primary },
  ],
  [
    "detach without a peer",
    state("Secondary", "Unknown", "WFConnection", "UpToDate/DUnknown"),
    { disk: DiskState.Failed },
  ],
  ["a lost disk behind Failed", { ...primary, disk: DiskState.Failed }, { disk: DiskState.Diskless }],
];
for (const [name, old, change] of asked)
  test(`§4.4: the peer is asked: ${name}`, (t) => {
    const judged = judgeRequest(old, change, ctx({ verifyAlg: true, agreedVersion: 101 }));
    t.true("ask" in judged && judged.ask);
  });
for (const [name, old, change] of notAsked)
  test(`§4.4: nobody is asked: ${name}`, (t) => {
    const judged = judgeRequest(old, change, defaultContext);
    t.true("ask" in judged && !judged.ask);
  });

test("§4.4: a cluster-wide request is judged here first; nothing to do is no request", (t) => {
  t.deepEqual(judgeRequest(primary, { role: Role.Primary }, defaultContext), { nothing: true });
  const peerPrimary = { ...connectedPair, peer: Role.Primary };
  const judged = judgeRequest(peerPrimary, { role: Role.Primary }, defaultContext);
  t.is("refusal" in judged ? judged.refusal : 0, -1);
});

/** Every combination of role, peer, conn, disk and pdsk, with and without a pause. */
function* allStates(): Generator<State> {
  for (let role = 0; role < 3; role++)
    for (let peer = 0; peer < 3; peer++)
      for (let conn = 0; conn < 24; conn++)
        for (let disk = 0; disk < 9; disk++)
          for (let pdsk = 0; pdsk < 9; pdsk++)
            for (const userIsp of [0, 1]) yield { ...initialState, role, peer, conn, disk, pdsk, userIsp };
}

test("§4.7: over all states: the implied state keeps the limits of its connection state, and implies no more", (t) => {
  const limits = new Map(diskLimits.flatMap((limit) => limit.conns.map((name) => [Conn[name], limit] as const)));
  let seen = 0;
  for (const wanted of allStates()) {
    seen++;
    const { state: once } = sanitize(wanted, wanted, defaultContext);
    const at = () => `${stateText(wanted)} ${stateText(once)}`;
    // A pause or its end comes last and leaves SyncSource's and SyncTarget's narrower limits for the next change.
    const limit = limits.get(once.conn);
    const resumed = wanted.conn !== once.conn && wanted.userIsp === 0 && (once.conn === 16 || once.conn === 17);
    if (limit !== undefined && !resumed) {
      if (once.disk < limit.disk[0] || once.disk > limit.disk[1]) t.fail(at());
      if (once.pdsk < limit.pdsk[0] || once.pdsk > limit.pdsk[1]) t.fail(at());
    }
    if (once.conn < Conn.Connected) {
      if (once.peer !== Role.Unknown || once.pdsk < DiskState.Inconsistent || once.pdsk > DiskState.DUnknown)
        t.fail(at());
    }
    if (once.conn > Conn.Connected && (once.disk <= DiskState.Failed || once.pdsk <= DiskState.Failed)) t.fail(at());
    const paused = once.userIsp === 1;
    if (paused && (once.conn === Conn.SyncSource || once.conn === Conn.SyncTarget)) t.fail(at());
    if (!paused && (once.conn === Conn.PausedSyncS || once.conn === Conn.PausedSyncT)) t.fail(at());
    if (!resumed && !sameState(once, sanitize(once, once, defaultContext).state)) t.fail(at());
  }
  t.is(seen, 3 * 3 * 24 * 9 * 9 * 2);
});

test("§4.7: a disk that fails during a resync or verify ends it", (t) => {
  const target = state("Secondary", "Primary", "SyncTarget", "Inconsistent/UpToDate");
  const resync = sanitize(target, { ...target, disk: DiskState.Failed }, defaultContext);
  t.is(resync.state.conn, Conn.Connected);
  t.deepEqual(resync.warnings, ["Resync aborted."]);
  const verify = { ...connectedPair, conn: Conn.VerifyS };
  t.deepEqual(sanitize(verify, { ...verify, pdsk: DiskState.Diskless }, defaultContext).warnings, [
    "Online-verify aborted.",
  ]);
});

test("§4.7: resource-and-stonith suspends I/O of a Primary that loses its peer, suspend-io one that loses all data", (t) => {
  const lost = sanitize(primary, { ...primary, conn: Conn.NetworkFailure }, ctx({ fencing: "resource-and-stonith" }));
  t.is(lost.state.suspFen, 1);
  t.is(sanitize(lost.state, { ...lost.state, suspFen: 0 }, ctx({ fencing: "resource-and-stonith" })).state.suspFen, 0);
  t.is(sanitize(primary, { ...primary, conn: Conn.NetworkFailure }, resourceOnly).state.suspFen, 0);
  const alone = state("Primary", "Unknown", "WFConnection", "UpToDate/DUnknown");
  // pdsk DUnknown counts as less than UpToDate.
  t.is(
    sanitize(alone, { ...alone, disk: DiskState.Failed }, ctx({ onNoDataAccessible: "suspend-io" })).state.suspNod,
    1,
  );
  t.is(
    sanitize(primary, { ...primary, disk: DiskState.Failed }, ctx({ onNoDataAccessible: "suspend-io" })).state.suspNod,
    0,
  );
});

test("§9.4/5: a connection that breaks while negotiating leaves the remembered state only for the exposed data", (t) => {
  const old = { ...connectedPair, disk: DiskState.Negotiating };
  const lost = { ...old, conn: Conn.BrokenPipe };
  const remembered = { disk: DiskState.UpToDate, pdsk: DiskState.Outdated };
  const kept = sanitize(old, lost, ctx({ negotiating: { ...remembered, exposed: true } }));
  t.deepEqual([kept.state.disk, kept.state.pdsk], [DiskState.UpToDate, DiskState.Outdated]);
  const dropped = sanitize(old, lost, ctx({ negotiating: { ...remembered, exposed: false } }));
  t.deepEqual([dropped.state.disk, dropped.state.pdsk], [DiskState.Diskless, DiskState.DUnknown]);
  t.deepEqual(dropped.warnings, ["Connection lost while negotiating, no disk!"]);
});

test("§4.6: over all states: a refused soft change has a row, and a hard change obeys only the hard rows", (t) => {
  const starts = [
    initialState,
    connectedPair,
    primary,
    { ...initialState, conn: Conn.WFConnection, disk: DiskState.UpToDate },
  ];
  const used = new Set<string>();
  for (const old of starts)
    for (const wanted of allStates()) {
      const soft = changeState(old, wanted, "soft", defaultContext);
      const hard = changeState(old, wanted, "hard", defaultContext);
      if ("refusal" in hard) {
        const row = hardRows.find((each) => each.when(old, hard.wanted, defaultContext));
        used.add(row?.rule ?? "");
        if (row?.code !== hard.refusal || !("refusal" in soft) || soft.refusal !== hard.refusal)
          t.fail(stateText(wanted));
      } else if ("refusal" in soft) {
        const invalid = isValidState(soft.wanted, defaultContext);
        const row = softRows.find((each) => each.when(old, soft.wanted, defaultContext));
        if (soft.refusal !== invalid && soft.refusal !== row?.code) t.fail(stateText(wanted));
      } else if ("state" in hard && "state" in soft && !sameState(hard.state, soft.state)) t.fail(stateText(wanted));
    }
  t.false(used.has(""));
  t.true(used.size >= 3);
});

test("§4.4: a change is cluster-wide only between connected states, or when a connection is ended or verify begun", (t) => {
  for (const old of [connectedPair, primary])
    for (const wanted of allStates())
      if (needsConsent(old, wanted) && wanted.conn < Conn.Connected)
        t.true(wanted.conn === Conn.Disconnecting || wanted.conn === Conn.WFReportParams);
  t.false(needsConsent(initialState, { ...initialState, role: Role.Primary }));
});
