import test from "ava";
import { ActiveExtents, AL_PENDING } from "../../../../src/core/metadata/active-extents.ts";
import {
  AL_BLOCK_BYTES,
  decodeTransaction,
  encodeInitialized,
  encodeTransaction,
  FREE_EXTENT,
  replayActivityLog,
  ringPosition,
  type Transaction,
} from "../../../../src/core/metadata/activity-log.ts";
import { alExtent } from "../../../../src/core/units.ts";
import { memoryOf, vector, vectorText } from "./vectors.ts";

const oneStripe = { stripes: 1, stripeSize4k: 8 };

function transaction(over: Partial<Transaction> = {}): Transaction {
  return {
    trNumber: 0,
    updates: 0,
    updateSlots: new Uint16Array(64),
    updateExtents: new Uint32Array(64),
    contextStart: 0,
    context: new Uint32Array(67).fill(FREE_EXTENT),
    ...over,
  };
}

test("§9.5: an initialised block is magic, type 0xffff and checksum 0x709cc651, as create-md writes it", (t) => {
  const memory = memoryOf(3 * AL_BLOCK_BYTES);
  memory.bytes.fill(0xee);
  encodeInitialized(memory, AL_BLOCK_BYTES);
  t.deepEqual(memory.bytes.subarray(4096, 8192), vector("al-fresh.bin"));
  t.true(
    memory.bytes.subarray(0, 4096).every((b) => b === 0xee) && memory.bytes.subarray(8192).every((b) => b === 0xee),
  );
});

test("§9.5: consecutive transactions go to different stripes", (t) => {
  const al = { stripes: 2, stripeSize4k: 16 };
  t.deepEqual(
    [0, 1, 2, 3, 30, 31, 32, 33].map((n) => ringPosition(n, al)),
    [0, 16, 1, 17, 15, 31, 0, 16],
  );
  t.is(ringPosition(4294967295, oneStripe), 7);
});

/** The 12 writes of the capture, on a log that was filled first. */
function twelveWrites(): Uint8Array {
  const memory = memoryOf(8 * AL_BLOCK_BYTES);
  const extents = new ActiveExtents(67);
  const write = (): void => {
    const { transaction: next } = extents;
    encodeTransaction(memory, AL_BLOCK_BYTES * ringPosition(next.trNumber, oneStripe), next);
    extents.commit();
  };
  for (let n = 0; n < 8; n++) {
    extents.beginEmpty();
    write();
  }
  for (let n = 0; n < 12; n++) {
    if (extents.use(alExtent(n), 1) !== AL_PENDING || !extents.begin()) throw new Error("not pending");
    write();
    extents.unuse(alExtent(n), 1);
  }
  return memory.bytes;
}

test("§9.5, §12.4: twelve writes into twelve extents give the kernel's activity log byte for byte", (t) => {
  t.deepEqual(twelveWrites(), vector("live-s4-12writes.al.bin"));
});

test("§9.5: filling the ring gives the checksums of the kernel's blocks 0 to 7", (t) => {
  const expected = [...vectorText("live-s1-attached.txt").matchAll(/^block \d: tr_number=\d crc32c=(\S+)/gm)].map(
    (m) => m[1] ?? "",
  );
  t.is(expected.length, 8);
  const memory = memoryOf(AL_BLOCK_BYTES);
  for (const [n, crc] of expected.entries()) {
    encodeTransaction(memory, 0, transaction({ trNumber: n }));
    t.is(memory.view.getUint32(8).toString(16).padStart(8, "0"), crc);
  }
});

test("§9.5: the crashed Primary's log replays to the 67 extents that apply-al marked", (t) => {
  const [, list = ""] =
    vectorText("crashed-primary-1GiB.apply-al.txt").match(/active extents of the log\): (.*)/) ?? [];
  const replay = replayActivityLog(vector("crashed-primary-1GiB.al.bin"));
  t.deepEqual(replay.extents, list.split(" ").map(Number));
  t.like(replay, { transactions: 8, initialized: 0, corrupt: 0, newest: 177 });
  t.deepEqual(replay.outOfRange, []);
});

test("§9.5: replacement order: the crashed Primary's blocks 170 to 177 come out again from the slots before them", (t) => {
  const image = vector("crashed-primary-1GiB.al.bin");
  const blocks = [170, 171, 172, 173, 174, 175, 176, 177].map((n) => {
    const block = decodeTransaction(image, AL_BLOCK_BYTES * ringPosition(n, oneStripe));
    if (block?.trNumber !== n) throw new Error(`transaction ${n} is not where it belongs`);
    return block;
  });
  const before = blocks[0]?.context ?? [];
  const extents = new ActiveExtents(67, 170 - 67);
  const touch = (extent: number): void => {
    extents.use(alExtent(extent), 1);
    extents.unuse(alExtent(extent), 1);
  };
  // Slots are filled from 66 down; touching 66 to 37 again leaves slot 36 the least recently used, as it was in the kernel.
  for (let slot = 66; slot >= 0; slot--) {
    touch(before[slot] ?? -1);
    extents.begin();
    extents.commit();
  }
  for (let slot = 66; slot >= 37; slot--) touch(before[slot] ?? -1);
  const memory = memoryOf(8 * AL_BLOCK_BYTES);
  for (const block of blocks) {
    touch(block.updateExtents[0] ?? -1);
    t.true(extents.begin());
    encodeTransaction(
      memory,
      AL_BLOCK_BYTES * ringPosition(extents.transaction.trNumber, oneStripe),
      extents.transaction,
    );
    extents.commit();
  }
  t.deepEqual(memory.bytes, image);
});

test("§9.5: a torn block counts as corrupt and the rest is replayed", (t) => {
  const bytes = twelveWrites();
  bytes[3 * AL_BLOCK_BYTES + 2048] = 1;
  const replay = replayActivityLog(bytes);
  t.is(replay.corrupt, 1);
  t.deepEqual(replay.extents, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("§9.5: a fresh ring has no transaction, an unwritten one only corrupt blocks", (t) => {
  const fresh = new Uint8Array(8 * AL_BLOCK_BYTES);
  for (let n = 0; n < 8; n++) fresh.set(vector("al-fresh.bin"), n * AL_BLOCK_BYTES);
  t.like(replayActivityLog(fresh), { transactions: 0, initialized: 8, corrupt: 0, newest: undefined });
  t.like(replayActivityLog(new Uint8Array(8 * AL_BLOCK_BYTES)), { transactions: 0, initialized: 0, corrupt: 8 });
});

test("§9.5: numbers are compared on the wrapping circle", (t) => {
  const memory = memoryOf(8 * AL_BLOCK_BYTES);
  for (let n = 0; n < 8; n++) {
    const trNumber = (4294967292 + n) % 2 ** 32;
    const one = transaction({ trNumber, updates: 1, updateExtents: new Uint32Array(64).fill(trNumber % 1000) });
    encodeTransaction(memory, AL_BLOCK_BYTES * ringPosition(trNumber, oneStripe), one);
  }
  const replay = replayActivityLog(memory.bytes);
  t.is(replay.newest, 3);
  t.deepEqual(replay.extents, [3]);
});

test("§9.5: context entries that are free at or behind context_size are not entries", (t) => {
  const memory = memoryOf(AL_BLOCK_BYTES);
  const context = new Uint32Array(3).fill(FREE_EXTENT);
  context[1] = 5;
  encodeTransaction(memory, 0, transaction({ context }));
  t.deepEqual(replayActivityLog(memory.bytes).extents, [5]);
});
