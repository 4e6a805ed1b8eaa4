/**
 * `apply-al`: makes metadata attachable again after use. What the activity log of a former Primary lists goes into the bitmap, then the log is
 * started anew and the superblock is marked clean (drbd-84 §9.5).
 */

import { bitsFor } from "../units.ts";
import { AL_BLOCK_BYTES, decodeTransaction, replayActivityLog } from "./activity-log.ts";
import { replayOldActivityLog } from "./activity-log-07.ts";
import { ones } from "./bitmap.ts";
import { initializeActivityLog } from "./create-md.ts";
import type { SyncDevice } from "./device.ts";
import { dumpedBitmapBytes } from "./dump.ts";
import { type OpenMetadata, openMetadata, SECTOR, type Target, writeSuperblock } from "./open.ts";
import { shortSize } from "./show.ts";
import { hasFlag, MD_MAGIC_08, MDF } from "./superblock.ts";
import { type CommandResult, Transcript, unasked } from "./transcript.ts";

const BITMAP_BYTES_PER_EXTENT = 128;
const KIB_PER_BIT = 4;

/** Exit code 1: no valid metadata, or PRIMARY_IND without a usable log; nothing is changed then. Repeating it is harmless. */
export function applyAl({ device, placement }: Pick<Target, "device" | "placement">): CommandResult {
  const script = new Transcript(unasked);
  const opened = openMetadata(device, placement);
  if (opened.kind !== "found") {
    script.err("No valid meta data found\n");
    return script.end(1);
  }
  if (opened.clean) return script.end(0);
  const primary = hasFlag(opened.superblock, MDF.PRIMARY_IND);
  const log = readLog(device, opened, script);
  if (log === undefined) {
    if (primary) return script.end(1);
    script.err("Error ignored, no need to apply the AL\n");
  } else if (primary && log.transactions > 0) {
    const marked = markExtents(device, opened, log.extents, script);
    script.err(
      log.extents.length === 0
        ? "Nothing to do.\n"
        : `Marked additional ${shortSize(marked * KIB_PER_BIT)} as out-of-sync based on AL.\n`,
    );
  }
  // The bits are stable before the log that stands for them goes.
  device.flush();
  initializeActivityLog(device, opened.geometry);
  const flags = opened.superblock.flags | MDF.AL_CLEAN;
  writeSuperblock(device, opened.geometry, { ...opened.superblock, flags, magic: MD_MAGIC_08 });
  return script.end(0);
}

interface HotExtents {
  readonly transactions: number;
  /** Ascending. */
  readonly extents: readonly number[];
}

/**
 * Undefined: no usable log. The magic tells the form: 0x8374026c came with today's log, 0x8374026b without AL_CLEAN is from before 8.4,
 * unless the log itself says otherwise.
 */
function readLog(device: SyncDevice, opened: OpenMetadata, script: Transcript): HotExtents | undefined {
  const { geometry, superblock } = opened;
  const log = device.read(geometry.alStart * SECTOR, geometry.alSectors * SECTOR);
  if (superblock.magic !== MD_MAGIC_08) return todaysLog(log, script);
  const old = replayOldActivityLog(log, superblock.alExtents);
  if (old.transactions === 0) {
    const { corrupt } = replayActivityLog(log);
    if (corrupt < log.length / AL_BLOCK_BYTES) return todaysLog(log, script);
    // No error: metadata restored from a dump looks like this.
    script.err("No usable activity log found.\n");
  } else if (old.corrupt > 0)
    script.err(
      `${old.corrupt} corrupt or uninitialized AL transactions found\n` +
        "You can safely ignore this if this node was cleanly stopped (no crash).\n",
    );
  return old;
}

function todaysLog(log: Uint8Array, script: Transcript): HotExtents | undefined {
  const replay = replayActivityLog(log);
  if (replay.corrupt === log.length / AL_BLOCK_BYTES) {
    script.err("No usable activity log found. Do you need to create-md?\n");
    return undefined;
  }
  if (replay.corrupt > 0) script.err(`${replay.corrupt} corrupt AL transactions found\n`);
  // A log that is fresh but for its first block: the first transaction ever was torn. Otherwise something was lost.
  const firstTorn = replay.corrupt === 1 && decodeTransaction(log, 0) === undefined;
  if (replay.transactions === 0 && replay.corrupt > 0 && !firstTorn) {
    script.err("No valid AL update transaction found.\n");
    return undefined;
  }
  for (const entry of replay.outOfRange) script.err(`slot number out of range: ${entry}\n`);
  return replay;
}

/** Sets the 1024 bits of each extent on disk, without touching padding behind the last bit. Returns how many were newly set. */
function markExtents(device: SyncDevice, opened: OpenMetadata, extents: readonly number[], script: Transcript): number {
  const bits = bitsFor(opened.superblock.laSize);
  const end = dumpedBitmapBytes(opened.superblock.laSize);
  const start = opened.geometry.bmStart * SECTOR;
  let marked = 0;
  // One 4 KiB block of bitmap holds 32 extents, and extents come in order: a block is read and written once.
  for (let n = 0; n < extents.length; ) {
    const block = Math.floor(((extents[n] ?? 0) * BITMAP_BYTES_PER_EXTENT) / AL_BLOCK_BYTES);
    const at = block * AL_BLOCK_BYTES;
    if (at >= end) {
      for (const extent of extents.slice(n))
        script.err(`extent ${extent} beyond end of bitmap! (${extent * BITMAP_BYTES_PER_EXTENT} >= ${end})\n`);
      break;
    }
    const bytes = device.read(start + at, AL_BLOCK_BYTES).slice();
    for (; n < extents.length; n++) {
      const from = (extents[n] ?? 0) * BITMAP_BYTES_PER_EXTENT - at;
      if (from >= AL_BLOCK_BYTES) break;
      for (let b = from; b < from + BITMAP_BYTES_PER_EXTENT; b++) marked += setByte(bytes, b, bits - (at + b) * 8);
    }
    device.write(start + at, bytes);
  }
  return marked;
}

/** Sets the bits of byte `at` that exist: `left` bits from its first to the end of the device. */
function setByte(bytes: Uint8Array, at: number, left: number): number {
  if (left <= 0) return 0;
  const old = bytes[at] ?? 0;
  const full = left >= 8 ? 0xff : 2 ** left - 1;
  bytes[at] = old | full;
  return ones(full & ~old);
}
