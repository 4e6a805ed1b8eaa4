import test from "ava";
import {
  checkAlLayout,
  checkAlRelayout,
  checkAttach,
  checkPlacement,
  determineSize,
  geometryOf,
  layOut,
  maxAlExtents,
  maxDataSize,
  type Placement,
  superblockAt,
} from "../../../../src/core/metadata/geometry.ts";
import {
  createdSuperblock,
  decodeSuperblock,
  encodeSuperblock,
  MDF,
  type Superblock,
} from "../../../../src/core/metadata/superblock.ts";
import { sector } from "../../../../src/core/units.ts";
import { placementNamed, vector, vectorIndex } from "./vectors.ts";

const internal: Placement = { kind: "internal" };
const flex: Placement = { kind: "flex-external" };

for (const [name, image] of Object.entries(vectorIndex))
  test(`§9.3 layout of ${name} is the one the real tool chose`, (t) => {
    const al = name.includes("al2x64k") ? { stripes: 2, stripeSize4k: 16 } : { stripes: 1, stripeSize4k: 8 };
    const capacity = sector(image.device_bytes / 512);
    const placement = placementNamed(image.format);
    const geometry = layOut(placement, capacity, al);
    t.is(geometry.superblock * 512, image.md_offset);
    t.is(geometry.alStart * 512, image.al_offset);
    t.is(geometry.bmStart * 512, image.bm_offset);
    t.is(geometry.mdSize, image.md_size_sect);
    if (image.usable_sectors !== undefined) t.is(maxDataSize(geometry, capacity), sector(image.usable_sectors));
    const reading = decodeSuperblock(vector(`${name}.sb.bin`));
    if (reading.kind !== "v08") return t.fail(reading.kind);
    t.deepEqual(geometryOf(reading.superblock, placement, capacity), { ok: true, geometry });
  });

for (const [backing, superblock, mdSize, bmOffset, alOffset, usable] of [
  [204800, 204792, 80, -72, -64, 204720],
  [2097152, 2097144, 136, -128, -64, 2097016],
  [2097155, 2097144, 144, -136, -64, 2097008],
  [20971520, 20971512, 712, -704, -64, 20970808],
  [1953525168, 1953525160, 59696, -59688, -64, 1953465472],
] as const)
  test(`§9.3 example: internal on ${backing} sectors`, (t) => {
    const g = layOut(internal, sector(backing));
    t.like(g, { superblock: sector(superblock), mdSize, bmOffset, alOffset });
    t.is(maxDataSize(g, sector(backing)), sector(usable));
  });

test("§9.1: index i stands at 128 MiB x i", (t) => {
  t.is(superblockAt({ kind: "indexed", index: 3 }, sector(0)), sector(3 * 262144));
});

test("§9.3: flex-external usable size is the smaller of the backing device and what the bitmap covers", (t) => {
  const g = layOut(flex, sector(2048));
  t.is(maxDataSize(g, sector(10 ** 9)), sector((2048 - 72) * 32768));
  t.is(maxDataSize(g, sector(1000)), sector(1000));
  t.is(
    maxDataSize(layOut({ kind: "indexed", index: 0 }, sector(262144)), sector(2 ** 40)),
    sector((262144 - 72) * 32768),
  );
});

test("§9.3 activity log of 32 KiB to 16 GiB: 168 below, 167 above", (t) => {
  t.is(checkAlLayout({ stripes: 1, stripeSize4k: 7 })?.code, 168);
  t.is(checkAlLayout({ stripes: 0, stripeSize4k: 8 })?.code, 168);
  t.is(checkAlLayout({ stripes: 1, stripeSize4k: 8 }), undefined);
  t.is(checkAlLayout({ stripes: 4, stripeSize4k: 1024 * 1024 }), undefined);
  t.is(checkAlLayout({ stripes: 4, stripeSize4k: 1024 * 1024 + 1 })?.code, 167);
});

test("§10.6: changing the log's layout needs a connection (166) and room beside the data (169)", (t) => {
  const now = {
    placement: internal,
    backing: sector(2097152),
    meta: sector(2097152),
    size: sector(2097016),
    connected: true,
    forced: false,
  };
  const bigger = { stripes: 2, stripeSize4k: 16 };
  t.is(checkAlRelayout(bigger, { ...now, connected: false })?.code, 166);
  t.is(checkAlRelayout(bigger, now)?.code, 169);
  t.is(checkAlRelayout(bigger, { ...now, size: sector(2000000) }), undefined);
  t.is(checkAlRelayout(bigger, { ...now, size: sector(2000000), connected: false, forced: true }), undefined);
  t.is(checkAlRelayout({ stripes: 1, stripeSize4k: 1 }, now)?.code, 168);
  t.is(checkAlRelayout(bigger, { ...now, placement: { kind: "indexed", index: 0 } })?.code, 169);
});

test("§9.5: al-extents at most 65534 and (N-1) x 919, 6433 for 32 KiB", (t) => {
  t.is(maxAlExtents({ stripes: 1, stripeSize4k: 8 }), 6433);
  t.is(maxAlExtents({ stripes: 4, stripeSize4k: 1024 }), 65534);
});

test("§9.3 attach: internal needs one device, the others two, and an index is not negative (116)", (t) => {
  const big = sector(2 ** 30);
  t.is(checkPlacement(internal, big, false)?.code, 116);
  t.is(checkPlacement(flex, big, true)?.code, 116);
  t.is(checkPlacement({ kind: "indexed", index: 0 }, big, true)?.code, 116);
  t.is(checkPlacement({ kind: "indexed", index: -5 }, big, false)?.code, 116);
  t.is(checkPlacement(internal, big, true), undefined);
});

test("§9.3 attach: the meta device has 1 MiB, indexed 128 MiB x (i+1) (112)", (t) => {
  t.is(checkPlacement(internal, sector(2047), true)?.code, 112);
  t.is(checkPlacement(internal, sector(2048), true), undefined);
  t.is(checkPlacement(flex, sector(2047), false)?.code, 112);
  t.is(checkPlacement({ kind: "indexed", index: 1 }, sector(2 * 262144 - 1), false)?.code, 112);
  t.is(checkPlacement({ kind: "indexed", index: 1 }, sector(2 * 262144), false), undefined);
});

const capacity = sector(2097152);
const fresh = vector("internal-1GiB.sb.bin");
const attach = (block: Uint8Array | undefined, userSize = 0) =>
  checkAttach({
    placement: internal,
    backingCapacity: capacity,
    metaCapacity: capacity,
    sameDevice: true,
    block,
    userSize: sector(userSize),
  });

test("§9.4 attach of fresh metadata offers the usable size", (t) => {
  const outcome = attach(fresh);
  t.like(outcome, { ok: true, maxSize: sector(2097016) });
});

test("§10.6: unreadable 118, no magic 119, unclean 165, configured size too big 111", (t) => {
  t.like(attach(undefined), { ok: false, code: 118 });
  t.like(attach(new Uint8Array(4096)), { ok: false, code: 119, detail: "magic 0x00000000" });
  t.like(attach(vector("crashed-primary-1GiB.sb.bin")), { ok: false, code: 165 });
  t.like(attach(fresh, 2097017), { ok: false, code: 111 });
  t.like(attach(fresh, 2097016), { ok: true });
});

function changed(change: Partial<Superblock>): Uint8Array {
  const reading = decodeSuperblock(fresh);
  if (reading.kind !== "v08") throw new Error(reading.kind);
  const block = new Uint8Array(4096);
  encodeSuperblock({ ...reading.superblock, ...change }, block);
  return block;
}

for (const [what, change] of [
  ["al_offset not before the superblock", { alOffset: -72 }],
  ["al_offset positive", { alOffset: 8 }],
  ["bm_offset that leaves another size", { bmOffset: -120 }],
  ["bitmap below la_size", { laSize: sector(2097152 * 2) }],
  ["activity log below 32 KiB", { alStripes: 1, alStripeSize4k: 7 }],
  ["stripes without a size", { alStripes: 2, alStripeSize4k: 0 }],
  ["metadata larger than the device", { mdSize: 4000000, bmOffset: -3999992 }],
  ["odd bm_offset", { mdSize: 137, bmOffset: -129 }],
] as const)
  test(`§9.3 attach: ${what} is invalid metadata (119)`, (t) => {
    t.like(attach(changed(change)), { ok: false, code: 119 });
  });

test("§9.2: stripes 0 and size 0 are one stripe of 32 KiB", (t) => {
  t.like(attach(changed({ alStripes: 0, alStripeSize4k: 0 })), {
    ok: true,
    geometry: layOut(internal, capacity),
  });
});

test("§9.4 item 7: shrinking a CONSISTENT device implicitly is refused (170), an inconsistent one shrinks", (t) => {
  const large = { laSize: sector(2097016) };
  const half = sector(1048576);
  const smaller = layOut(internal, half);
  const input = {
    placement: internal,
    backingCapacity: half,
    metaCapacity: half,
    sameDevice: true,
    userSize: sector(0),
  };
  const place = { mdSize: 144, alOffset: -64, bmOffset: -136, alStripes: 1, alStripeSize4k: 8 };
  t.true(place.mdSize > smaller.mdSize);
  const block = (flags: number): Uint8Array => {
    const bytes = new Uint8Array(4096);
    encodeSuperblock({ ...createdSuperblock(place), ...large, flags }, bytes);
    return bytes;
  };
  t.like(checkAttach({ ...input, block: block(MDF.AL_CLEAN | MDF.CONSISTENT) }), { ok: false, code: 170 });
  t.like(checkAttach({ ...input, block: block(MDF.AL_CLEAN) }), { ok: true });
});

test("§9.3: an indexed slot must have default geometry", (t) => {
  const reading = decodeSuperblock(vector("indexed-external-slot1.sb.bin"));
  if (reading.kind !== "v08") return t.fail();
  const at = { kind: "indexed", index: 1 } as const;
  const device = sector(269484032 / 512);
  const { superblock } = reading;
  t.true(geometryOf(superblock, at, device).ok);
  t.false(geometryOf({ ...superblock, alStripes: 2, bmOffset: 136 }, at, device).ok);
  t.false(geometryOf({ ...superblock, mdSize: 262136 }, at, device).ok);
});

for (const [own, peer, lastAgreed, user, expected, tooBig] of [
  [100, 80, 0, 0, 80, false],
  [80, 100, 90, 0, 80, false],
  [100, 0, 90, 0, 90, false],
  [80, 0, 90, 0, 80, false],
  [0, 80, 90, 0, 80, false],
  [0, 0, 90, 0, 90, false],
  [100, 0, 0, 0, 100, false],
  [0, 80, 0, 0, 80, false],
  [0, 0, 0, 0, 0, false],
  [100, 80, 0, 70, 70, false],
  [100, 80, 0, 80, 80, false],
  [100, 80, 0, 81, 80, true],
  [100, 0, 90, 95, 90, true],
] as const)
  test(`§9.6: own ${own}, peer ${peer}, last ${lastAgreed}, user ${user} gives ${expected}`, (t) => {
    const input = { own: sector(own), peer: sector(peer), lastAgreed: sector(lastAgreed), user: sector(user) };
    t.deepEqual(determineSize(input), { size: sector(expected), userSizeTooBig: tooBig });
  });

test("§9.6: assuming the peer has space, the own size alone counts", (t) => {
  const input = { own: sector(100), peer: sector(80), lastAgreed: sector(70), user: sector(0) };
  t.is(determineSize({ ...input, assumePeerHasSpace: true }).size, sector(100));
});

test("§9.3: external metadata that ends behind its device is invalid (119)", (t) => {
  const reading = decodeSuperblock(vector("flex-external-md4MiB.sb.bin"));
  if (reading.kind !== "v08") return t.fail();
  t.true(geometryOf(reading.superblock, flex, sector(8192)).ok);
  t.like(geometryOf(reading.superblock, flex, sector(8191)), { ok: false, code: 119 });
});
