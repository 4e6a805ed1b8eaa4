import test from "ava";
import { MDF } from "../../../../src/core/metadata/superblock.ts";
import { DiskState } from "../../../../src/core/state/state.ts";
import { vector } from "../metadata/vectors.ts";
import { Rig } from "../resource/_rig.ts";

const GIB = 1024 * 1024 * 1024;
const BITMAP_AT = 1_073_672_192;
const LOG_AT = 1_073_704_960;
const SUPERBLOCK_AT = 1_073_737_728;

/** The disk of a kernel's Primary that was killed while writing (vectors `md`). */
function crashedPrimary(): Rig {
  const rig = new Rig({ diskBytes: GIB });
  rig.disk().store(BITMAP_AT, vector("crashed-primary-1GiB.bm-before.bin"));
  rig.disk().store(LOG_AT, vector("crashed-primary-1GiB.al.bin"));
  rig.disk().store(SUPERBLOCK_AT, vector("crashed-primary-1GiB.sb.bin"));
  return rig;
}

test("the log of a crashed Primary is replayed into the bitmap as by drbdmeta apply-al (drbd-84 §9.5)", (t) => {
  const rig = crashedPrimary();
  t.is(rig.attach().outcome?.code, 1, rig.log.join("\n"));
  t.is(rig.volume().bitmap?.count, 68_613);
  t.deepEqual(rig.disk().load(BITMAP_AT, 32_768), Uint8Array.from(vector("crashed-primary-1GiB.bm-after.bin")));
  t.true(rig.log.includes("Marked additional 268 MB as out-of-sync based on AL."));
  t.true(rig.volume().crashedPrimary);
  t.is(rig.state.disk, DiskState.UpToDate);
  t.like(rig.superblock(), { current: 0xd8c66c496625172cn, bitmap: 0x3b475431d78c6371n });
  t.is(rig.superblock().flags & MDF.CRASHED_PRIMARY, MDF.CRASHED_PRIMARY);
});

test("the bits are stable before the log is begun anew, and that before the superblock: a crash between loses none (architecture: metadata of a crashed Primary)", (t) => {
  const rig = crashedPrimary();
  rig.disk().trace.length = 0;
  rig.attach();
  const order = rig.disk().trace.filter((line) => !line.startsWith("read"));
  const firstLog = order.indexOf(`write ${LOG_AT}`);
  const lastBits = order.lastIndexOf(`write ${BITMAP_AT + 7 * 4096}`);
  const firstSuperblock = order.indexOf(`write ${SUPERBLOCK_AT}`);
  t.true(lastBits >= 0 && lastBits < order.indexOf("flush 0", lastBits));
  t.true(order.indexOf("flush 0", lastBits) < firstLog);
  t.true(firstLog < firstSuperblock);
  for (let n = 0; n < 8; n++) t.true(order.indexOf(`write ${LOG_AT + n * 4096}`) < firstSuperblock);
});

test("a crashed Primary without one valid block in its log is refused, and nothing is written (drbd-84 §9.5)", (t) => {
  const rig = crashedPrimary();
  rig.disk().store(LOG_AT, new Uint8Array(32_768).fill(0xee));
  rig.disk().trace.length = 0;
  const { outcome } = rig.attach();
  t.regex(outcome?.text ?? "", /no valid block/);
  t.is(rig.state.disk, DiskState.Diskless);
  t.true(rig.disk().trace.every((line) => line.startsWith("read")));
  t.true(rig.disk().closed);
});

test("an unclean Secondary needs no replay: its log is not looked at for bits (drbd-84 §9.4)", (t) => {
  const rig = new Rig();
  rig.attach();
  rig.turn(() => rig.resource.commands.detach(rig.volume(), true, () => undefined));
  t.is(rig.superblock().magic, 0x8374026c, "in use");
  t.is(rig.attach().outcome?.code, 1);
  t.is(rig.volume().bitmap?.count, 0);
  t.false(rig.volume().crashedPrimary);
});

test("a read error in superblock, log or bitmap refuses the attach with 118 and lets the disk go (drbd-84 §10.6)", (t) => {
  for (const at of [SUPERBLOCK_AT, LOG_AT + 4096, BITMAP_AT + 4096]) {
    const rig = crashedPrimary();
    rig.disk().fails = (operation) => (operation.what === "read" && operation.at === at ? -5 : 0);
    t.is(rig.attach().outcome?.code, 118);
    t.is(rig.state.disk, DiskState.Diskless);
    t.true(rig.disk().closed);
    t.is(rig.resource.requests.used("control"), 0);
  }
});
