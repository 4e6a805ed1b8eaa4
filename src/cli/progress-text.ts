/** Progress of a resync as /proc/drbd shows it (drbd-84 §10.8). */
import type { SyncProgress, VolumeStatus } from "../core/status.ts";
import { BYTES_PER_BIT } from "../core/units.ts";

const thousands = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");

/** Done share of 0 … 1; 1 if there was nothing to do. */
export const doneShare = (sync: SyncProgress): number => (sync.total > 0 ? 1 - sync.left / sync.total : 1);

/**
 * As the kernel counts: in units of 1024 bits (4 MiB), the total one unit too large, so that it never divides by zero. Small
 * resyncs therefore advance in coarse steps: 21464 of 65496 KiB left are 68.8 %.
 */
export function kernelPermille(sync: SyncProgress): number {
  const unit = sync.total / KIB_PER_BIT > 2 ** 32 - 1 ? 65536 : 1024;
  const units = (kib: number): number => Math.floor(kib / KIB_PER_BIT / unit);
  return 1000 - Math.floor((units(sync.left) * 1000) / (units(sync.total) + 1));
}
const KIB_PER_BIT = BYTES_PER_BIT / 1024;

export const isSyncState = (volume: VolumeStatus): boolean =>
  ["SyncSource", "SyncTarget", "PausedSyncS", "PausedSyncT"].includes(volume.replication);

export const isVerifyState = (volume: VolumeStatus): boolean => ["VerifyS", "VerifyT"].includes(volume.replication);

/** The states in which /proc/drbd shows progress: not while a resync is paused. */
export const isUnderWay = (volume: VolumeStatus): boolean =>
  ["SyncSource", "SyncTarget", "VerifyS", "VerifyT"].includes(volume.replication);

/** `h:mm:ss`. */
export function clockText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** KiB up to 4 GiB, above in MiB, as the kernel does. */
function amounts(sync: SyncProgress): string {
  const inMiB = sync.total > 4 * 1024 * 1024;
  const show = (kib: number): number => Math.floor(inMiB ? kib / 1024 : kib);
  return `(${show(sync.left)}/${show(sync.total)})${inMiB ? "M" : "K"}`;
}

/** The two lines: bar, percentage and amounts; time left and rates. */
export function progressLines(volume: VolumeStatus, sync: SyncProgress): readonly [string, string] {
  const permille = kernelPermille(sync);
  const x = Math.min(20, Math.floor(permille / 50));
  const bar = `[${"=".repeat(Math.max(0, x - 1))}>${".".repeat(20 - x)}]`;
  const percent = `${String(Math.floor(permille / 10)).padStart(3)}.${permille % 10}%`;
  const label = isVerifyState(volume) ? "verified:" : "sync'ed:";
  const finish = sync.secondsLeft === undefined ? "unknown" : clockText(sync.secondsLeft);
  const want = sync.want === undefined ? "" : ` want: ${thousands(sync.want)}`;
  return [
    `${bar} ${label}${percent} ${amounts(sync)}`,
    `finish: ${finish} speed: ${thousands(sync.rate)} (${thousands(sync.averageRate)})${want} K/sec`,
  ];
}
