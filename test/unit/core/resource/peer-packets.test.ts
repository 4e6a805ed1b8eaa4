import test from "ava";
import { EIO } from "../../../../src/core/block-device.ts";
import { Conn, DiskState, Role } from "../../../../src/core/state/state.ts";
import { requestKinds as kind } from "../../../../src/core/volume/requests.ts";
import { MIB, named, Rig, type RigOptions, stateWord } from "./_rig.ts";

function connected(options: RigOptions = {}): Rig {
  const rig = new Rig(options);
  rig.attach();
  rig.connect();
  return rig;
}

test("a state word with a number that has no name is refused (drbd-84 §4.1)", (t) => {
  for (const word of [
    stateWord({ disk: 9 }),
    stateWord({ disk: 15 }),
    stateWord({ conn: 24 }),
    stateWord({ conn: 31 }),
    stateWord({ role: 3 }),
    stateWord({ pdsk: 12 }),
  ]) {
    const rig = connected();
    t.notThrows(() => rig.say("P_STATE", { state: word }));
    t.true(rig.state.conn < Conn.Connected, word.toString(16));
    t.regex(rig.log.join("\n"), /P_STATE/);
  }
});

test("a state change request cannot give us a role, a disk state other than Outdated, or a connection state of no request (drbd-84 §4.3, §4.4)", (t) => {
  const word = (role: number, peer: number, conn: number, disk: number, pdsk: number): number =>
    role + peer * 4 + conn * 16 + disk * 512 + pdsk * 8192;
  const requests = [
    [word(0, 3, 0, 0, 0), word(0, Role.Primary, 0, 0, 0)],
    [word(0, 0, 0, 0, 15), word(0, 0, 0, 0, DiskState.Diskless)],
    [word(0, 0, 0, 0, 15), word(0, 0, 0, 0, DiskState.Attaching)],
    [word(0, 0, 0, 0, 15), word(0, 0, 0, 0, DiskState.Inconsistent)],
    [word(0, 0, 31, 0, 0), word(0, 0, Conn.StandAlone, 0, 0)],
    [word(0, 0, 31, 0, 0), word(0, 0, Conn.SyncSource, 0, 0)],
    [word(0, 0, 31, 0, 0), word(0, 0, 31, 0, 0)],
    [word(0, 0, 0, 15, 0), word(0, 0, 0, 14, 0)],
    [word(3, 0, 0, 0, 0), word(3, 0, 0, 0, 0)],
  ] as const;
  for (const name of ["P_STATE_CHG_REQ", "P_CONN_ST_CHG_REQ"] as const) {
    for (const [mask, val] of requests) {
      const rig = connected();
      const before = rig.state;
      t.notThrows(() => rig.say(name, { mask, val }));
      const text = `${name} ${mask.toString(16)} ${val.toString(16)}`;
      t.is(rig.state.role, before.role, text);
      t.is(rig.state.disk, before.disk, text);
      t.not(rig.state.conn, Conn.StandAlone, text);
    }
  }
});

test("a promotion of the peer is consented to, and seen (drbd-84 §4.4)", (t) => {
  const rig = connected();
  rig.say("P_STATE_CHG_REQ", { mask: 3, val: 1 });
  t.like(named(rig.received(), "P_STATE_CHG_REPLY")[0]?.values, { retcode: 1 });
  t.is(rig.state.peer, Role.Primary);
});

test("a command that waits for the peer's consent ends when the connection breaks (drbd-84 §4.4)", (t) => {
  const rig = connected();
  const promotion = rig.primary();
  t.is(promotion.outcome, undefined);
  rig.lose();
  rig.pass(0);
  t.is(promotion.outcome?.code, 1, "alone it needs nobody's consent");
  t.is(rig.state.role, Role.Primary);
  t.false(rig.resource.commands.requestInFlight);
});

test("a disconnect whose peer is gone before it could answer ends StandAlone (drbd-84 §4.4)", (t) => {
  const rig = connected();
  const leaving = rig.command((done) => rig.resource.commands.disconnect(false, done));
  t.is(leaving.outcome, undefined);
  rig.lose();
  rig.pass(0);
  t.is(leaving.outcome?.code, 1);
  t.is(rig.state.conn, Conn.StandAlone);
  rig.pass(30_000);
  t.is(rig.state.conn, Conn.StandAlone);
});

test("another size in the middle of a bitmap exchange is refused (drbd-84 §3.5: settled before the exchange)", (t) => {
  const rig = new Rig({ diskBytes: 512 * MIB });
  rig.format(0, { kind: "internal" }, { flags: 0x80 });
  rig.attach();
  rig.connect({ current: 0x5555666677778888n, bitmap: 0x1111222233334444n });
  t.is(rig.state.conn, Conn.WFBitMapT);
  rig.say("P_BITMAP", {}, new Uint8Array(4080));
  t.notThrows(() => rig.say("P_SIZES", rig.sizes(2048, 2048)));
  t.notThrows(() => rig.say("P_BITMAP", {}, new Uint8Array(4080)));
  t.true(rig.state.conn < Conn.Connected);
});

test("P_SYNC_UUID and P_BITMAP at a moment that has none are refused (drbd-84 §6.2)", (t) => {
  for (const say of [
    (rig: Rig) => rig.say("P_BITMAP", {}, new Uint8Array(512)),
    (rig: Rig) => rig.say("P_COMPRESSED_BITMAP", {}, Uint8Array.of(0xa2, 0x5f, 0x31)),
    (rig: Rig) => rig.say("P_SYNC_UUID", { uuid: 5n }),
  ]) {
    const rig = connected();
    rig.primary();
    rig.consent();
    say(rig);
    t.true(rig.state.conn < Conn.Connected);
    t.is(rig.state.disk, DiskState.UpToDate);
  }
});

test("invalidate: a P_SYNC_UUID that comes while the bits are still being written is waited with (drbd-84 §6.2)", (t) => {
  const rig = connected();
  rig.disk().holds = ({ what, tag }) => what === "flush" && rig.resource.requests.kind[tag] === kind.metadata;
  const invalidation = rig.command((done) => rig.resource.commands.invalidate(rig.volume(), done));
  rig.consent();
  t.is(invalidation.outcome?.code, 1);
  t.is(rig.state.conn, Conn.StartingSyncT);
  rig.say("P_SYNC_UUID", { uuid: 0x9999aaaabbbbccccn });
  t.is(rig.state.conn, Conn.StartingSyncT);
  rig.disk().holds = () => false;
  rig.turn(() => rig.disk().endAll());
  t.is(rig.state.conn, Conn.SyncTarget, rig.log.join("\n"));
  t.is(rig.superblock().current, 0x9999aaaabbbbccccn & ~1n);
});

test("a resync that ends while it is paused is finished when it goes on (drbd-84 §7.7, §7.8)", (t) => {
  const rig = new Rig();
  rig.attach();
  rig.becomeTarget(0);
  t.is(rig.state.conn, Conn.SyncTarget, rig.log.join("\n"));
  t.is(named(rig.received(), "P_PING").length, 1, "an empty resync ends at once");
  rig.command((done) => rig.resource.commands.pauseSync(rig.volume(), done));
  rig.say("P_PING_ACK");
  t.is(rig.state.conn, Conn.PausedSyncT);
  rig.received();
  rig.command((done) => rig.resource.commands.resumeSync(rig.volume(), done));
  t.is(named(rig.received(), "P_PING").length, 1);
  rig.say("P_PING_ACK");
  t.is(rig.state.conn, Conn.Connected);
  t.is(rig.state.disk, DiskState.UpToDate);
  t.is(rig.superblock().current, 0x5555666677778888n);
});

/** Answers every request for blocks until there are no more. */
function serve(rig: Rig): number {
  let requests = 0;
  for (let n = 0; n < 200; n++) {
    const received = rig.received();
    for (const { values } of named(received, "P_RS_DATA_REQUEST")) {
      requests++;
      const tail = new Uint8Array(Number(values["blksize"])).fill(9);
      rig.say("P_RS_DATA_REPLY", { sector: values["sector"], blockId: 2n ** 64n - 1n, seqNum: 0, dpFlags: 0 }, tail);
    }
    if (named(received, "P_PING").length > 0) rig.say("P_PING_ACK");
    rig.pass(100);
  }
  return requests;
}

test("a resync copies what the peer's bitmap names, then both are UpToDate with the Source's UUIDs (drbd-84 §7.7, §5.2)", (t) => {
  const rig = new Rig();
  rig.attach();
  rig.becomeTarget(0x01);
  t.is(rig.state.disk, DiskState.Inconsistent);
  serve(rig);
  t.is(rig.state.conn, Conn.Connected);
  t.is(rig.state.disk, DiskState.UpToDate);
  t.is(rig.volume().bitmap?.count, 0);
  t.like(rig.superblock(), { current: 0x5555666677778888n, bitmap: 0n });
  t.is(rig.disk().load(8 * 4096, 1)[0], 9);
  t.is(rig.disk().load(9 * 4096, 1)[0], 0);
});

test("with pass_on a block that cannot be written is counted as failed, and asked for once (drbd-84 §7.3, §7.7, §8.7)", (t) => {
  const rig = new Rig({ volume: { onIoError: "pass_on" } });
  rig.attach();
  rig.becomeTarget(0x01);
  rig.disk().fails = ({ what, at, tag }) =>
    what === "write" && at === 0 && rig.resource.requests.kind[tag] === kind.resyncWrite ? -EIO : 0;
  const requests = serve(rig);
  t.is(rig.state.conn, Conn.Connected);
  t.is(rig.state.disk, DiskState.Inconsistent);
  t.is(rig.volume().bitmap?.count, 1);
  t.is(requests, Math.ceil(rig.volume().size512 / 64), "one per set bit");
});

test("P_RS_CANCEL leaves the bit set and is no failure (drbd-84 §7.3)", (t) => {
  const rig = new Rig();
  rig.attach();
  rig.becomeTarget(0x01);
  rig.pass(0);
  const [request] = named(rig.received(), "P_RS_DATA_REQUEST");
  rig.say("P_RS_CANCEL", { ...request?.values, blksize: 4096, seqNum: 1 });
  t.is(rig.volume().target.failedBits, 0);
  rig.say("P_NEG_RS_DREPLY", { ...request?.values, blksize: 4096, seqNum: 2 });
  t.is(rig.volume().target.failedBits, 1);
});

test("the Source finishes when the Target says so and no bit is left (drbd-84 §4.8 a, §7.7)", (t) => {
  const rig = new Rig();
  rig.attach();
  rig.becomeSource();
  t.is(rig.state.conn, Conn.SyncSource);
  const length = rig.volume().size;
  for (let at = 0; at < length; at += MIB)
    rig.say("P_RS_WRITE_ACK", {
      sector: at / 512,
      blockId: 2n ** 64n - 1n,
      blksize: Math.min(MIB, length - at),
      seqNum: 1,
    });
  t.is(rig.volume().bitmap?.count, 0);
  rig.say("P_STATE", { state: stateWord({ conn: Conn.Connected, disk: DiskState.UpToDate, pdsk: 8 }) });
  t.is(named(rig.received(), "P_PING").length, 1);
  rig.say("P_PING_ACK");
  t.is(rig.state.conn, Conn.Connected);
  t.is(rig.state.pdsk, DiskState.UpToDate);
  t.is(rig.superblock().bitmap, 0n);
});

test("twelve volumes brought up at once do not starve each other of slots for metadata (architecture: slots and memory)", (t) => {
  const rig = new Rig({ volumes: 12, diskBytes: 160 * MIB });
  const outcomes = rig.resource.volumes.map((_, n) => rig.attach(n));
  t.true(outcomes.every(({ outcome }) => outcome?.code === 1));
  rig.connect({ state: { role: Role.Primary } });
  // Every page of every bitmap is to be written, and a barrier wants its flushes meanwhile.
  for (const disk of rig.disks) disk.holds = ({ tag }) => rig.resource.requests.kind[tag] === kind.metadata;
  rig.turn(() => {
    for (const volume of rig.resource.volumes) {
      for (let n = 0; n < 64; n++) volume.patchSuperblock({});
      volume.bitmap?.soilAllPages();
      volume.writeBitmap();
    }
  });
  t.notThrows(() => {
    rig.say("P_DATA", { sector: 0, blockId: 1n, seqNum: 1, dpFlags: 0x102 }, new Uint8Array(512));
    rig.say("P_BARRIER", { barrier: 7 });
  });
  for (let n = 0; n < 2000 && rig.disks.some((disk) => disk.held.length > 0); n++) {
    rig.turn(() => {
      for (const disk of rig.disks) disk.endAll();
    });
  }
  t.is(named(rig.received(), "P_BARRIER_ACK").length, 1);
  t.is(rig.resource.requests.used("control"), 0);
  t.true(rig.resource.volumes.every((volume) => !volume.held));
});

test("a peer cannot make the controller plan further than the option allows (drbd-84 §7.5; c-plan-ahead 0 … 300)", (t) => {
  for (const cPlanAhead of [301, 2 ** 32 - 1]) {
    const rig = connected();
    const values = {
      resyncRate: 250,
      verifyAlg: "",
      csumsAlg: "",
      cDelayTarget: 10,
      cFillTarget: 100,
      cMaxRate: 102_400,
    };
    rig.say("P_SYNC_PARAM89", { ...values, cPlanAhead: 300 });
    t.is(rig.state.conn, Conn.Connected);
    t.notThrows(() => rig.say("P_SYNC_PARAM89", { ...values, cPlanAhead }));
    t.true(rig.state.conn < Conn.Connected);
  }
});
