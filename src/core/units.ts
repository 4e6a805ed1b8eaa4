/**
 * Units that must not be mixed, as distinct types. Casts happen only here; every conversion says how it rounds.
 *
 * Sectors and bits exceed 2^31 on volumes over 1 TiB: never use `|`, `>>` or `<<` on any of these.
 */
declare const unit: unique symbol;
type Unit<Base, Name extends string> = Base & { readonly [unit]: Name };

/** Offset or length in bytes. A number: 2^53 bytes are 8 PiB, DRBD's own limit is 1 PiB. */
export type Bytes = Unit<number, "bytes">;
/** 512-byte sector, the unit on DRBD's wire whatever the device's block size. */
export type Sector = Unit<number, "sector">;
/** One bit of the bitmap: 4 KiB of data (drbd-84 §6.1). */
export type BitmapBit = Unit<number, "bitmap bit">;
/** Number of an activity-log extent: 4 MiB of data (drbd-84 §9.5). */
export type AlExtent = Unit<number, "activity-log extent">;
/** A span of time in milliseconds. */
export type Milliseconds = Unit<number, "ms">;
/** A moment on the engine's monotonic clock, in milliseconds from an arbitrary start. */
export type Instant = Unit<number, "instant">;

export const SECTOR_BYTES = 512;
export const BYTES_PER_BIT = 4096;
export const SECTORS_PER_BIT = BYTES_PER_BIT / SECTOR_BYTES;
export const AL_EXTENT_BYTES = 4 * 1024 * 1024;
export const SECTORS_PER_AL_EXTENT = AL_EXTENT_BYTES / SECTOR_BYTES;
export const BITS_PER_AL_EXTENT = AL_EXTENT_BYTES / BYTES_PER_BIT;

export const bytes = (n: number): Bytes => n as Bytes;
export const sector = (n: number): Sector => n as Sector;
export const bit = (n: number): BitmapBit => n as BitmapBit;
export const alExtent = (n: number): AlExtent => n as AlExtent;
export const ms = (n: number): Milliseconds => n as Milliseconds;
export const seconds = (n: number): Milliseconds => (n * 1000) as Milliseconds;
/** drbd.conf's unit `ds`, a tenth of a second. */
export const deciseconds = (n: number): Milliseconds => (n * 100) as Milliseconds;
export const instant = (n: number): Instant => n as Instant;
export const after = (now: Instant, span: Milliseconds): Instant => (now + span) as Instant;
export const NEVER = Number.POSITIVE_INFINITY as Instant;

export const bytesOf = (n: Sector): Bytes => (n * SECTOR_BYTES) as Bytes;
/** Rounds down: a started sector does not count. */
export const wholeSectors = (n: Bytes): Sector => Math.floor(n / SECTOR_BYTES) as Sector;
/** Rounds down: a partly dirty 4 KiB block is a dirty block. */
export const bitCovering = (at: Sector): BitmapBit => Math.floor(at / SECTORS_PER_BIT) as BitmapBit;
/** Number of bits that cover `size` sectors: rounds up, the last block may be partial. */
export const bitsFor = (size: Sector): number => Math.ceil(size / SECTORS_PER_BIT);
export const firstSectorOf = (n: BitmapBit): Sector => (n * SECTORS_PER_BIT) as Sector;
/** Rounds down. */
export const alExtentOf = (at: Sector): AlExtent => Math.floor(at / SECTORS_PER_AL_EXTENT) as AlExtent;
