import test from "ava";
import { Conn } from "../../../../src/core/state/state.ts";
import { named, Rig, type RigOptions } from "../resource/_rig.ts";

function diskless(options: RigOptions = {}): Rig {
  const rig = new Rig(options);
  rig.connect();
  rig.primary();
  rig.consent();
  rig.received();
  return rig;
}

test("an ack for a write cannot end a read (drbd-84 §8.2: block_id and sector must match)", (t) => {
  for (const name of ["P_WRITE_ACK", "P_RECV_ACK", "P_RS_WRITE_ACK", "P_NEG_ACK"] as const) {
    const rig = diskless();
    const id = rig.read(0, 4096);
    const [request] = named(rig.received(), "P_DATA_REQUEST");
    rig.say(name, { sector: 0, blockId: request?.values["blockId"], blksize: 4096, seqNum: 1 });
    t.not(rig.client().done.get(id), 0, name);
  }
});

test("P_NEG_DREPLY for a read whose data is arriving does not free the memory under it (ports: expectInto)", (t) => {
  const rig = diskless();
  const id = rig.read(0, 4096);
  const [request] = named(rig.received(), "P_DATA_REQUEST");
  const blockId = request?.values["blockId"];
  const head = new Uint8Array(16 + 24 + 8);
  const view = new DataView(head.buffer);
  view.setUint32(0, 0x8620ec20);
  view.setUint16(6, 1);
  view.setUint32(8, 24 + 4096);
  view.setBigUint64(24, blockId as bigint);
  rig.data?.stream.feed(head);
  rig.turn();
  t.notThrows(() => rig.say("P_NEG_DREPLY", { sector: 0, blockId, blksize: 4096, seqNum: 1 }));
  rig.data?.stream.feed(new Uint8Array(4096 - 8));
  t.notThrows(() => rig.turn());
  rig.pass(0);
  t.true(rig.client().done.has(id));
  t.is(rig.client().twice, 0);
  t.is(rig.resource.requests.used("application"), 0);
});

test("P_DATA_REPLY must be for the sector and volume of the read (drbd-84 §8.6)", (t) => {
  const rig = diskless({ volumes: 2 });
  rig.read(0, 4096);
  const [request] = named(rig.received(), "P_DATA_REQUEST");
  const values = { sector: 0, blockId: request?.values["blockId"], seqNum: 0, dpFlags: 0 };
  rig.say("P_DATA_REPLY", values, new Uint8Array(4096), 1);
  t.true(rig.state.conn < Conn.Connected);
  t.is(rig.volume(1).app.open, 0);
});

test("packets that carry no ack are not read as one, at the end of the window least of all", (t) => {
  for (const name of ["P_DELAY_PROBE", "P_INITIAL_META"] as const) {
    const rig = diskless();
    const bytes = new Uint8Array(name === "P_INITIAL_META" ? 16 : 24);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 0x8620ec20);
    view.setUint16(6, name === "P_INITIAL_META" ? 0xfff1 : 0x27);
    view.setUint32(8, bytes.length - 16);
    rig.meta?.stream.feed(bytes);
    t.notThrows(() => rig.turn());
    t.is(rig.state.conn === Conn.Connected, name === "P_DELAY_PROBE");
  }
});

test("P_BARRIER_ACK: wrong number or count is a ProtocolError (drbd-84 §8.3)", (t) => {
  for (const [number, setSize] of [
    [1, 1],
    [0, 2],
  ]) {
    const rig = new Rig();
    rig.attach();
    rig.connect();
    rig.primary();
    rig.consent();
    rig.received();
    rig.write(0, 4096);
    rig.ack(named(rig.received(), "P_DATA"));
    rig.pass(20);
    rig.say("P_BARRIER_ACK", { barrier: number, setSize });
    t.true(rig.state.conn < Conn.Connected);
    t.regex(rig.log.join("\n"), /BAD! P_BARRIER_ACK/);
  }
});

test("P_PING is answered at once (drbd-84 §1.4)", (t) => {
  const rig = diskless();
  rig.say("P_PING");
  t.deepEqual(
    rig.received().map(({ name }) => name),
    ["P_PING_ACK"],
  );
});
