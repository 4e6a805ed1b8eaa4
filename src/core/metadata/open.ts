/** Finding v08 metadata on a device, for the offline commands. */
import { bytes as bytesUnit, type Sector, sector, wholeSectors } from "../units.ts";
import type { SyncDevice } from "./device.ts";
import { type Geometry, geometryOf, maxDataSize, type Placement, superblockAt } from "./geometry.ts";
import {
  decodeSuperblock,
  encodeSuperblock,
  SUPERBLOCK_BYTES,
  type Superblock,
  type SuperblockReading,
} from "./superblock.ts";

/** What a command works on. `name` is the path as the operator wrote it. */
export interface Target {
  readonly device: SyncDevice;
  readonly name: string;
  readonly placement: Placement;
}

export const SECTOR = 512;
/** drbdmeta refuses devices of 64 KiB and less: no layout has room for data beside itself. */
const TOO_SMALL_BYTES = 65536;

export const capacityOf = (device: SyncDevice): Sector => wholeSectors(bytesUnit(device.size));

export interface OpenMetadata {
  readonly kind: "found";
  readonly superblock: Superblock;
  readonly geometry: Geometry;
  /** Neither unclean nor without AL_CLEAN. */
  readonly clean: boolean;
  /** la_size_sect as stored where it was larger than the device allows; `superblock` holds the truncated one. */
  readonly truncated: Sector | undefined;
}

export type Opened =
  | OpenMetadata
  /** `reason` is undefined where simply nothing is there. */
  | { readonly kind: "none"; readonly reason: string | undefined }
  | { readonly kind: "too small" };

/** The block where a superblock of this placement would be, undefined beyond the device. */
export function readingAt(device: SyncDevice, placement: Placement): SuperblockReading | undefined {
  const at = superblockAt(placement, capacityOf(device)) * SECTOR;
  if (at < 0 || at + SUPERBLOCK_BYTES > device.size) return undefined;
  return decodeSuperblock(device.read(at, SUPERBLOCK_BYTES));
}

export const tooSmall = (device: SyncDevice): boolean => device.size <= TOO_SMALL_BYTES;

/** A last agreed size beyond the device does not make metadata unusable for the tools: it is truncated, as drbdmeta does. */
export function openMetadata(device: SyncDevice, placement: Placement): Opened {
  if (tooSmall(device)) return { kind: "too small" };
  const reading = readingAt(device, placement);
  if (reading === undefined) return { kind: "none", reason: "the device ends before the superblock" };
  if (reading.kind === "invalid") return { kind: "none", reason: reading.reason };
  if (reading.kind !== "v08")
    return { kind: "none", reason: reading.kind === "none" ? undefined : `it is ${reading.kind}` };
  const stored = reading.superblock;
  const placed = geometryOf({ ...stored, laSize: sector(0) }, placement, capacityOf(device));
  if (!placed.ok) return { kind: "none", reason: placed.detail };
  // The backing device of external metadata is not known here; the bitmap's size bounds it.
  const most = maxDataSize(placed.geometry, sector(Number.MAX_SAFE_INTEGER));
  const truncated = stored.laSize > most ? stored.laSize : undefined;
  const superblock = truncated === undefined ? stored : { ...stored, laSize: most };
  return { kind: "found", superblock, geometry: placed.geometry, clean: reading.clean, truncated };
}

export function writeSuperblock(device: SyncDevice, geometry: Geometry, superblock: Superblock): void {
  const block = new Uint8Array(SUPERBLOCK_BYTES);
  encodeSuperblock(superblock, block);
  device.write(geometry.superblock * SECTOR, block);
  device.flush();
}

/** The fields of a superblock that say where everything lies. */
export const placeFields = ({ mdSize, alOffset, bmOffset, al }: Geometry) => ({
  mdSize,
  alOffset,
  bmOffset,
  alStripes: al.stripes,
  alStripeSize4k: al.stripeSize4k,
});
