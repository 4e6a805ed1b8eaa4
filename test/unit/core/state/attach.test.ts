/** What a disk is worth when it is attached: drbd-84 §9.4. */
import { readFileSync } from "node:fs";
import test from "ava";
import {
  type Attached,
  type AttachInput,
  decideAttach,
  MdFlag,
  metadataFlags,
} from "../../../../src/core/state/attach.ts";
import { Conn, DiskState, initialState, Role } from "../../../../src/core/state/state.ts";

const created = { current: 4n, bitmap: 0n, history1: 0n, history2: 0n };
const base: AttachInput = {
  flags: MdFlag.alClean,
  cleanMagic: true,
  uuids: created,
  state: { ...initialState, disk: DiskState.Attaching },
  fencing: "dont-care",
  exposedUuid: 0n,
  newSize: 1968,
  lastSize: 1968,
};
const attach = (more: Partial<AttachInput>): Attached => {
  const result = decideAttach({ ...base, ...more });
  if (result.kind === "refused") throw new Error(result.text);
  return result;
};
const refusal = (more: Partial<AttachInput>) => {
  const result = decideAttach({ ...base, ...more });
  return result.kind === "refused" ? result.code : undefined;
};
const good = MdFlag.alClean | MdFlag.consistent | MdFlag.wasUpToDate;

test("§9.4/1: metadata that apply-al has not cleaned is refused with 165", (t) => {
  t.is(refusal({ cleanMagic: false }), 165);
  t.is(refusal({ flags: 0 }), 165);
  t.is(refusal({}), undefined);
});

test("§9.4/7: a consistent device is not shrunk (170), an inconsistent one may be", (t) => {
  t.is(refusal({ flags: good, newSize: 1967 }), 170);
  t.is(refusal({ newSize: 1967 }), undefined);
});

test("§9.4/7: a diskless Primary without peer takes only the data it has been showing (150), whatever bit 0 says", (t) => {
  const state = { ...base.state, role: Role.Primary };
  const uuids = { ...created, current: 0xa0n };
  t.is(refusal({ flags: good, state, uuids, exposedUuid: 0xb0n }), 150);
  t.is(refusal({ flags: good, state, uuids, exposedUuid: 0xa1n }), undefined);
  t.is(refusal({ flags: good, state: base.state, uuids, exposedUuid: 0xb0n }), undefined);
});

test("§9.4/4: every combination of CONSISTENT, WAS_UP_TO_DATE, PEER_OUT_DATED and fencing gives its disk state", (t) => {
  const D = DiskState;
  // Columns: consistent, was UpToDate, peer outdated, fencing; then disk and pdsk.
  const rows = [
    [0, 0, 0, 0, D.Inconsistent, D.DUnknown],
    [0, 0, 0, 1, D.Inconsistent, D.DUnknown],
    [0, 0, 1, 0, D.Inconsistent, D.Outdated],
    [0, 0, 1, 1, D.Inconsistent, D.Outdated],
    [0, 1, 0, 0, D.Inconsistent, D.DUnknown],
    [0, 1, 0, 1, D.Inconsistent, D.DUnknown],
    [0, 1, 1, 0, D.Inconsistent, D.Outdated],
    [0, 1, 1, 1, D.Inconsistent, D.Outdated],
    [1, 0, 0, 0, D.Outdated, D.DUnknown],
    [1, 0, 0, 1, D.Outdated, D.DUnknown],
    [1, 0, 1, 0, D.Outdated, D.Outdated],
    [1, 0, 1, 1, D.Outdated, D.Outdated],
    [1, 1, 0, 0, D.UpToDate, D.DUnknown],
    [1, 1, 0, 1, D.Consistent, D.DUnknown],
    [1, 1, 1, 0, D.UpToDate, D.Outdated],
    [1, 1, 1, 1, D.UpToDate, D.Outdated],
  ] as const;
  for (const [consistent, upToDate, outdated, fenced, disk, pdsk] of rows) {
    const flags =
      MdFlag.alClean |
      (consistent ? MdFlag.consistent : 0) |
      (upToDate ? MdFlag.wasUpToDate : 0) |
      (outdated ? MdFlag.peerOutDated : 0);
    const result = attach({ flags, fencing: fenced ? "resource-only" : "dont-care" });
    t.deepEqual([result.disk, result.pdsk, result.negotiating], [disk, pdsk, undefined]);
  }
});

test("§9.4/5: while connected the disk negotiates and remembers what it would be", (t) => {
  const state = { ...base.state, peer: Role.Secondary, conn: Conn.Connected, pdsk: DiskState.UpToDate };
  const result = attach({ flags: good | MdFlag.peerOutDated, state });
  t.deepEqual([result.disk, result.pdsk], [DiskState.Negotiating, DiskState.UpToDate]);
  t.deepEqual(result.negotiating, { disk: DiskState.UpToDate, pdsk: DiskState.Outdated });
});

test("§9.4/2: a node that was Primary crashed, unless it is a suspended Primary that attaches again", (t) => {
  const suspended = { ...base.state, role: Role.Primary, suspNod: 1 };
  t.false(attach({ flags: good }).crashedPrimary);
  t.true(attach({ flags: good | MdFlag.primaryInd }).crashedPrimary);
  t.true(attach({ flags: good | MdFlag.crashedPrimary }).crashedPrimary);
  t.false(attach({ flags: good | MdFlag.primaryInd, state: suspended }).crashedPrimary);
  t.true(attach({ flags: good | MdFlag.crashedPrimary, state: suspended }).crashedPrimary);
  t.true(attach({ flags: good | MdFlag.primaryInd, state: { ...suspended, suspNod: 0 } }).crashedPrimary);
});

test("§9.4/3: all bits are set after an interrupted full sync, or a crash without activity log", (t) => {
  t.false(attach({ flags: good | MdFlag.primaryInd }).fullSync);
  t.false(attach({ flags: good | MdFlag.alDisabled }).fullSync);
  t.true(attach({ flags: good | MdFlag.primaryInd | MdFlag.alDisabled }).fullSync);
  const full = attach({ flags: good | MdFlag.fullSync });
  t.true(full.fullSync);
  t.deepEqual(full.log, ["Assuming that all blocks are out of sync (aka FullSync)"]);
});

test("§9.4/6: degr-wfc-timeout holds for a Primary that crashed without its peer", (t) => {
  for (const primaryInd of [0, MdFlag.primaryInd])
    for (const connectedInd of [0, MdFlag.connectedInd])
      for (const role of [Role.Primary, Role.Secondary]) {
        const state = { ...base.state, role };
        const expected = primaryInd !== 0 && connectedInd === 0 && role !== Role.Primary;
        t.is(attach({ flags: good | primaryInd | connectedInd, state }).degraded, expected);
      }
});

test("§9.4: the own role decides bit 0 of Current", (t) => {
  t.is(attach({ uuids: { ...created, current: 0xa1n } }).uuids.current, 0xa0n);
  const state = { ...base.state, role: Role.Primary, conn: Conn.Connected, pdsk: DiskState.UpToDate };
  t.is(attach({ uuids: { ...created, current: 0xa0n }, state }).uuids.current, 0xa1n);
});

test("§9.4: the flags seen on disk follow from the state", (t) => {
  const at = (more: Partial<typeof initialState>, crashed = false) =>
    metadataFlags(MdFlag.alClean, { ...initialState, ...more }, crashed);
  const pair = { peer: Role.Secondary, conn: Conn.Connected, disk: DiskState.UpToDate, pdsk: DiskState.UpToDate };
  t.is(at({ disk: DiskState.Inconsistent }), 0x00);
  t.is(at(pair), 0x15);
  t.is(at({ ...pair, role: Role.Primary }), 0x17);
  const alone = { ...pair, role: Role.Primary, conn: Conn.WFConnection, peer: Role.Unknown, pdsk: DiskState.DUnknown };
  t.is(at(alone), 0x13);
  t.is(at({ ...pair, pdsk: DiskState.Diskless, peer: Role.Primary }), 0x17);
  t.is(at({ ...pair, pdsk: DiskState.Inconsistent }), 0x35);
  t.is(at({ ...pair, pdsk: DiskState.Outdated }, true), 0x75);
  t.is(metadataFlags(MdFlag.fullSync | MdFlag.alDisabled, initialState, false), MdFlag.fullSync | MdFlag.alDisabled);
});

test("§9.4: the superblock of a crashed Primary (recorded from a real disk) attaches as the kernel did", (t) => {
  const block = readFileSync(new URL("../../../vectors/md/crashed-primary-1GiB.sb.bin", import.meta.url));
  // On disk before apply-al: flags 0x13 or, after it, 0x93 and the clean magic (capture 67 then went UpToDate).
  const flags = block.readUInt32BE(56);
  const uuids = {
    current: block.readBigUInt64BE(8),
    bitmap: block.readBigUInt64BE(16),
    history1: block.readBigUInt64BE(24),
    history2: block.readBigUInt64BE(32),
  };
  t.is(flags & ~MdFlag.alClean, 0x13);
  t.is(refusal({ flags: flags & ~MdFlag.alClean, cleanMagic: false, uuids }), 165);
  const result = attach({ flags: flags | MdFlag.alClean, uuids });
  t.is(result.disk, DiskState.UpToDate);
  t.true(result.crashedPrimary);
  t.true(result.degraded);
  t.is(result.uuids.current & 1n, 0n);
});
