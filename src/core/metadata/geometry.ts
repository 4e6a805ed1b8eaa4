/**
 * Where metadata v08 lies and how large its parts are (drbd-84 §9.1, §9.3), what an attach checks (§9.3, §9.4, §10.6) and how the size of
 * the device follows (§9.6). Everything is in 512-byte sectors.
 *
 *     internal:   data | bitmap | activity log | superblock          (at the end of the backing device)
 *     external:   superblock | activity log | bitmap                 (at 0, or at 128 MiB x index, of the meta device)
 */
import { type Sector, sector } from "../units.ts";
import { fail, type MetadataFailure } from "./failures.ts";
import { decodeSuperblock, hasFlag, MDF, type Superblock } from "./superblock.ts";

export type Placement =
  | { readonly kind: "internal" }
  | { readonly kind: "flex-external" }
  | { readonly kind: "indexed"; readonly index: number };

/** The activity log as configured: `stripes` times `stripeSize4k` blocks of 4 KiB. */
export interface AlLayout {
  readonly stripes: number;
  readonly stripeSize4k: number;
}
export const defaultAlLayout: AlLayout = { stripes: 1, stripeSize4k: 8 };

const SECTORS_PER_4K = 8;
const SUPERBLOCK_SECTORS = 8;
/** Reserved for each slot of an indexed meta device: 128 MiB. */
export const INDEXED_SECTORS = 262144;
/** One 512-byte sector of bitmap covers 16 MiB of data. */
const DATA_SECTORS_PER_BITMAP_SECTOR = 32768;
/** 1 PiB. drbdmeta refuses more; the kernel's own constant (2^51 sectors) is out of reach of any 8.4 metadata. */
export const MAX_DATA_SECTORS = 2 ** 41;
/** A meta device that is not indexed must have 1 MiB (drbd-84 §9.3). */
const MIN_META_SECTORS = 2048;
const MIN_AL_BLOCKS = 8;
const MAX_AL_BLOCKS = 4 * 1024 * 1024;

/** al-extents: 67 … 65534 by configuration, and no more than the log can repeat with one block torn (drbd-84 §9.5). */
export const MIN_AL_EXTENTS = 67;
export const maxAlExtents = (al: AlLayout): number =>
  Math.min(65534, (al.stripes * al.stripeSize4k - 1) * AL_CONTEXT_PER_TRANSACTION);
/** Context entries of one activity-log block (drbd-84 §9.5). */
export const AL_CONTEXT_PER_TRANSACTION = 919;

/** Absolute positions on the meta device; relative ones as the superblock stores them. */
export interface Geometry {
  readonly placement: Placement;
  readonly al: AlLayout;
  readonly superblock: Sector;
  /** md_size_sect. */
  readonly mdSize: number;
  readonly alOffset: number;
  readonly bmOffset: number;
  readonly alStart: Sector;
  readonly alSectors: number;
  readonly bmStart: Sector;
  /** Length of the bitmap area. */
  readonly bmSectors: number;
  /** First sector of the metadata area: data ends here if internal. */
  readonly first: Sector;
}

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;
export const alSectors = (al: AlLayout): number => al.stripes * al.stripeSize4k * SECTORS_PER_4K;
/** Bitmap for `capacity` sectors of data, rounded up to 4 KiB. */
export const bmSectors = (capacity: Sector): number =>
  roundUp(Math.ceil(capacity / DATA_SECTORS_PER_BITMAP_SECTOR), SECTORS_PER_4K);

/** May be negative for an internal placement on a device below 4 KiB: `checkPlacement` refuses that. */
export function superblockAt(placement: Placement, metaCapacity: Sector): Sector {
  switch (placement.kind) {
    case "internal":
      return sector(Math.floor(metaCapacity / SECTORS_PER_4K) * SECTORS_PER_4K - SUPERBLOCK_SECTORS);
    case "flex-external":
      return sector(0);
    case "indexed":
      return sector(INDEXED_SECTORS * placement.index);
    default:
      return placement satisfies never;
  }
}

/** Layout for new metadata. `metaCapacity` is that of the device it stands on (the backing device if internal). */
export function layOut(placement: Placement, metaCapacity: Sector, al: AlLayout = defaultAlLayout): Geometry {
  const internal = placement.kind === "internal";
  const mdSize = internal
    ? bmSectors(metaCapacity) + SUPERBLOCK_SECTORS + alSectors(al)
    : placement.kind === "indexed"
      ? INDEXED_SECTORS
      : // The field has 32 bits; a larger device holds far more than the largest bitmap anyway.
        Math.min(metaCapacity, 2 ** 32 - 8);
  return place(placement, metaCapacity, al, {
    mdSize,
    alOffset: internal ? -alSectors(al) : SUPERBLOCK_SECTORS,
    bmOffset: internal ? SUPERBLOCK_SECTORS - mdSize : SUPERBLOCK_SECTORS + alSectors(al),
  });
}

function place(
  placement: Placement,
  metaCapacity: Sector,
  al: AlLayout,
  s: Pick<Superblock, "mdSize" | "alOffset" | "bmOffset">,
): Geometry {
  const superblock = superblockAt(placement, metaCapacity);
  const bmStart = sector(superblock + s.bmOffset);
  const internal = placement.kind === "internal";
  const bmEnd = internal ? superblock + s.alOffset : superblock + s.mdSize;
  return {
    placement,
    al,
    superblock,
    mdSize: s.mdSize,
    alOffset: s.alOffset,
    bmOffset: s.bmOffset,
    alStart: sector(superblock + s.alOffset),
    alSectors: alSectors(al),
    bmStart,
    bmSectors: Math.floor(Math.max(0, bmEnd - bmStart) / SECTORS_PER_4K) * SECTORS_PER_4K,
    first: internal ? bmStart : superblock,
  };
}

/** Stripes as stored, with the zeroes of metadata from before 8.4.3 read as the default (drbd-84 §9.2). */
export function alLayoutOf(s: Pick<Superblock, "alStripes" | "alStripeSize4k">): AlLayout {
  if (s.alStripes === 0 && s.alStripeSize4k === 0) return defaultAlLayout;
  return { stripes: s.alStripes, stripeSize4k: s.alStripeSize4k };
}

/** 167, 168: 32 KiB … 16 GiB (drbd-84 §9.3). */
export function checkAlLayout(al: AlLayout): MetadataFailure | undefined {
  const blocks = al.stripes * al.stripeSize4k;
  const said = `${al.stripes} stripes of ${al.stripeSize4k * 4} KiB`;
  if (blocks > MAX_AL_BLOCKS) return fail("ERR_MD_LAYOUT_TOO_BIG", `activity log of ${said}: at most 16 GiB`);
  if (!(blocks >= MIN_AL_BLOCKS)) return fail("ERR_MD_LAYOUT_TOO_SMALL", `activity log of ${said}: at least 32 KiB`);
  return undefined;
}

/**
 * Change of the activity log's layout while attached (`resize --al-stripes`): 166 unless connected, 167, 168, and 169 where the agreed size
 * would no longer be usable beside it.
 */
export function checkAlRelayout(
  to: AlLayout,
  now: { placement: Placement; backing: Sector; meta: Sector; size: Sector; connected: boolean; forced: boolean },
): MetadataFailure | undefined {
  const bad = checkAlLayout(to);
  if (bad) return bad;
  if (!now.connected && !now.forced) return fail("ERR_MD_LAYOUT_CONNECTED", "not connected to the peer");
  if (now.placement.kind === "indexed")
    return fail("ERR_MD_LAYOUT_NO_FIT", "an indexed meta device has room for the default activity log only");
  const usable = maxDataSize(layOut(now.placement, now.meta, to), now.backing);
  if (usable < now.size)
    return fail("ERR_MD_LAYOUT_NO_FIT", `${usable} sectors would stay usable, the device has ${now.size}`);
  return undefined;
}

/** Largest data size that this metadata and backing device allow (drbd-84 §9.3). */
export function maxDataSize(geometry: Geometry, backingCapacity: Sector): Sector {
  if (geometry.placement.kind === "internal") return sector(Math.max(0, Math.min(geometry.first, MAX_DATA_SECTORS)));
  // Of a meta device that is not a multiple of 4 KiB the last bitmap block could not be written: bmSectors leaves it out.
  return sector(Math.min(backingCapacity, geometry.bmSectors * DATA_SECTORS_PER_BITMAP_SECTOR, MAX_DATA_SECTORS));
}

/** What can be said before the superblock is read: 116 for a wrong combination, 112 where it cannot lie on the device. */
export function checkPlacement(
  placement: Placement,
  metaCapacity: Sector,
  sameDevice: boolean,
): MetadataFailure | undefined {
  if (placement.kind === "indexed" && (!Number.isInteger(placement.index) || placement.index < 0))
    return fail("ERR_MD_IDX_INVALID", `index ${placement.index}`);
  if (sameDevice !== (placement.kind === "internal"))
    return fail(
      "ERR_MD_IDX_INVALID",
      sameDevice ? `${placement.kind} needs a device of its own` : "internal meta data lies on the backing device",
    );
  const least = placement.kind === "indexed" ? INDEXED_SECTORS * (placement.index + 1) : MIN_META_SECTORS;
  if (metaCapacity < least)
    return fail("ERR_MD_DISK_TOO_SMALL", `meta device has ${metaCapacity} sectors, ${least} are needed`);
  return undefined;
}

/** Offsets and sizes of a superblock against the device it was read from: 119 with field, expected and actual (drbd-84 §9.3). */
export function geometryOf(
  superblock: Superblock,
  placement: Placement,
  metaCapacity: Sector,
): { readonly ok: true; readonly geometry: Geometry } | MetadataFailure {
  const al = alLayoutOf(superblock);
  const badAl = checkAlLayout(al);
  if (badAl) return fail("ERR_MD_INVALID", badAl.detail);
  const geometry = place(placement, metaCapacity, al, superblock);
  const wrong = misplaced(superblock, geometry, metaCapacity);
  return wrong === undefined ? { ok: true, geometry } : fail("ERR_MD_INVALID", wrong);
}

function misplaced(s: Superblock, g: Geometry, metaCapacity: Sector): string | undefined {
  const internal = g.placement.kind === "internal";
  const expectedAl = internal ? -g.alSectors : SUPERBLOCK_SECTORS;
  if (s.alOffset !== expectedAl) return `unexpected al_offset: ${s.alOffset} (expected ${expectedAl})`;
  const expectedBm = internal ? SUPERBLOCK_SECTORS - s.mdSize : SUPERBLOCK_SECTORS + g.alSectors;
  if (s.bmOffset !== expectedBm) return `unexpected bm_offset: ${s.bmOffset} (expected ${expectedBm})`;
  if (s.bmOffset % SECTORS_PER_4K !== 0) return `bm_offset ${s.bmOffset} is not 4 KiB aligned`;
  if (g.placement.kind === "indexed") {
    if (s.mdSize !== INDEXED_SECTORS) return `unexpected md_size: ${s.mdSize} (expected ${INDEXED_SECTORS})`;
    if (g.alSectors !== alSectors(defaultAlLayout))
      return `unexpected activity log: ${g.alSectors} sectors (expected ${alSectors(defaultAlLayout)})`;
  }
  if (g.first < 0) return `meta data of ${s.mdSize} sectors does not fit the device`;
  const end = internal ? g.superblock + SUPERBLOCK_SECTORS : g.superblock + s.mdSize;
  if (end > metaCapacity) return `meta data ends at sector ${end}, the device at ${metaCapacity}`;
  if (g.bmSectors < bmSectors(s.laSize))
    return `bitmap of ${g.bmSectors} sectors is too small for la_size_sect ${s.laSize}`;
  return undefined;
}

export interface AttachInput {
  readonly placement: Placement;
  /** Data device. */
  readonly backingCapacity: Sector;
  /** The same as `backingCapacity` if internal. */
  readonly metaCapacity: Sector;
  readonly sameDevice: boolean;
  /** The 4096 bytes at `superblockAt`, or undefined where reading failed (118). */
  readonly block: Uint8Array | undefined;
  /** The configured `size`, 0 if none. */
  readonly userSize: Sector;
}

export interface Attachable {
  readonly ok: true;
  readonly superblock: Superblock;
  readonly geometry: Geometry;
  /** Largest size this side can offer. */
  readonly maxSize: Sector;
}

/** All attach checks on metadata (drbd-84 §9.3, §9.4): 111, 112, 116, 118, 119, 165, 170. */
export function checkAttach(input: AttachInput): Attachable | MetadataFailure {
  const { placement, metaCapacity, backingCapacity } = input;
  const badPlace = checkPlacement(placement, metaCapacity, input.sameDevice);
  if (badPlace) return badPlace;
  if (input.block === undefined)
    return fail("ERR_IO_MD_DISK", `superblock at sector ${superblockAt(placement, metaCapacity)} not readable`);
  const reading = decodeSuperblock(input.block);
  if (reading.kind === "invalid") return fail("ERR_MD_INVALID", reading.reason);
  if (reading.kind === "none") return fail("ERR_MD_INVALID", `magic 0x${reading.magic.toString(16).padStart(8, "0")}`);
  if (reading.kind !== "v08")
    return fail("ERR_MD_INVALID", `meta data is ${reading.kind}, v08 is needed: convert it with create-md`);
  if (!reading.clean) return fail("ERR_MD_UNCLEAN", 'Found unclean meta data. Did you "drbdadm apply-al"?');
  const { superblock } = reading;
  const placed = geometryOf(superblock, placement, metaCapacity);
  if (!placed.ok) return placed;
  const maxSize = maxDataSize(placed.geometry, backingCapacity);
  if (maxSize < input.userSize)
    return fail("ERR_DISK_TOO_SMALL", `${maxSize} sectors usable, ${input.userSize} configured`);
  const size = determineSize({ own: maxSize, peer: sector(0), lastAgreed: superblock.laSize, user: input.userSize });
  if (hasFlag(superblock, MDF.CONSISTENT) && size.size < superblock.laSize)
    return fail(
      "ERR_IMPLICIT_SHRINK",
      `refusing to truncate a consistent device (${size.size} < ${superblock.laSize})`,
    );
  return { ok: true, superblock, geometry: placed.geometry, maxSize };
}

export interface SizeInput {
  /** Own largest size; 0: no disk. */
  readonly own: Sector;
  /** The peer's d_size; 0: unknown. */
  readonly peer: Sector;
  readonly lastAgreed: Sector;
  /** The configured `size`; 0: none. */
  readonly user: Sector;
  /** `resize --assume-peer-has-space`. */
  readonly assumePeerHasSpace?: boolean;
}

/** drbd-84 §9.6. `size` 0: both nodes diskless. `userSizeTooBig`: the configured size exceeds it and was ignored. */
export function determineSize(input: SizeInput): { readonly size: Sector; readonly userSizeTooBig: boolean } {
  const own = input.own;
  const peer = input.assumePeerHasSpace === true ? own : input.peer;
  const known = [own, peer].filter((n) => n > 0);
  const least = known.length === 0 ? 0 : Math.min(...known);
  let size = least;
  if (known.length < 2 && input.lastAgreed > 0)
    size = known.length === 0 ? input.lastAgreed : Math.min(input.lastAgreed, least);
  const userSizeTooBig = input.user > size;
  if (input.user > 0 && !userSizeTooBig) size = input.user;
  return { size: sector(size), userSizeTooBig };
}
