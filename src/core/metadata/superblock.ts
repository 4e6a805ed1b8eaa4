/**
 * The v08 metadata superblock: 4096 bytes, big-endian (drbd-84 §9.2), zero behind the last field. The table is the whole truth; encoder,
 * decoder and tests derive from it.
 */
import { UUID_JUST_CREATED } from "../state/uuids.ts";
import { type Sector, sector } from "../units.ts";
import { invariant } from "./invariant.ts";

export const SUPERBLOCK_BYTES = 4096;

/** Magics stand at offset 60, except v07's, which stands at 28 (drbd-84 §0; v07, v09: as drbdmeta writes them). */
export const MD_MAGIC_07 = 0x8374026a;
export const MD_MAGIC_08 = 0x8374026b;
export const MD_MAGIC_84_UNCLEAN = 0x8374026c;
export const MD_MAGIC_09 = 0x8374026d;
const MAGIC_AT_07 = 28;

/** drbd-84 §9.4. Bits of `Superblock.flags`. */
export const MDF = {
  CONSISTENT: 0x001,
  PRIMARY_IND: 0x002,
  CONNECTED_IND: 0x004,
  FULL_SYNC: 0x008,
  WAS_UP_TO_DATE: 0x010,
  PEER_OUT_DATED: 0x020,
  CRASHED_PRIMARY: 0x040,
  AL_CLEAN: 0x080,
  AL_DISABLED: 0x100,
} as const;
export type MdFlag = keyof typeof MDF;

/** Current UUID of metadata that has never had data (drbd-84 §5.1). */
export { UUID_JUST_CREATED };
export const BM_BYTES_PER_BIT = 4096;
/** What create-md writes (drbd-84 §9.7); the configuration's al-extents replaces it at attach. */
export const AL_EXTENTS_CREATED = 257;

/** Names follow DRBD's fields; offsets and sizes in sectors, `…Offset` relative to the superblock. */
export interface Superblock {
  /** Last agreed size; 0: never attached with a size. */
  readonly laSize: Sector;
  readonly current: bigint;
  readonly bitmap: bigint;
  readonly history1: bigint;
  readonly history2: bigint;
  readonly deviceUuid: bigint;
  readonly reserved: bigint;
  /** MDF bits. */
  readonly flags: number;
  readonly magic: number;
  /** Whole metadata area, sectors. */
  readonly mdSize: number;
  /** Sectors, may be negative. */
  readonly alOffset: number;
  readonly alExtents: number;
  /** Sectors, may be negative. */
  readonly bmOffset: number;
  readonly bmBytesPerBit: number;
  /** Bytes. */
  readonly laPeerMaxBioSize: number;
  /** 0 together with `alStripeSize4k` 0 stands for one stripe of 32 KiB. */
  readonly alStripes: number;
  /** In 4 KiB blocks. */
  readonly alStripeSize4k: number;
}

type FieldType = "u64" | "sectors" | "u32" | "s32";
export const superblockFields = [
  { name: "laSize", at: 0, type: "sectors" },
  { name: "current", at: 8, type: "u64" },
  { name: "bitmap", at: 16, type: "u64" },
  { name: "history1", at: 24, type: "u64" },
  { name: "history2", at: 32, type: "u64" },
  { name: "deviceUuid", at: 40, type: "u64" },
  { name: "reserved", at: 48, type: "u64" },
  { name: "flags", at: 56, type: "u32" },
  { name: "magic", at: 60, type: "u32" },
  { name: "mdSize", at: 64, type: "u32" },
  { name: "alOffset", at: 68, type: "s32" },
  { name: "alExtents", at: 72, type: "u32" },
  { name: "bmOffset", at: 76, type: "s32" },
  { name: "bmBytesPerBit", at: 80, type: "u32" },
  { name: "laPeerMaxBioSize", at: 84, type: "u32" },
  { name: "alStripes", at: 88, type: "u32" },
  { name: "alStripeSize4k", at: 92, type: "u32" },
] as const satisfies readonly { name: keyof Superblock; at: number; type: FieldType }[];

const viewOf = (block: Uint8Array): DataView => new DataView(block.buffer, block.byteOffset, block.byteLength);

/** Writes all 4096 bytes at `at`; what stands behind the last field becomes zero. */
export function encodeSuperblock(superblock: Superblock, target: Uint8Array, at = 0): void {
  invariant(at + SUPERBLOCK_BYTES <= target.length, "room for a superblock");
  target.fill(0, at, at + SUPERBLOCK_BYTES);
  const view = viewOf(target);
  for (const field of superblockFields) {
    const value = superblock[field.name];
    const where = at + field.at;
    if (typeof value === "bigint") view.setBigUint64(where, value);
    else if (field.type === "sectors") view.setBigUint64(where, BigInt(value));
    else if (field.type === "s32") view.setInt32(where, value);
    else view.setUint32(where, value);
  }
}

/** What the first look at a block says. Reasons are one line each, naming field, expected and actual. */
export type SuperblockReading =
  /** Magic of v08 and the fields plausible in themselves; whether they fit the device is geometry's question. */
  | { readonly kind: "v08"; readonly clean: boolean; readonly superblock: Superblock }
  /** Magic of v08, but unusable. */
  | { readonly kind: "invalid"; readonly reason: string }
  | { readonly kind: "v07" }
  | { readonly kind: "v09" }
  | { readonly kind: "none"; readonly magic: number };

/** Reads the 4096 bytes at `at`. `clean` is false for magic 0x8374026c and for 0x8374026b without AL_CLEAN (drbd-84 §9.4, attach decision 1). */
export function decodeSuperblock(block: Uint8Array, at = 0): SuperblockReading {
  invariant(at + SUPERBLOCK_BYTES <= block.length, "a whole superblock");
  const view = viewOf(block);
  const magic = view.getUint32(at + 60);
  if (view.getUint32(at + MAGIC_AT_07) === MD_MAGIC_07 && magic !== MD_MAGIC_08 && magic !== MD_MAGIC_84_UNCLEAN)
    return { kind: "v07" };
  if (magic === MD_MAGIC_09) return { kind: "v09" };
  if (magic !== MD_MAGIC_08 && magic !== MD_MAGIC_84_UNCLEAN) return { kind: "none", magic };
  const superblock = decodeFields(view, at);
  const reason = implausible(superblock);
  if (reason !== undefined) return { kind: "invalid", reason };
  const clean = magic === MD_MAGIC_08 && (superblock.flags & MDF.AL_CLEAN) !== 0;
  return { kind: "v08", clean, superblock };
}

function decodeFields(view: DataView, at: number): Superblock {
  const read: Record<string, number | bigint> = {};
  for (const field of superblockFields) {
    const where = at + field.at;
    if (field.type === "u64") read[field.name] = view.getBigUint64(where);
    else if (field.type === "sectors") read[field.name] = Number(view.getBigUint64(where));
    else if (field.type === "s32") read[field.name] = view.getInt32(where);
    else read[field.name] = view.getUint32(where);
  }
  return read as unknown as Superblock;
}

function implausible(s: Superblock): string | undefined {
  if (s.bmBytesPerBit !== BM_BYTES_PER_BIT)
    return `unexpected bm_bytes_per_bit: ${s.bmBytesPerBit} (expected ${BM_BYTES_PER_BIT})`;
  if (!Number.isSafeInteger(s.laSize)) return `la_size_sect ${s.laSize} is not a size`;
  return undefined;
}

/** Freshly created metadata (drbd-84 §9.7, create-md); sizes and offsets come from geometry. */
export function createdSuperblock(
  place: Pick<Superblock, "mdSize" | "alOffset" | "bmOffset" | "alStripes" | "alStripeSize4k">,
): Superblock {
  return {
    laSize: sector(0),
    current: UUID_JUST_CREATED,
    bitmap: 0n,
    history1: 0n,
    history2: 0n,
    deviceUuid: 0n,
    reserved: 0n,
    flags: MDF.AL_CLEAN,
    magic: MD_MAGIC_08,
    alExtents: AL_EXTENTS_CREATED,
    bmBytesPerBit: BM_BYTES_PER_BIT,
    laPeerMaxBioSize: 0,
    ...place,
  };
}

/** True if any of `flags` is set. */
export const hasFlag = (superblock: Pick<Superblock, "flags">, flag: number): boolean =>
  (superblock.flags & flag) !== 0;
