/**
 * The activity log of DRBD up to 8.3, found when metadata is carried over: 512-byte sectors instead of 4 KiB blocks, a xor instead of a checksum
 * (drbd-84 §9.5, last paragraph). Read only: apply-al rewrites the log in today's form.
 */
const SECTOR = 512;
const MAGIC_07 = 0x83740267;
const ENTRIES = 62;
const CONTEXT = ENTRIES - 1;
const FREE = 0xffffffff;
const AT_NUMBER = 4;
const AT_ENTRIES = 8;
const AT_XOR = AT_ENTRIES + 8 * ENTRIES;

export interface OldReplay {
  readonly transactions: number;
  /** Sectors of the used part that are not valid. */
  readonly corrupt: number;
  /** Ascending, each once. */
  readonly extents: readonly number[];
}

interface OldTransaction {
  readonly trNumber: number;
  readonly entries: readonly (readonly [slot: number, extent: number])[];
}

function decode(view: DataView, at: number): OldTransaction | undefined {
  if (view.getUint32(at) !== MAGIC_07) return undefined;
  let xor = 0;
  const entries: [number, number][] = [];
  for (let n = 0; n < ENTRIES; n++) {
    const extent = view.getUint32(at + AT_ENTRIES + 8 * n + 4);
    xor ^= extent;
    entries.push([view.getUint32(at + AT_ENTRIES + 8 * n), extent]);
  }
  if (xor >>> 0 !== view.getUint32(at + AT_XOR)) return undefined;
  return { trNumber: view.getUint32(at + AT_NUMBER), entries };
}

/** `alExtents` (al_nr_extents) says how much of the log was in use: 1 + ceil(alExtents / 61) sectors. */
export function replayOldActivityLog(bytes: Uint8Array, alExtents: number): OldReplay {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const used = Math.min(1 + Math.ceil(alExtents / CONTEXT), Math.floor(bytes.length / SECTOR));
  const valid: OldTransaction[] = [];
  for (let n = 0; n < used; n++) {
    const transaction = decode(view, n * SECTOR);
    if (transaction !== undefined) valid.push(transaction);
  }
  valid.sort((a, b) => (a.trNumber - b.trNumber) | 0);
  const slots = new Map<number, number>();
  for (const { entries } of valid) {
    const [update, ...context] = entries;
    for (const [slot, extent] of context) slots.set(slot, extent);
    if (update !== undefined) slots.set(update[0], update[1]);
  }
  const hot = new Set(slots.values());
  hot.delete(FREE);
  return { transactions: valid.length, corrupt: used - valid.length, extents: [...hot].sort((a, b) => a - b) };
}
