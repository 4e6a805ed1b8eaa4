import test from "ava";
import { replayOldActivityLog } from "../../../../src/core/metadata/activity-log-07.ts";

interface Old {
  readonly trNumber: number;
  readonly update: readonly [number, number];
  readonly context: readonly (readonly [number, number])[];
}

/** §9.5, last paragraph, written out once more: magic, number, 62 x (slot, extent), xor of all extents. */
function sectorOf({ trNumber, update, context }: Old): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x83740267);
  view.setUint32(4, trNumber);
  const entries = [update, ...context];
  let xor = 0;
  for (let n = 0; n < 62; n++) {
    const [slot, extent] = entries[n] ?? [0xffffffff, 0xffffffff];
    view.setUint32(8 + 8 * n, slot);
    view.setUint32(12 + 8 * n, extent);
    xor ^= extent;
  }
  view.setUint32(504, xor);
  return bytes;
}

function log(...sectors: (Uint8Array | undefined)[]): Uint8Array {
  const bytes = new Uint8Array(32768);
  for (const [n, one] of sectors.entries()) if (one) bytes.set(one, 512 * n);
  return bytes;
}

test("§9.5 8.3 log: context then update, oldest to newest", (t) => {
  const bytes = log(
    sectorOf({ trNumber: 12, update: [1, 40], context: [[1, 30]] }),
    sectorOf({ trNumber: 10, update: [0, 20], context: [] }),
    sectorOf({ trNumber: 11, update: [1, 30], context: [[0, 20]] }),
  );
  t.deepEqual(replayOldActivityLog(bytes, 127), { transactions: 3, corrupt: 1, extents: [20, 40] });
});

test("§9.5 8.3 log: a wrong xor makes the sector invalid, sectors behind 1 + ceil(al-extents/61) are not looked at", (t) => {
  const torn = sectorOf({ trNumber: 5, update: [0, 7], context: [] });
  torn[15] = 9;
  const behind = sectorOf({ trNumber: 6, update: [0, 8], context: [] });
  t.deepEqual(replayOldActivityLog(log(torn, undefined, behind), 61), { transactions: 0, corrupt: 2, extents: [] });
  t.deepEqual(replayOldActivityLog(log(torn, undefined, behind), 62), { transactions: 1, corrupt: 2, extents: [8] });
});
