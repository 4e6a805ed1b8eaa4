/**
 * Reads the metadata of a disk and makes it ready for use (drbd-84 §9.3 to §9.6): superblock, replay of the activity log of a crashed
 * Primary into the bitmap, bitmap. Nothing on the disk is changed before every check has passed.
 */
import { type Replay, replayActivityLog } from "../metadata/activity-log.ts";
import { Bitmap } from "../metadata/bitmap.ts";
import { fail, type MetadataFailure } from "../metadata/failures.ts";
import {
  checkAttach,
  checkPlacement,
  determineSize,
  type Geometry,
  geometryOf,
  type Placement,
  superblockAt,
} from "../metadata/geometry.ts";
import {
  decodeSuperblock,
  encodeSuperblock,
  hasFlag,
  MD_MAGIC_08,
  MDF,
  SUPERBLOCK_BYTES,
  type Superblock,
} from "../metadata/superblock.ts";
import type { Disk } from "../ports.ts";
import { BITS_PER_AL_EXTENT, bit, SECTOR_BYTES, type Sector, sector, wholeSectors } from "../units.ts";
import { METADATA_BLOCK, type MetadataIo } from "./metadata-io.ts";

export interface AttachedDisk {
  readonly ok: true;
  /** As it will be written back: magic still clean, AL_CLEAN set. */
  readonly superblock: Superblock;
  readonly geometry: Geometry;
  /** Largest size this disk can offer. */
  readonly maxSize: Sector;
  readonly size: Sector;
  /** Every bit known so far, those of the replayed log included; changed pages are dirty. */
  readonly bitmap: Bitmap;
  readonly log: readonly string[];
}

export interface AttachRequest {
  readonly io: MetadataIo;
  readonly dataDisk: Disk;
  readonly metaDisk: Disk;
  readonly placement: Placement;
  readonly userSize: Sector;
  readonly done: (result: AttachedDisk | MetadataFailure) => void;
}

export function readMetadata(request: AttachRequest): void {
  const { io, metaDisk, placement, done } = request;
  const capacity = wholeSectors(metaDisk.size);
  const misplaced = checkPlacement(placement, capacity, metaDisk === request.dataDisk);
  if (misplaced !== undefined) return done(misplaced);
  const at = superblockAt(placement, capacity) * SECTOR_BYTES;
  let block = new Uint8Array(SUPERBLOCK_BYTES);
  io.read(
    at,
    (bytes, offset) => {
      block = bytes.slice(offset, offset + SUPERBLOCK_BYTES);
    },
    (errno) => (errno === 0 ? readLog(request, block) : done(fail("ERR_IO_MD_DISK", `superblock: errno ${errno}`))),
  );
}

/** The log matters only if this node was Primary when it stopped without saying so; else the unclean mark is simply taken off. */
function readLog(request: AttachRequest, block: Uint8Array): void {
  const { io, metaDisk, placement, done } = request;
  const capacity = wholeSectors(metaDisk.size);
  const reading = decodeSuperblock(block);
  if (reading.kind !== "v08") return checked(request, block, undefined);
  const { superblock } = reading;
  const placed = geometryOf(superblock, placement, capacity);
  if (!placed.ok) return done(placed);
  if (reading.clean) return checked(request, block, undefined);
  const { geometry } = placed;
  const log = new Uint8Array(geometry.alSectors * SECTOR_BYTES);
  readBlocks(io, geometry.alStart * SECTOR_BYTES, log, (errno) => {
    if (errno !== 0) return done(fail("ERR_IO_MD_DISK", `activity log: errno ${errno}`));
    const replay = replayActivityLog(log);
    const wasPrimary = hasFlag(superblock, MDF.PRIMARY_IND);
    if (wasPrimary && replay.transactions + replay.initialized === 0) {
      return done(
        fail("ERR_MD_INVALID", "no valid block in the activity log of a crashed Primary: run invalidate on this node"),
      );
    }
    const clean: Superblock = { ...superblock, magic: MD_MAGIC_08, flags: superblock.flags | MDF.AL_CLEAN };
    const again = new Uint8Array(SUPERBLOCK_BYTES);
    encodeSuperblock(clean, again);
    checked(request, again, wasPrimary ? replay : undefined);
  });
}

function checked(request: AttachRequest, block: Uint8Array, replay: Replay | undefined): void {
  const { io, dataDisk, metaDisk, placement, userSize, done } = request;
  const result = checkAttach({
    placement,
    backingCapacity: wholeSectors(dataDisk.size),
    metaCapacity: wholeSectors(metaDisk.size),
    sameDevice: metaDisk === dataDisk,
    block,
    userSize,
  });
  if (!result.ok) return done(result);
  const { superblock, geometry, maxSize } = result;
  const { size } = determineSize({ own: maxSize, peer: sector(0), lastAgreed: superblock.laSize, user: userSize });
  // Read with the size the bits were written for; what was never agreed on has no bits to read.
  const bitmap = new Bitmap(superblock.laSize);
  const bytes = new Uint8Array(bitmap.pageCount * METADATA_BLOCK);
  readBlocks(io, geometry.bmStart * SECTOR_BYTES, bytes, (errno) => {
    if (errno !== 0) return done(fail("ERR_IO_MD_DISK", `bitmap: errno ${errno}`));
    for (let page = 0; page < bitmap.pageCount; page++) bitmap.copyPageIn(page, bytes, page * METADATA_BLOCK);
    const log: string[] = [];
    if (replay !== undefined) log.push(markHotExtents(bitmap, replay));
    if (size !== superblock.laSize) bitmap.resize(size, true);
    done({ ok: true, superblock, geometry, maxSize, size, bitmap, log });
  });
}

function markHotExtents(bitmap: Bitmap, replay: Replay): string {
  for (const extent of replay.extents) {
    const from = Math.min(extent * BITS_PER_AL_EXTENT, bitmap.bits);
    bitmap.setRange(bit(from), bit(Math.min(from + BITS_PER_AL_EXTENT, bitmap.bits)));
  }
  return `Marked additional ${replay.extents.length * 4} MB as out-of-sync based on AL.`;
}

function readBlocks(io: MetadataIo, at: number, into: Uint8Array, done: (errno: number) => void): void {
  let open = 1;
  let failure = 0;
  const ended = (errno: number) => {
    failure = failure || errno;
    open--;
    if (open === 0) done(failure);
  };
  for (let offset = 0; offset < into.length; offset += METADATA_BLOCK) {
    open++;
    io.read(at + offset, (bytes, from) => into.set(bytes.subarray(from, from + METADATA_BLOCK), offset), ended);
  }
  ended(0);
}
