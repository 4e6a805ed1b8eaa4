/** Generation UUIDs: drbd-84 §5.1, §5.2. The captures' sets are checked in kmsg.test.ts. */
import test from "ava";
import { Conn, DiskState, initialState, Role } from "../../../../src/core/state/state.ts";
import * as uuids from "../../../../src/core/state/uuids.ts";

const set = (current: bigint, bitmap = 0n, history1 = 0n, history2 = 0n): uuids.UuidSet => ({
  current,
  bitmap,
  history1,
  history2,
});

test("§5.1: a set is shown as 16 upper-case hex digits per slot", (t) => {
  t.is(
    uuids.uuidSetText(set(0x2da9bde205eac027n, 4n)),
    "2DA9BDE205EAC027:0000000000000004:0000000000000000:0000000000000000",
  );
});

test("§5.2: a random UUID never reads as empty or just created", (t) => {
  for (const random of [0n, 1n, 4n, 5n, 1n << 64n])
    for (const primary of [false, true]) {
      const { current } = uuids.newCurrent(set(0xa0n), random, primary);
      t.false([0n, 4n].includes(current & ~1n));
      t.is(current & 1n, primary ? 1n : 0n);
      t.true(current < 1n << 64n);
    }
});

test("§5.2: the sync UUID is the Bitmap plus 2^48 within 64 bits, or random if Bitmap is 0 or 4", (t) => {
  t.is(uuids.resyncStartSource(set(0xa0n, 0xb1n), 7n).syncUuid, 0x0001_0000_0000_00b1n);
  t.is(uuids.resyncStartSource(set(0xa0n, 0xffff_0000_0000_0003n), 7n).syncUuid, 3n);
  t.deepEqual(uuids.resyncStartSource(set(0xa0n, 0n, 9n), 0xc1n), { set: set(0xa0n, 0xc1n, 9n), syncUuid: 0xc1n });
  t.deepEqual(uuids.resyncStartSource(set(0xa0n, 4n, 9n), 0xc1n), { set: set(0xa0n, 0xc1n, 4n, 9n), syncUuid: 0xc1n });
});

test("§5.2: new-current-uuid keeps an open generation in the history", (t) => {
  t.deepEqual(uuids.newCurrentByCommand(set(0xa0n, 0xb0n, 0xc0n), 0xd0n, false), set(0xd0n, 0xa0n, 0xb0n, 0xc0n));
  t.deepEqual(uuids.newCurrentByCommand(set(4n), 0xd0n, false), set(0xd0n, 4n));
});

test("§5.2: a promotion starts a generation without the peer's data and an open one, or when forced; else only bit 0", (t) => {
  const pair = { ...initialState, conn: Conn.Connected, disk: DiskState.UpToDate, pdsk: DiskState.UpToDate };
  const fresh = set(0xd1n, 0xa0n);
  t.deepEqual(uuids.promoted(set(0xa0n), pair, false, 0xd0n), set(0xa1n));
  t.deepEqual(uuids.promoted(set(0xa0n), { ...pair, conn: Conn.WFConnection }, false, 0xd0n), fresh);
  t.deepEqual(uuids.promoted(set(0xa0n), { ...pair, pdsk: DiskState.Failed }, false, 0xd0n), fresh);
  const open = { ...pair, conn: Conn.WFConnection };
  t.deepEqual(uuids.promoted(set(0xa0n, 0xb0n), open, false, 0xd0n), set(0xa1n, 0xb0n));
  t.deepEqual(uuids.promoted(set(0xa0n), pair, true, 0xd0n), fresh);
});

test("§5.2: every pair of peer disk states: whether the peer's data was lost", (t) => {
  const D = DiskState;
  for (let old = D.Diskless; old <= D.UpToDate; old++)
    for (let now = D.Diskless; now <= D.UpToDate; now++) {
      const had = [D.Inconsistent, D.Consistent, D.UpToDate].includes(old);
      // Attaching and Negotiating are never a peer's state here: they are resolved before (§3.6).
      const gone = had
        ? [0, 1, 2, 3, D.DUnknown, D.Outdated]
        : old === D.DUnknown
          ? [D.Diskless, D.Failed, D.Outdated]
          : [];
      t.is(uuids.lostPeerData(old, now), gone.includes(now), `${old} ${now}`);
    }
});

test("§5.2: only a node with an UpToDate disk and no open generation starts one for a lost peer", (t) => {
  const pair = {
    ...initialState,
    role: Role.Primary,
    conn: Conn.Connected,
    disk: DiskState.UpToDate,
    pdsk: DiskState.UpToDate,
  };
  const lost = { ...pair, pdsk: DiskState.Diskless };
  t.is(uuids.newCurrentAfter(pair, lost, 0n, false), "now");
  t.is(uuids.newCurrentAfter(pair, lost, 0n, true), "postponed");
  t.is(uuids.newCurrentAfter(pair, lost, 9n, false), "no");
  t.is(uuids.newCurrentAfter(pair, { ...lost, disk: DiskState.Inconsistent }, 0n, false), "no");
  t.is(uuids.newCurrentAfter(pair, { ...lost, role: Role.Secondary }, 0n, false), "no");
});
