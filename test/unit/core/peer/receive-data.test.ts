import test from "ava";
import { EIO } from "../../../../src/core/block-device.ts";
import { Conn, DiskState, Role } from "../../../../src/core/state/state.ts";
import { requestKinds as kind } from "../../../../src/core/volume/requests.ts";
import { MIB, named, Rig, type RigOptions, stateWord } from "../resource/_rig.ts";

const GIB = 1024 * MIB;
/** dp_flags of a write under protocol C (drbd-84 §2.4). */
const C_WRITE = 0x102;

function secondaryRig(options: RigOptions = {}, futago = false): Rig {
  const rig = new Rig(options);
  rig.attach();
  rig.connect({ futago, state: { role: Role.Primary } });
  return rig;
}

const data = (rig: Rig, sector: number, length: number, id = 1n, dpFlags = C_WRITE): void =>
  rig.say("P_DATA", { sector, blockId: id, seqNum: 1, dpFlags }, new Uint8Array(length).fill(0x5a));

const isBarrierFlush = (rig: Rig) => (operation: { readonly tag: number }) =>
  rig.resource.requests.kind[operation.tag] === kind.barrierFlush;

test("a write of the peer is on the disk before P_WRITE_ACK, which echoes its block_id (drbd-84 §8.2)", (t) => {
  const rig = secondaryRig();
  rig.disk().holds = ({ what }) => what === "write";
  data(rig, 8, 4096, 0xe06e51dd52fe3effn);
  t.deepEqual(rig.received(), []);
  rig.turn(() => rig.disk().endAll());
  const [ack] = rig.received();
  t.is(ack?.name, "P_WRITE_ACK");
  t.like(ack?.values, { sector: 8, blockId: 0xe06e51dd52fe3effn, blksize: 4096 });
  t.is(rig.disk().load(4096, 1)[0], 0x5a);
  t.is(rig.resource.requests.used("peer"), 0);
});

test("P_BARRIER_ACK comes after the writes' acks and a flush of the disk, and counts the writes (drbd-84 §8.3)", (t) => {
  const rig = secondaryRig();
  rig.disk().holds = isBarrierFlush(rig);
  data(rig, 0, 4096, 1n);
  data(rig, 8, 4096, 2n);
  rig.say("P_BARRIER", { barrier: 0x05000000 });
  t.is(rig.disk().held.length, 1);
  t.deepEqual(named(rig.received(), "P_BARRIER_ACK"), []);
  rig.turn(() => rig.disk().endAll());
  t.like(named(rig.received(), "P_BARRIER_ACK")[0]?.values, { barrier: 0x05000000, setSize: 2 });
});

test("a flush begun for an earlier connection does not make an epoch of this one stable (drbd-84 §8.3)", (t) => {
  const rig = secondaryRig();
  rig.disk().holds = isBarrierFlush(rig);
  data(rig, 0, 4096);
  rig.say("P_BARRIER", { barrier: 1 });
  const [stale] = rig.disk().held.splice(0);
  t.truthy(stale);
  rig.lose();
  rig.reestablish();
  rig.describe({ state: { role: Role.Primary } });
  rig.received();
  data(rig, 0, 4096);
  rig.say("P_BARRIER", { barrier: 2 });
  const [fresh] = rig.disk().held.splice(0);
  t.truthy(fresh);
  rig.turn(() => stale?.end());
  t.deepEqual(named(rig.received(), "P_BARRIER_ACK"), []);
  rig.turn(() => fresh?.end());
  t.is(named(rig.received(), "P_BARRIER_ACK").length, 1);
});

test("a failed flush is never acknowledged: the disk is given up and the connection dropped (architecture: what a write means)", (t) => {
  const rig = secondaryRig();
  rig.disk().fails = (operation) => (isBarrierFlush(rig)(operation) ? -EIO : 0);
  data(rig, 0, 4096);
  rig.say("P_BARRIER", { barrier: 1 });
  t.deepEqual(named(rig.received(), "P_BARRIER_ACK"), []);
  t.is(rig.state.disk, DiskState.Diskless);
  t.true(rig.state.conn < Conn.Connected);
});

test("a range longer than 128 MiB is refused, whatever the volume's size (drbd-84 §0)", (t) => {
  for (const name of ["P_TRIM", "P_ZEROES"] as const) {
    for (const size of [128 * MIB + 512, 2 * GIB, 4 * GIB - 512]) {
      const rig = secondaryRig({ diskBytes: 8 * GIB });
      t.notThrows(() => rig.say(name, { sector: 0, blockId: 1n, seqNum: 1, dpFlags: 0x142, size }));
      t.true(rig.state.conn < Conn.Connected, `${name} of ${size}`);
      t.regex(rig.log.join("\n"), new RegExp(`${name}.*134217728`));
      t.is(rig.resource.requests.used("peer"), 0);
    }
  }
});

test("P_TRIM of 128 MiB zeroes the range and is acknowledged (drbd-84 §8.8)", (t) => {
  const rig = secondaryRig({ diskBytes: GIB });
  rig.disk().store(4096, new Uint8Array(4096).fill(1));
  rig.say("P_TRIM", { sector: 0, blockId: 1n, seqNum: 1, dpFlags: 0x142, size: 128 * MIB });
  t.like(named(rig.received(), "P_WRITE_ACK")[0]?.values, { blksize: 128 * MIB });
  t.is(rig.disk().load(4096, 1)[0], 0);
});

test("a range beyond the end of the volume ends in ProtocolError (drbd-84 §2.4)", (t) => {
  for (const [sector, length] of [
    [2 ** 33, 4096],
    [0, 512],
    [2 ** 55, 512],
  ] as const) {
    const rig = secondaryRig();
    const at = sector === 0 ? rig.volume().size512 : sector;
    t.notThrows(() => data(rig, at, length));
    t.true(rig.state.conn < Conn.Connected);
    t.regex(rig.log.join("\n"), /range expected/);
  }
});

test("a request for more than a reply can carry is refused at apv < 95 (drbd-84 §2.1: the length has 16 bits)", (t) => {
  for (const name of ["P_RS_DATA_REQUEST", "P_DATA_REQUEST"] as const) {
    const rig = new Rig();
    rig.attach();
    rig.connect({ apv: 90 });
    t.notThrows(() => rig.say(name, { sector: 0, blockId: 2n ** 64n - 1n, blksize: 128 * 1024 }));
    t.true(rig.state.conn < Conn.Connected);
  }
});

test("P_WSAME is refused by its header: its data is never taken for a header (drbd-84 §2.3)", (t) => {
  const rig = secondaryRig();
  t.notThrows(() =>
    rig.say("P_WSAME", { sector: 0, blockId: 1n, seqNum: 1, dpFlags: 0, size: 4096 }, new Uint8Array(64 * 1024)),
  );
  t.true(rig.state.conn < Conn.Connected);
});

test("P_DELAY_PROBE is ignored on either stream (drbd-84 §2.3)", (t) => {
  const rig = secondaryRig();
  rig.say("P_DELAY_PROBE", { seqNum: 1, offset: 2 });
  t.is(rig.state.conn, Conn.Connected);
});

test("a Secondary whose Primary has no disk marks every write, under its own activity log (drbd-84 §8.7)", (t) => {
  const rig = secondaryRig();
  rig.say("P_STATE", {
    state: stateWord({ role: Role.Primary, conn: Conn.Connected, disk: DiskState.Diskless, pdsk: 8 }),
  });
  rig.received();
  t.is(rig.superblock().flags & 2, 2, "MDF_PRIMARY_IND: its diskless peer is Primary (drbd-84 §9.4)");
  rig.disk().trace.length = 0;
  data(rig, 0, 4096);
  t.is(named(rig.received(), "P_WRITE_ACK").length, 1);
  t.is(rig.volume().bitmap?.count, 1);
  t.is(rig.disk().trace.length, 2, "the log's transaction, then the data");
  t.is(rig.disk().trace[1], "write 0");
  t.is(rig.resource.requests.used("peer"), 0);
});

test("a slot that a broken connection was filling is given back once the stream has closed (ports: destroy)", (t) => {
  const rig = secondaryRig();
  const whole = new Uint8Array(16 + 24 + 100);
  const { stream } = rig.data ?? { stream: undefined };
  t.truthy(stream);
  // A P_DATA of 4096 bytes of which 100 come.
  const view = new DataView(whole.buffer);
  view.setUint32(0, 0x8620ec20);
  view.setUint32(8, 24 + 4096);
  stream?.feed(whole);
  rig.turn();
  t.is(rig.resource.requests.used("peer"), 1);
  rig.turn(() => rig.meta?.stream.close("reset"));
  t.is(rig.resource.requests.used("peer"), 0);
});

test("memory for the peer's writes runs out: the stream stands still, loses nothing and goes on (architecture: the two paths)", (t) => {
  const rig = secondaryRig({}, true);
  rig.disk().holds = ({ what }) => what === "write";
  for (let n = 0; n < 6; n++) data(rig, n * 2048, MIB, BigInt(n + 1));
  t.true((rig.data?.stream.unread ?? 0) > 0);
  for (let n = 0; n < 6; n++) rig.turn(() => rig.disk().endAll());
  t.is(named(rig.received(), "P_WRITE_ACK").length, 6);
  t.is(rig.resource.requests.used("peer"), 0);
});

test("towards a kernel Primary nothing is read between a barrier and its ack; a flood of barriers is no flood of memory (drbd-84 §8.3)", (t) => {
  for (const futago of [false, true]) {
    const rig = secondaryRig({}, futago);
    rig.disk().holds = isBarrierFlush(rig);
    rig.turn(() => {
      for (let n = 0; n < 9000; n++) rig.data?.stream.feed(barrier(n));
    });
    t.true((rig.data?.stream.unread ?? 0) > 0, "the engine stopped reading");
    for (let n = 0; n < 20_000 && rig.disk().held.length + (rig.data?.stream.unread ?? 0) > 0; n++) {
      rig.turn(() => rig.disk().endAll());
      if (rig.disk().held.length === 0) rig.pass(30);
    }
    const acks = named(rig.received(), "P_BARRIER_ACK");
    t.is(acks.length, 9000);
    t.true(acks.every(({ values }, n) => values["barrier"] === n && values["setSize"] === 0));
  }
});

function barrier(number: number): Uint8Array {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x8620ec20);
  view.setUint16(6, 3);
  view.setUint32(8, 8);
  view.setUint32(16, number);
  return bytes;
}

test("a disk that is let go is flushed first for the epochs that are open; if it cannot be, they are not acknowledged (drbd-84 §8.3)", (t) => {
  for (const failing of [false, true]) {
    const rig = secondaryRig({}, true);
    rig.disk().holds = isBarrierFlush(rig);
    data(rig, 0, 4096);
    rig.say("P_BARRIER", { barrier: 1 });
    rig.command((done) => rig.resource.commands.detach(rig.volume(), true, done));
    t.is(rig.state.disk, DiskState.Diskless);
    rig.pass(100);
    t.deepEqual(named(rig.received(), "P_BARRIER_ACK"), []);
    rig.turn(() => rig.disk().endAll(failing ? -EIO : 0));
    t.is(named(rig.received(), "P_BARRIER_ACK").length, failing ? 0 : 1);
    t.is(rig.state.conn === Conn.Connected, !failing);
  }
});

test("a write of the peer that ends after its disk was let go is no success: no flush covers it (drbd-84 §8.2)", (t) => {
  const rig = secondaryRig({}, true);
  rig.disk().holds = ({ what }) => what === "write";
  data(rig, 0, 4096);
  rig.command((done) => rig.resource.commands.detach(rig.volume(), true, done));
  rig.turn(() => rig.disk().endAll());
  t.is(named(rig.received(), "P_NEG_ACK").length, 1);
  t.is(rig.resource.requests.used("peer"), 0);
});
