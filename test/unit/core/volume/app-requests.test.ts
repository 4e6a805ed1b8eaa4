import test from "ava";
import { EIO } from "../../../../src/core/block-device.ts";
import { Conn, DiskState, Role } from "../../../../src/core/state/state.ts";
import { alExtent } from "../../../../src/core/units.ts";
import { requestKinds as kind } from "../../../../src/core/volume/requests.ts";
import { named, type PeerOptions, Rig, type RigOptions } from "../resource/_rig.ts";

/** A Primary whose peer is a Secondary; without a disk if `attached` is false. */
function primaryRig(options: RigOptions = {}, peer: PeerOptions = {}, attached = true): Rig {
  const rig = new Rig(options);
  if (attached) rig.attach();
  rig.connect(peer);
  rig.primary();
  rig.consent();
  rig.received();
  return rig;
}

const isAppWrite = (rig: Rig) => (operation: { readonly tag: number }) =>
  rig.resource.requests.kind[operation.tag] === kind.appWrite;

test("protocol C: a write is answered when it is written here and acknowledged there, whichever comes last (drbd-84 §8.1 step 6)", (t) => {
  const rig = primaryRig();
  rig.disk().holds = isAppWrite(rig);
  const first = rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"));
  t.false(rig.client().done.has(first), "acknowledged only");
  rig.turn(() => rig.disk().endAll());
  t.is(rig.client().done.get(first), 0);
  rig.disk().holds = () => false;
  const second = rig.write(8192, 4096);
  t.false(rig.client().done.has(second), "written only");
  rig.ack(named(rig.received(), "P_DATA"));
  t.is(rig.client().done.get(second), 0);
});

test("an extent stays in the activity log until its write is on the local disk, even if its epoch is stable on the peer (drbd-84 §8.1 step 7)", (t) => {
  const rig = primaryRig({ net: { maxEpochSize: 1 } });
  rig.disk().holds = isAppWrite(rig);
  const id = rig.write(0, 4096);
  const received = rig.received();
  rig.ack(named(received, "P_DATA"));
  const [barrier] = named(received, "P_BARRIER");
  rig.say("P_BARRIER_ACK", { barrier: barrier?.values["barrier"], setSize: 1 });
  const references = () => rig.volume().activity?.extents.referencesOf(alExtent(0));
  t.is(references(), 1, "the local copy is still being written");
  rig.turn(() => rig.disk().endAll());
  t.is(rig.client().done.get(id), 0);
  t.is(references(), 0);
  t.is(rig.resource.requests.used("application"), 0);
});

test("a write that only a lost peer might have is an error, never a success (architecture: what a write means)", (t) => {
  const rig = primaryRig({}, {}, false);
  t.is(rig.state.role, Role.Primary);
  const id = rig.write(0, 4096);
  rig.lose();
  rig.pass(0);
  t.is(rig.client().done.get(id), EIO);
  t.is(rig.client().twice, 0);
});

test("without a local disk a FLUSH is no success when the peer is lost before the barrier ack (architecture: what a write means)", (t) => {
  const rig = primaryRig({}, {}, false);
  const id = rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"));
  t.is(rig.client().done.get(id), 0);
  const flush = rig.flush();
  rig.lose();
  rig.pass(0);
  t.is(rig.client().done.get(flush), EIO);
});

test("a FLUSH waits for the local flush and for the barrier ack of every epoch closed so far (architecture: what a write means)", (t) => {
  const rig = primaryRig();
  rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"));
  const flush = rig.flush();
  const [barrier] = named(rig.received(), "P_BARRIER");
  t.truthy(barrier, "the barrier goes at once");
  t.false(rig.client().done.has(flush));
  rig.say("P_BARRIER_ACK", { barrier: barrier?.values["barrier"], setSize: 1 });
  t.is(rig.client().done.get(flush), 0);
});

test("a FLUSH that was waiting when the peer was lost ends with the local flush: the difference is covered", (t) => {
  const rig = primaryRig();
  rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"));
  const flush = rig.flush();
  rig.lose();
  rig.pass(0);
  t.is(rig.client().done.get(flush), 0);
  t.is(rig.volume().bitmap?.count, 1);
  t.not(rig.superblock().bitmap, 0n, "a new generation is on disk before anything is answered");
});

for (const attached of [true, false]) {
  test(`protocol A: each write is answered once, ${attached ? "with" : "without"} a local disk (drbd-84 §8.1 step 6)`, (t) => {
    const rig = primaryRig({ net: { protocol: "A" } }, {}, attached);
    const id = rig.write(0, 4096);
    t.is(rig.client().done.get(id), 0);
    t.is(rig.client().twice, 0);
    t.is(rig.volume().app.open, 0);
  });
}

test("protocol A below apv 100: a write during a resync is not acknowledged and is not waited for (drbd-84 §2.4, §8.2)", (t) => {
  const rig = new Rig({ net: { protocol: "A" } });
  rig.attach();
  rig.becomeSource({ apv: 99 });
  t.is(rig.state.conn, Conn.SyncSource, rig.log.join("\n"));
  rig.primary();
  rig.consent();
  const id = rig.write(0, 4096);
  t.is(rig.client().done.get(id), 0);
});

test("protocol B: P_RS_WRITE_ACK that follows P_RECV_ACK clears the bits of an answered write (drbd-84 §8.2)", (t) => {
  const rig = new Rig({ net: { protocol: "B" } });
  rig.attach();
  rig.becomeSource();
  t.is(rig.state.conn, Conn.SyncSource);
  rig.primary();
  rig.consent();
  rig.received();
  const before = rig.volume().bitmap?.count ?? 0;
  const id = rig.write(0, 8192);
  const writes = named(rig.received(), "P_DATA");
  rig.ack(writes, "P_RECV_ACK");
  t.is(rig.client().done.get(id), 0);
  rig.ack(writes, "P_RS_WRITE_ACK");
  t.is(rig.volume().bitmap?.count, before - 2);
});

test("P_NEG_ACK: the range is out of sync before the write is answered, from here alone (drbd-84 §8.2)", (t) => {
  const rig = primaryRig();
  const id = rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"), "P_NEG_ACK");
  t.is(rig.client().done.get(id), 0);
  t.is(rig.volume().bitmap?.count, 1);
});

test("a write that was answered and is not stable on the peer is out of sync when the connection breaks (drbd-84 §8.1 step 7)", (t) => {
  const rig = primaryRig();
  const id = rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"));
  t.is(rig.client().done.get(id), 0);
  t.is(rig.volume().bitmap?.count, 0);
  rig.lose();
  rig.pass(0);
  t.is(rig.volume().bitmap?.count, 1);
  t.is(rig.resource.requests.used("application"), 0);
});

test("the local disk fails: the peer's copy suffices, and reads go there (drbd-84 §8.6, §8.7)", (t) => {
  const rig = primaryRig();
  rig.disk().fails = ({ what, tag }) => (what === "write" && isAppWrite(rig)({ tag }) ? -EIO : 0);
  const id = rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"));
  t.is(rig.client().done.get(id), 0);
  t.is(rig.state.disk, DiskState.Diskless);
  const read = rig.read(0, 4096);
  const [request] = named(rig.received(), "P_DATA_REQUEST");
  t.truthy(request);
  rig.say(
    "P_DATA_REPLY",
    { sector: 0, blockId: request?.values["blockId"], seqNum: 0, dpFlags: 0 },
    new Uint8Array(4096),
  );
  t.is(rig.client().done.get(read), 0);
});

test("a failed local read is served by the peer (drbd-84 §8.6)", (t) => {
  const rig = primaryRig({ volume: { onIoError: "pass_on" } });
  rig.disk().fails = ({ what, at }) => (what === "read" && at === 4096 ? -EIO : 0);
  const read = rig.read(4096, 4096);
  const [request] = named(rig.received(), "P_DATA_REQUEST");
  rig.say(
    "P_DATA_REPLY",
    { sector: 8, blockId: request?.values["blockId"], seqNum: 0, dpFlags: 0 },
    new Uint8Array(4096).fill(7),
  );
  t.is(rig.client().done.get(read), 0);
  t.is(rig.volume().bitmap?.count, 1);
});

test("a read that waits for the peer is tried again when the connection breaks, and is an error without a disk (drbd-84 §8.6)", (t) => {
  const rig = primaryRig({}, {}, false);
  const read = rig.read(0, 4096);
  rig.lose();
  rig.pass(0);
  t.is(rig.client().done.get(read), EIO);
});

test("secondary waits for the writes that are under way: the disk says Primary until they are covered (drbd-84 §10.10)", (t) => {
  const rig = primaryRig();
  rig.disk().holds = isAppWrite(rig);
  const id = rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"));
  const demotion = rig.command((done) => rig.resource.commands.secondary(rig.volume(), done));
  t.is(demotion.outcome, undefined);
  t.is(rig.superblock().flags & 2, 2, "MDF_PRIMARY_IND");
  rig.turn(() => rig.disk().endAll());
  t.is(rig.client().done.get(id), 0);
  const [barrier] = named(rig.received(), "P_BARRIER");
  t.is(demotion.outcome, undefined, "the epoch is not stable on the peer");
  rig.say("P_BARRIER_ACK", { barrier: barrier?.values["barrier"], setSize: 1 });
  t.is(demotion.outcome?.code, 1);
  t.is(rig.superblock().flags & 2, 0);
});

test("4000 writes to one place on a node that has lost its disk end one after another, not one within another", (t) => {
  const rig = new Rig({ net: { koCount: 0 } });
  rig.attach();
  rig.primary();
  rig.disk().holds = ({ tag }) => rig.resource.requests.kind[tag] === kind.appZero;
  const client = rig.client();
  const volume = rig.volume();
  const ids = Array.from({ length: 4000 }, () => client.take(0));
  rig.turn(() => {
    for (const id of ids) volume.writeZeroes(id, 0, 4096, false, true, false);
  });
  t.is(rig.disk().held.length, 1);
  t.notThrows(() => rig.turn(() => rig.disk().endAll(-EIO)));
  for (const id of ids) t.true(client.done.has(id));
  t.is(rig.resource.requests.used("application"), 0);
});

for (const size of [32 * 1024, 128 * 1024, 1024 * 1024]) {
  for (const apv of [90, 97, 100]) {
    test(`a write of ${size / 1024} KiB reaches a peer of apv ${apv} in packets it can take (drbd-84 §0)`, (t) => {
      const rig = primaryRig({}, { apv });
      const id = rig.write(0, size);
      const writes = named(rig.received(), "P_DATA");
      const most = apv >= 100 ? 1024 * 1024 : apv >= 95 ? 128 * 1024 : 32 * 1024;
      t.is(
        writes.reduce((sum, { tail }) => sum + tail.length, 0),
        size,
      );
      for (const { tail } of writes) t.true(tail.length <= most);
      rig.ack(writes.slice(1));
      if (writes.length > 1) t.false(rig.client().done.has(id));
      rig.ack(writes.slice(0, 1));
      t.is(rig.client().done.get(id), 0);
      rig.pass(100);
      const [barrier] = named(rig.received(), "P_BARRIER");
      rig.say("P_BARRIER_ACK", { barrier: barrier?.values["barrier"], setSize: writes.length });
      t.is(rig.state.conn, Conn.Connected);
      t.is(rig.resource.requests.used("application"), 0);
    });
  }
}

test("a read of 1 MiB from a peer of apv 90 is asked for and answered in parts, a failed part fails it (drbd-84 §0, §8.6)", (t) => {
  for (const failing of [false, true]) {
    const rig = primaryRig({}, { apv: 90 }, false);
    const id = rig.read(0, 1024 * 1024);
    const requests = named(rig.received(), "P_DATA_REQUEST");
    t.is(requests.length, 32);
    requests.reverse().forEach(({ values }, n) => {
      t.is(values["blksize"], 32 * 1024);
      const reply = { sector: values["sector"], blockId: values["blockId"], seqNum: 0, dpFlags: 0 };
      t.false(rig.client().done.has(id));
      if (failing && n === 7) rig.say("P_NEG_DREPLY", { ...reply, blksize: 32 * 1024 });
      else rig.say("P_DATA_REPLY", reply, new Uint8Array(32 * 1024).fill(Number(values["sector"]) / 64));
    });
    t.is(rig.client().done.get(id), failing ? EIO : 0);
    const memory = rig.volume().memoryOf(id);
    if (!failing) t.is(rig.memory.bytes[memory + 5 * 32 * 1024 + 17], 5);
    t.is(rig.state.conn, Conn.Connected);
  }
});

test("TRIM and WRITE_ZEROES go in pieces of 4 MiB, and as P_TRIM, to a peer without WSAME and WZEROES (drbd-84 §0, §2.4)", (t) => {
  for (const verb of ["trim", "zero"] as const) {
    const rig = primaryRig({}, { features: 1 });
    const client = rig.client();
    const id = client.take(0);
    const length = 10 * 1024 * 1024;
    rig.turn(() => {
      if (verb === "trim") rig.volume().trim(id, 0, length, false);
      else rig.volume().writeZeroes(id, 0, length, false, false, false);
    });
    const sent = named(rig.received(), "P_TRIM");
    t.deepEqual(
      sent.map(({ values }) => values["size"]),
      [4, 4, 2].map((n) => n * 1024 * 1024),
    );
    for (const { values } of sent) t.is(Number(values["dpFlags"]) & 64, 64, "DISCARD");
    rig.ack(sent);
    t.is(client.done.get(id), 0);
  }
});

test("references on extents of a detached disk's log are not given back to the next one's (drbd-84 §8.7)", (t) => {
  const rig = primaryRig();
  const id = rig.write(0, 4096);
  rig.ack(named(rig.received(), "P_DATA"));
  t.is(rig.client().done.get(id), 0);
  rig.pass(20);
  const [barrier] = named(rig.received(), "P_BARRIER");
  rig.command((done) => rig.resource.commands.detach(rig.volume(), true, done));
  t.is(rig.state.disk, DiskState.Diskless);
  t.is(rig.attach().outcome?.code, 1);
  t.notThrows(() => rig.say("P_BARRIER_ACK", { barrier: barrier?.values["barrier"], setSize: 1 }));
  t.is(rig.resource.requests.used("application"), 0);
});
