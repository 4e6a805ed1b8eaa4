/** apply-al on made-up logs, against the real tool: the image afterwards must be the same byte for byte. */
import { readSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import {
  AL_BLOCK_BYTES,
  encodeInitialized,
  encodeTransaction,
  FREE_EXTENT,
  replayActivityLog,
  ringPosition,
} from "../../../../src/core/metadata/activity-log.ts";
import { applyAl } from "../../../../src/core/metadata/apply-al.ts";
import { layOut } from "../../../../src/core/metadata/geometry.ts";
import { placeFields } from "../../../../src/core/metadata/open.ts";
import {
  createdSuperblock,
  encodeSuperblock,
  MD_MAGIC_08,
  MD_MAGIC_84_UNCLEAN,
  MDF,
} from "../../../../src/core/metadata/superblock.ts";
import { sector } from "../../../../src/core/units.ts";
import { drbdmeta, hasDrbdmeta, plain, scratch } from "./drbdmeta.ts";
import { memoryOf } from "./vectors.ts";

const MIB = 1024 * 1024;
const compared = hasDrbdmeta ? test : test.skip;
const internal = { kind: "internal" } as const;

interface Shape {
  /** Of the device, bytes. */
  readonly size: number;
  readonly al: { readonly stripes: number; readonly stripeSize4k: number };
  readonly alExtents: number;
  readonly flags: number;
  readonly magic: number;
}

/** Whole device: bitmap with a few bits, this log, this superblock. Returns outputs and bytes of both tools. */
function both(shape: Shape, log: Uint8Array, skipLog: boolean): { ours: unknown; theirs: unknown; equal: boolean } {
  const files = scratch();
  try {
    const geometry = layOut(internal, sector(Math.floor(shape.size / 512)), shape.al);
    const superblock = new Uint8Array(4096);
    const { alExtents, flags, magic } = shape;
    encodeSuperblock(
      { ...createdSuperblock(placeFields(geometry)), laSize: geometry.first, alExtents, flags, magic },
      superblock,
    );
    const parts = [
      [geometry.bmStart * 512, new Uint8Array([1, 0, 0xff])],
      [geometry.alStart * 512, log],
      [geometry.superblock * 512, superblock],
    ] as const;
    const [theirs, ours] = [files.sparse("theirs", shape.size, parts), files.sparse("ours", shape.size, parts)];
    const real = drbdmeta(theirs, ["internal", "apply-al"]);
    const own = plain(applyAl({ device: files.open(ours), placement: internal }));
    const area = (path: string): Buffer => {
      const bytes = Buffer.alloc(shape.size - geometry.first * 512);
      readSync(files.open(path).fd, bytes, 0, bytes.length, geometry.first * 512);
      // The real tool marks a last extent beyond the end of the device too: padding, which §6.1 wants clear.
      const bits = Math.ceil(geometry.first / 8);
      for (let n = bits; n < geometry.bmSectors * 4096; n++)
        bytes[Math.floor(n / 8)] = (bytes[Math.floor(n / 8)] ?? 0) & ~(1 << (n % 8));
      const log = (geometry.alStart - geometry.first) * 512;
      if (skipLog) bytes.fill(0, log, log + geometry.alSectors * 512);
      return bytes;
    };
    return { ours: own, theirs: real, equal: area(ours).equals(area(theirs)) };
  } finally {
    files.remove();
  }
}

/** Its figure therefore counts up to 4 MiB more. */
const PADDING_COUNTED = /(Marked additional) \d+ [KMG]B/;

function expectSame(shape: Shape, log: Uint8Array, skipLog = false): string {
  const { ours, theirs, equal } = both(shape, log, skipLog);
  const said = (ran: unknown): string => JSON.stringify(ran).replace(PADDING_COUNTED, "$1");
  if (said(ours) !== said(theirs)) throw new Error(`${said(ours)}\nreal tool: ${said(theirs)}`);
  if (!equal) throw new Error(`bytes differ after ${JSON.stringify(theirs)}`);
  return JSON.stringify(ours);
}

const unclean = MD_MAGIC_84_UNCLEAN;
const primary = MDF.CONSISTENT | MDF.PRIMARY_IND | MDF.WAS_UP_TO_DATE;
const usual = { size: 64 * MIB, al: { stripes: 1, stripeSize4k: 8 }, alExtents: 67, magic: unclean } as const;

/**
 * The real tool (9.22) compares numbers wrongly where those in the ring lie on both sides of 2^31, and then misses extents: not compared.
 *
 * A plain writer of transactions: slots and extents at random, the window cycling as §9.5 says.
 */
const run = fc.record({
  stripes: fc.constantFrom(1, 2, 3),
  stripeSize4k: fc.constantFrom(8, 5, 13),
  slots: fc.constantFrom(67, 919, 920, 1237, 4000),
  start: fc.constantFrom(0, 1, 7, 1000, 2 ** 31 + 5, 2 ** 32 - 6),
  primary: fc.boolean(),
  changes: fc.array(fc.array(fc.tuple(fc.nat(3999), fc.nat(400)), { maxLength: 64 }), { maxLength: 60 }),
  torn: fc.array(fc.nat(38), { maxLength: 2 }),
});

compared(
  "§9.5: apply-al on logs of any shape, also torn and wrapping, leaves the real tool's bytes and says the same",
  (t) => {
    fc.assert(
      fc.property(run, (r) => {
        const al = { stripes: r.stripes, stripeSize4k: Math.max(r.stripeSize4k, Math.ceil(8 / r.stripes)) };
        const blocks = al.stripes * al.stripeSize4k;
        // 2^32 is no multiple of 24, 15 or 39 blocks: there the ring loses its order when the number wraps, for everybody.
        const start = r.start > 2 ** 31 && 2 ** 32 % blocks !== 0 ? 5 : r.start;
        const memory = memoryOf(blocks * AL_BLOCK_BYTES);
        for (let n = 0; n < blocks; n++) encodeInitialized(memory, n * AL_BLOCK_BYTES);
        const context = new Uint32Array(r.slots).fill(FREE_EXTENT);
        let cycle = 0;
        // Numbers that are high already belong to a ring that is full.
        const filled = start > 7 ? Array.from({ length: blocks }, (): [number, number][] => []) : [];
        for (const [n, changes] of [...filled, ...r.changes].entries()) {
          const trNumber = (start + n) % 2 ** 32;
          const updateSlots = new Uint16Array(64);
          const updateExtents = new Uint32Array(64);
          for (const [i, [slot, extent]] of changes.entries()) {
            updateSlots[i] = slot % r.slots;
            updateExtents[i] = extent;
          }
          const one = { trNumber, updates: changes.length, updateSlots, updateExtents, contextStart: cycle, context };
          encodeTransaction(memory, AL_BLOCK_BYTES * ringPosition(trNumber, al), one);
          for (const [slot, extent] of changes) context[slot % r.slots] = extent;
          cycle = cycle + 919 >= r.slots ? 0 : cycle + 919;
        }
        for (const n of r.torn)
          memory.bytes.fill(0x77, (n % blocks) * AL_BLOCK_BYTES + 1024, (n % blocks) * AL_BLOCK_BYTES + 2048);
        expectSame(
          { size: 2048 * MIB, al, alExtents: r.slots, magic: unclean, flags: r.primary ? primary : 0 },
          memory.bytes,
          // Where only the first transaction ever is torn, the real tool leaves it in place; ours starts the log anew always.
          replayActivityLog(memory.bytes).transactions === 0,
        );
      }),
      { numRuns: 60, includeErrorInReport: true },
    );
    t.pass();
  },
);

function fresh(): Uint8Array {
  const memory = memoryOf(8 * AL_BLOCK_BYTES);
  for (let n = 0; n < 8; n++) encodeInitialized(memory, n * AL_BLOCK_BYTES);
  return memory.bytes;
}

compared("§9.5: no valid block is an error only if PRIMARY_IND; then nothing is changed", (t) => {
  const garbage = new Uint8Array(8 * AL_BLOCK_BYTES).fill(3);
  t.true(expectSame({ ...usual, flags: primary }, garbage).includes('"exitCode":1'));
  t.true(expectSame({ ...usual, flags: 0 }, garbage).includes("Error ignored"));
  t.true(expectSame({ ...usual, flags: primary }, fresh()).includes('"exitCode":0'));
});

/** One transaction that activates `extents` in slots 0, 1, … */
function active(extents: readonly number[]): Uint8Array {
  const memory = memoryOf(8 * AL_BLOCK_BYTES);
  memory.bytes.set(fresh());
  const updateSlots = new Uint16Array(64).map((_, n) => n);
  const updateExtents = Uint32Array.from({ length: 64 }, (_, n) => extents[n] ?? FREE_EXTENT);
  const context = new Uint32Array(67).fill(FREE_EXTENT);
  encodeTransaction(memory, 0, {
    trNumber: 0,
    updates: extents.length,
    updateSlots,
    updateExtents,
    contextStart: 0,
    context,
  });
  return memory.bytes;
}

compared("§9.5: the last extent of the device, partly behind its end", (t) => {
  for (const size of [64 * MIB, 64 * MIB + 3 * 4096, 61 * MIB, 128 * MIB + 512 * 1001]) {
    const last = Math.floor(size / (4 * MIB));
    expectSame({ ...usual, size, flags: primary }, active([0, last - 1]));
    expectSame({ ...usual, size, flags: primary }, active([last - 1]));
  }
  t.pass();
});

compared("§9.5: an extent behind the bitmap is named and ignored", (t) => {
  const said = expectSame({ ...usual, flags: primary }, active([1, 5000]));
  t.true(said.includes("extent 5000 beyond end of bitmap!"));
});

/** The log of 8.3 as §9.5 describes it. */
function oldSector(trNumber: number, entries: readonly (readonly [number, number])[]): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x83740267);
  view.setUint32(4, trNumber);
  let xor = 0;
  for (let n = 0; n < 62; n++) {
    const [slot, extent] = entries[n] ?? [0xffffffff, FREE_EXTENT];
    view.setUint32(8 + 8 * n, slot);
    view.setUint32(12 + 8 * n, extent);
    xor ^= extent;
  }
  view.setUint32(504, xor);
  return bytes;
}

const oldRun = fc.record({
  alExtents: fc.constantFrom(67, 127, 257, 3833),
  start: fc.constantFrom(0, 3, 900),
  updates: fc.array(fc.tuple(fc.nat(3832), fc.nat(15)), { minLength: 1, maxLength: 150 }),
  torn: fc.array(fc.nat(70), { maxLength: 2 }),
  primary: fc.boolean(),
});

compared("§9.5: a log of 8.3 (clean magic, no AL_CLEAN) is applied and replaced as by the real tool", (t) => {
  let marked = 0;
  fc.assert(
    fc.property(oldRun, (r) => {
      const used = 1 + Math.ceil(r.alExtents / 61);
      const log = new Uint8Array(32768);
      const slots = new Array<number>(r.alExtents).fill(FREE_EXTENT);
      let cycle = 0;
      for (const [n, [slot, extent]] of r.updates.entries()) {
        const at = slot % r.alExtents;
        const context: (readonly [number, number])[] = [];
        for (let i = cycle; i < Math.min(cycle + 61, r.alExtents); i++) context.push([i, slots[i] ?? FREE_EXTENT]);
        log.set(oldSector(r.start + n, [[at, extent], ...context]), 512 * ((r.start + n) % used));
        slots[at] = extent;
        cycle = cycle + 61 >= r.alExtents ? 0 : cycle + 61;
      }
      for (const n of r.torn) log.fill(0x66, 512 * n + 100, 512 * n + 200);
      const shape = { ...usual, magic: MD_MAGIC_08, alExtents: r.alExtents, flags: r.primary ? primary : 0 };
      if (expectSame(shape, log).includes("Marked additional")) marked++;
    }),
    { numRuns: 40, includeErrorInReport: true },
  );
  t.true(marked > 5);
});

compared("§9.5: clean magic without AL_CLEAN and no old log", (t) => {
  expectSame({ ...usual, magic: MD_MAGIC_08, flags: 0 }, new Uint8Array(32768));
  expectSame({ ...usual, magic: MD_MAGIC_08, flags: primary }, new Uint8Array(32768));
  expectSame({ ...usual, magic: MD_MAGIC_08, flags: 0 }, fresh());
  expectSame({ ...usual, magic: MD_MAGIC_08, flags: primary }, fresh());
  expectSame({ ...usual, magic: MD_MAGIC_08, flags: primary }, active([3]));
  t.pass();
});
