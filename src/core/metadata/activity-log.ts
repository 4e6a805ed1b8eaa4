/**
 * The activity log on disk: a ring of 4 KiB transactions that say which 4 MiB extents may differ from the peer's (drbd-84 §9.5). Written by the
 * data path without allocating; read by apply-al.
 */
import type { Memory } from "../ports.ts";
import { crc32cRaw } from "../wire/crc32c.ts";
import { AL_CONTEXT_PER_TRANSACTION, type AlLayout } from "./geometry.ts";
import { invariant } from "./invariant.ts";

export const AL_BLOCK_BYTES = 4096;
export const AL_MAGIC = 0x69cb65a2;
export const AL_UPDATES_PER_TRANSACTION = 64;
/** Slot without an extent. */
export const FREE_EXTENT = 0xffffffff;
const UNUSED_SLOT = 0xffff;

export const AL_TR_UPDATE = 0;
/** Written by the tools only: an empty, valid block. */
export const AL_TR_INITIALIZED = 0xffff;

/** Offsets in a block (drbd-84 §9.5). */
const AT = {
  magic: 0,
  trNumber: 4,
  crc32c: 8,
  type: 12,
  updates: 14,
  contextSize: 16,
  contextStart: 18,
  updateSlots: 36,
  updateExtents: 164,
  context: 420,
} as const;

/** What one block says. The arrays are owned by whoever made it; `context` is the whole slot table as it was before the updates. */
export interface Transaction {
  trNumber: number;
  /** 0 … 64 */
  updates: number;
  readonly updateSlots: Uint16Array;
  readonly updateExtents: Uint32Array;
  /** First slot of the window of 919 that is repeated. */
  contextStart: number;
  /** Indexed by slot; its length is the context size. */
  readonly context: Uint32Array;
}

/** Encodes 4096 bytes at `at` of `memory`, checksum included. Allocates nothing. */
export function encodeTransaction(memory: Memory, at: number, t: Transaction): void {
  const { view } = memory;
  view.setUint32(at + AT.magic, AL_MAGIC);
  view.setUint32(at + AT.trNumber, t.trNumber);
  view.setUint32(at + AT.crc32c, 0);
  view.setUint16(at + AT.type, AL_TR_UPDATE);
  view.setUint16(at + AT.updates, t.updates);
  view.setUint16(at + AT.contextSize, t.context.length);
  view.setUint16(at + AT.contextStart, t.contextStart);
  memory.bytes.fill(0, at + AT.contextStart + 2, at + AT.updateSlots);
  for (let n = 0; n < AL_UPDATES_PER_TRANSACTION; n++) {
    const used = n < t.updates;
    view.setUint16(at + AT.updateSlots + 2 * n, used ? (t.updateSlots[n] ?? UNUSED_SLOT) : UNUSED_SLOT);
    view.setUint32(at + AT.updateExtents + 4 * n, used ? (t.updateExtents[n] ?? FREE_EXTENT) : FREE_EXTENT);
  }
  for (let n = 0; n < AL_CONTEXT_PER_TRANSACTION; n++)
    view.setUint32(at + AT.context + 4 * n, t.context[t.contextStart + n] ?? FREE_EXTENT);
  view.setUint32(at + AT.crc32c, crc32cRaw(memory.bytes, at, at + AL_BLOCK_BYTES));
}

/** The block create-md and apply-al fill the ring with: magic, type 0xffff, checksum 0x709cc651, else zero. */
export function encodeInitialized(memory: Memory, at: number): void {
  memory.bytes.fill(0, at, at + AL_BLOCK_BYTES);
  memory.view.setUint32(at + AT.magic, AL_MAGIC);
  memory.view.setUint16(at + AT.type, AL_TR_INITIALIZED);
  memory.view.setUint32(at + AT.crc32c, crc32cRaw(memory.bytes, at, at + AL_BLOCK_BYTES));
}

/** Block of the ring that transaction `trNumber` is written to: consecutive ones on different stripes. */
export function ringPosition(trNumber: number, al: AlLayout): number {
  const s = trNumber % (al.stripes * al.stripeSize4k);
  return (s % al.stripes) * al.stripeSize4k + Math.floor(s / al.stripes);
}

/** One decoded block; entries as stored, unused ones included. */
export interface AlBlock {
  readonly trNumber: number;
  readonly type: number;
  readonly updates: number;
  readonly contextSize: number;
  readonly contextStart: number;
  readonly updateSlots: readonly number[];
  readonly updateExtents: readonly number[];
  readonly context: readonly number[];
}

/** The block at `at`, or undefined if magic or checksum is wrong: torn, or never written. */
export function decodeTransaction(bytes: Uint8Array, at: number): AlBlock | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, AL_BLOCK_BYTES);
  if (view.getUint32(AT.magic) !== AL_MAGIC) return undefined;
  const copy = bytes.slice(at, at + AL_BLOCK_BYTES);
  copy.fill(0, AT.crc32c, AT.crc32c + 4);
  if (crc32cRaw(copy, 0, AL_BLOCK_BYTES) !== view.getUint32(AT.crc32c)) return undefined;
  const u32s = (from: number, count: number): number[] =>
    Array.from({ length: count }, (_, n) => view.getUint32(from + 4 * n));
  return {
    trNumber: view.getUint32(AT.trNumber),
    type: view.getUint16(AT.type),
    updates: view.getUint16(AT.updates),
    contextSize: view.getUint16(AT.contextSize),
    contextStart: view.getUint16(AT.contextStart),
    updateSlots: Array.from({ length: AL_UPDATES_PER_TRANSACTION }, (_, n) => view.getUint16(AT.updateSlots + 2 * n)),
    updateExtents: u32s(AT.updateExtents, AL_UPDATES_PER_TRANSACTION),
    context: u32s(AT.context, AL_CONTEXT_PER_TRANSACTION),
  };
}

export interface Replay {
  /** Valid update transactions. */
  readonly transactions: number;
  /** Valid blocks of type 0xffff. */
  readonly initialized: number;
  /** Neither: torn or never written. One is normal after a crash. */
  readonly corrupt: number;
  /** Newest transaction, undefined without any. */
  readonly newest: number | undefined;
  /** Hot extents, ascending, each once. */
  readonly extents: readonly number[];
  /** Slots outside the 65535 that exist; such an entry is ignored and named. */
  readonly outOfRange: readonly string[];
}

/** Age of a transaction number against another, on the wrapping 32-bit circle. */
const difference = (a: number, b: number): number => (a - b) | 0;

/**
 * Replays a whole activity log, `bytes.length / 4096` blocks in ring order. The order of application is that of the transaction numbers, so
 * the stripes do not matter here. No valid block at all is for the caller to judge: an error only if PRIMARY_IND (drbd-84 §9.5).
 */
export function replayActivityLog(bytes: Uint8Array): Replay {
  invariant(bytes.length % AL_BLOCK_BYTES === 0, "an activity log is whole blocks");
  const blocks: AlBlock[] = [];
  let initialized = 0;
  let corrupt = 0;
  for (let at = 0; at < bytes.length; at += AL_BLOCK_BYTES) {
    const block = decodeTransaction(bytes, at);
    if (block === undefined) corrupt++;
    else if (block.type === AL_TR_INITIALIZED) initialized++;
    else blocks.push(block);
  }
  blocks.sort((a, b) => difference(a.trNumber, b.trNumber));
  const slots = new Map<number, number>();
  const outOfRange: string[] = [];
  for (const block of blocks) apply(block, slots, outOfRange);
  const hot = new Set(slots.values());
  hot.delete(FREE_EXTENT);
  return {
    transactions: blocks.length,
    initialized,
    corrupt,
    newest: blocks.at(-1)?.trNumber,
    extents: [...hot].sort((a, b) => a - b),
    outOfRange,
  };
}

/** Context first, updates after it: the context of a transaction shows the slots as they were before. */
function apply(block: AlBlock, slots: Map<number, number>, outOfRange: string[]): void {
  for (const [n, extent] of block.context.entries()) {
    const slot = block.contextStart + n;
    if (extent === FREE_EXTENT && slot >= block.contextSize) continue;
    if (slot < UNUSED_SLOT) slots.set(slot, extent);
    else outOfRange.push(`tr:${block.trNumber} slot:${slot}`);
  }
  for (let n = 0; n < Math.min(block.updates, AL_UPDATES_PER_TRANSACTION); n++) {
    const slot = block.updateSlots[n] ?? UNUSED_SLOT;
    const extent = block.updateExtents[n] ?? FREE_EXTENT;
    if (slot === UNUSED_SLOT && extent === FREE_EXTENT) continue;
    if (slot < UNUSED_SLOT) slots.set(slot, extent);
    else outOfRange.push(`tr:${block.trNumber} slot:${slot}`);
  }
}
