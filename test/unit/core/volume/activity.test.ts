import test from "ava";
import { Bitmap } from "../../../../src/core/metadata/bitmap.ts";
import type { Disk } from "../../../../src/core/ports.ts";
import { bytes, sector } from "../../../../src/core/units.ts";
import { Activity } from "../../../../src/core/volume/activity.ts";
import { BitmapWriter } from "../../../../src/core/volume/bitmap-writer.ts";
import { MetadataIo } from "../../../../src/core/volume/metadata-io.ts";
import { requestKinds as kind, Requests } from "../../../../src/core/volume/requests.ts";

const EXTENT = 4 * 1024 * 1024;

/** A log of `slots` extents on a disk that completes an operation when told to. */
function setUp(slots: number) {
  const requests = new Requests(8 * 1024 * 1024);
  const memory = { bytes: new Uint8Array(8 * 1024 * 1024), view: new DataView(new ArrayBuffer(0)) };
  const shared = { bytes: memory.bytes, view: new DataView(memory.bytes.buffer) };
  const running: { tag: number; what: string; length: number }[] = [];
  const disk: Disk = {
    size: bytes(1024 * EXTENT),
    logicalBlock: 512,
    physicalBlock: 4096,
    hasVolatileCache: true,
    canDiscard: true,
    read: (tag, _at, _offset, length) => running.push({ tag, what: "read", length }),
    write: (tag, at, _offset, length) => running.push({ tag, what: `write ${at}`, length }),
    flush: (tag) => running.push({ tag, what: "flush", length: 0 }),
    zero: () => undefined,
    discard: () => undefined,
    close: () => undefined,
  };
  const io = new MetadataIo(requests, shared, disk, 0);
  const counters = { ns: 0, nr: 0, dw: 0, dr: 0, al: 0, bm: 0 };
  const bitmap = new Bitmap(sector(1024 * 8192));
  const flushData = (done: (errno: number) => void) => io.flush(done);
  const active: number[] = [];
  const starved = { count: 0 };
  const activity = new Activity({
    requests,
    memory: shared,
    io,
    bitmap: new BitmapWriter(bitmap, io, 1024 * 1024, counters, flushData),
    counters,
    layout: { stripes: 1, stripeSize4k: 8 },
    start: 0,
    slots,
    nextTransaction: 8,
    owner: {
      onActive: (id) => active.push(id),
      onStarved: () => starved.count++,
      onMetadataError: (errno) => {
        throw new Error(`metadata error ${errno}`);
      },
      flushData,
    },
  });
  const request = (extent: number, length = 4096): number => {
    const id = requests.acquire("application", kind.appWrite, 0);
    requests.at[id] = extent * EXTENT;
    requests.length[id] = length;
    return id;
  };
  /** Completes what the disk was given, in order, until it is idle. */
  const settle = (): string[] => {
    const done: string[] = [];
    for (let next = running.shift(); next !== undefined; next = running.shift()) {
      done.push(next.what);
      io.onDisk(next.tag, next.length);
    }
    return done;
  };
  return { activity, bitmap, request, settle, active, starved, running };
}

test("a write waits for the transaction that lists its extent, and the next one to it does not (drbd-84 §8.1 step 2)", (t) => {
  const { activity, request, settle, active } = setUp(67);
  const first = request(3);
  t.false(activity.use(first));
  t.deepEqual(active, []);
  settle();
  t.deepEqual(active, [first]);
  t.true(activity.use(request(3)));
});

test("a write to an extent whose transaction is in flight goes on when that is stable", (t) => {
  const { activity, request, settle, active } = setUp(67);
  const first = request(3);
  const second = request(3);
  const other = request(4);
  t.false(activity.use(first));
  t.false(activity.use(second));
  t.false(activity.use(other));
  settle();
  t.deepEqual(active, [first, second, other]);
});

test("an extent gives way only after a flush of the data, its bitmap page and a flush of that (architecture: what a write means)", (t) => {
  const { activity, bitmap, request, settle, active } = setUp(2);
  const ids = [request(0), request(1), request(2)] as const;
  for (const id of ids) activity.use(id);
  settle();
  t.deepEqual(active, [ids[0], ids[1]], "both slots are held");
  bitmap.setOutOfSync(sector(0), bytes(4096));
  activity.unuse(ids[0]);
  const order = settle();
  t.deepEqual(order.slice(0, 3), ["flush", `write ${1024 * 1024}`, "flush"]);
  t.regex(order[3] ?? "", /^write \d+$/);
  t.deepEqual(active, [...ids]);
});

test("requests that found no slot are served in the order they came, once references are given back", (t) => {
  const { activity, request, settle, active, starved } = setUp(1);
  const ids = [request(0), request(1), request(2)] as const;
  for (const id of ids) activity.use(id);
  settle();
  t.deepEqual(active, [ids[0]]);
  t.true(starved.count > 0, "epochs are asked for");
  for (const n of [0, 1] as const) {
    activity.unuse(ids[n]);
    settle();
    t.deepEqual(active, ids.slice(0, n + 2));
  }
});
