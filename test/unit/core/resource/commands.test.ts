import test from "ava";
import { Conn, DiskState, Role } from "../../../../src/core/state/state.ts";
import { requestKinds as kind } from "../../../../src/core/volume/requests.ts";
import { named, Rig, stateWord } from "./_rig.ts";

const isMetadataFlush =
  (rig: Rig) =>
  ({ what, tag }: { readonly what: string; readonly tag: number }): boolean =>
    what === "flush" && rig.resource.requests.kind[tag] === kind.metadata;

test("an attach that was begun while connected does not negotiate with a peer that is gone when it ends (drbd-84 §9.4, 5)", (t) => {
  const rig = new Rig();
  rig.connect({ state: { role: Role.Primary } });
  rig.disk().holds = isMetadataFlush(rig);
  const attaching = rig.attach();
  t.is(rig.state.disk, DiskState.Attaching);
  // The peer speaks again meanwhile, then it is gone.
  rig.say("P_STATE", { state: stateWord({ role: Role.Primary, conn: Conn.Connected, pdsk: 0 }) });
  rig.lose();
  rig.disk().holds = () => false;
  rig.turn(() => rig.disk().endAll());
  t.is(attaching.outcome?.code, 1);
  t.is(rig.state.disk, DiskState.UpToDate);
  t.false(rig.volume().held);
});

test("an attach that was begun alone negotiates with a peer that is there when it ends (drbd-84 §3.1, late attach)", (t) => {
  const rig = new Rig();
  rig.command((done) => rig.resource.commands.connect(false, done));
  rig.disk().holds = isMetadataFlush(rig);
  const attaching = rig.attach();
  t.is(rig.state.disk, DiskState.Attaching);
  rig.reestablish();
  rig.describe({ state: { role: Role.Secondary } });
  rig.received();
  t.is(rig.state.conn, Conn.Connected);
  rig.disk().holds = () => false;
  rig.turn(() => rig.disk().endAll());
  t.is(attaching.outcome?.code, 1);
  t.is(rig.state.disk, DiskState.Negotiating);
  t.deepEqual(
    rig.received().map(({ name }) => name),
    ["P_SIZES", "P_UUIDS", "P_STATE"],
  );
  rig.say("P_UUIDS", {
    current: 0x1111222233334444n,
    bitmap: 0n,
    history1: 0n,
    history2: 0n,
    dirtyBits: 0,
    uuidFlags: 0,
  });
  rig.say("P_STATE", { state: stateWord({ conn: Conn.Connected, pdsk: DiskState.UpToDate }) });
  t.is(rig.state.disk, DiskState.UpToDate);
});

test("detach: the peer consents, the bitmap is written, the disk is let go, and reads go to the peer (drbd-84 §4.4, §8.7)", (t) => {
  const rig = new Rig();
  rig.attach();
  rig.connect();
  rig.primary();
  rig.consent();
  rig.received();
  const detaching = rig.command((done) => rig.resource.commands.detach(rig.volume(), false, done));
  t.like(named(rig.received(), "P_STATE_CHG_REQ")[0]?.values, { mask: 0x1e00, val: 0x400 });
  rig.consent();
  t.is(detaching.outcome?.code, 1);
  t.is(rig.state.disk, DiskState.Diskless);
  t.true(rig.disk().closed);
  rig.read(0, 4096);
  t.is(named(rig.received(), "P_DATA_REQUEST").length, 1);
});

test("an attach whose metadata cannot be written ends Diskless with 118, and nothing is left behind (drbd-84 §10.6)", (t) => {
  const rig = new Rig();
  rig.disk().fails = ({ what }) => (what === "write" ? -5 : 0);
  const attaching = rig.attach();
  t.is(attaching.outcome?.code, 118);
  t.is(rig.state.disk, DiskState.Diskless);
  t.is(rig.resource.requests.used("control"), 0);
  t.false(rig.volume().held);
  rig.disk().fails = () => 0;
  t.is(rig.attach().outcome?.code, 1);
});

test("commands run one at a time, in the order they come", (t) => {
  const rig = new Rig();
  rig.attach();
  rig.connect();
  const order: string[] = [];
  const { commands } = rig.resource;
  rig.turn(() => {
    commands.primary(rig.volume(), false, () => order.push("primary"));
    commands.secondary(rig.volume(), () => order.push("secondary"));
    commands.pauseSync(rig.volume(), () => order.push("pause"));
  });
  t.deepEqual(order, []);
  rig.consent();
  t.deepEqual(order, ["primary", "secondary", "pause"]);
});

test("a promotion is on disk before the first write is started (architecture: superblock writes)", (t) => {
  const rig = new Rig();
  rig.attach();
  rig.disk().holds = isMetadataFlush(rig);
  const promoting = rig.primary();
  t.is(promoting.outcome, undefined);
  const id = rig.write(0, 4096);
  t.false(rig.client().done.has(id));
  t.is(rig.superblock().flags & 2, 0);
  for (let n = 0; n < 10; n++) rig.turn(() => rig.disk().endAll());
  t.is(promoting.outcome?.code, 1);
  t.is(rig.superblock().flags & 2, 2, "MDF_PRIMARY_IND");
  t.is(rig.client().done.get(id), 0);
});
