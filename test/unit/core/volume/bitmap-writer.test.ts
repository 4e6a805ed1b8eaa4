import test from "ava";
import { Bitmap } from "../../../../src/core/metadata/bitmap.ts";
import { bit, sector } from "../../../../src/core/units.ts";
import { BitmapWriter } from "../../../../src/core/volume/bitmap-writer.ts";
import { MetadataIo } from "../../../../src/core/volume/metadata-io.ts";
import { Requests } from "../../../../src/core/volume/requests.ts";
import { TestDisk } from "../resource/_ports.ts";

const START = 1024 * 1024;
const PAGES = 3;
const BITS_PER_PAGE = 32768;
const EIO = 5;

function setUp() {
  const buffer = new ArrayBuffer(8 * 1024 * 1024);
  const memory = { bytes: new Uint8Array(buffer), view: new DataView(buffer) };
  const queue: (() => void)[] = [];
  const disk = new TestDisk(64 * 1024 * 1024, memory, (run) => queue.push(run));
  disk.closed = false;
  disk.holds = () => true;
  const requests = new Requests(8 * 1024 * 1024);
  const io = new MetadataIo(requests, memory, disk, 0);
  disk.onDone = (tag, result) => io.onDisk(tag, result);
  const counters = { ns: 0, nr: 0, dw: 0, dr: 0, al: 0, bm: 0 };
  const bitmap = new Bitmap(sector(PAGES * BITS_PER_PAGE * 8));
  const writer = new BitmapWriter(bitmap, io, START, counters, (done) => io.flush(done));
  /** Ends what the disk has, once. */
  const step = (result?: number): string[] => {
    const what = disk.held.map(({ what: name, at }) => `${name} ${at}`);
    disk.endAll(result);
    while (queue.length > 0) for (const run of queue.splice(0)) run();
    return what;
  };
  const onDisk = (n: number): boolean => ((disk.load(START + Math.floor(n / 8), 1)[0] ?? 0) & (1 << (n % 8))) !== 0;
  return { bitmap, writer, step, onDisk, requests, counters, disk };
}

test("the data is flushed, the changed pages are written, then they are flushed (drbd-84 §6.4)", (t) => {
  const { bitmap, writer, step, onDisk, counters } = setUp();
  bitmap.setRange(bit(5), bit(6));
  bitmap.setRange(bit(2 * BITS_PER_PAGE), bit(2 * BITS_PER_PAGE + 1));
  const results: number[] = [];
  writer.writeAll((errno) => results.push(errno));
  t.deepEqual(step(), ["flush 0"]);
  t.deepEqual(step(), [`write ${START}`, `write ${START + 2 * 4096}`]);
  t.deepEqual(results, []);
  t.deepEqual(step(), ["flush 0"]);
  t.deepEqual(results, [0]);
  t.true(onDisk(5));
  t.true(onDisk(2 * BITS_PER_PAGE));
  t.is(counters.bm, 2);
});

test("a bit that was cleared after the flush of the data began stays set on disk: its block may not be stable", (t) => {
  const { bitmap, writer, step, onDisk } = setUp();
  bitmap.setRange(bit(5), bit(7));
  writer.writeAll(() => undefined);
  bitmap.clearRange(bit(5), bit(6));
  bitmap.setRange(bit(9), bit(10));
  for (let n = 0; n < 3; n++) step();
  t.true(onDisk(5), "cleared too late");
  t.true(onDisk(6));
  t.true(onDisk(9), "set in time");
  t.true(bitmap.isDirtyPage(0), "the next time it is written as it is");
  writer.writeAll(() => undefined);
  for (let n = 0; n < 3; n++) step();
  t.false(onDisk(5));
  t.false(bitmap.isDirtyPage(0));
});

test("done means that every bit set before is on disk, those of a write under way included", (t) => {
  const { bitmap, writer, step, onDisk } = setUp();
  bitmap.setRange(bit(5), bit(6));
  writer.writeAll(() => undefined);
  step();
  // The page is with the disk now, and clean.
  let second = -1;
  writer.writeAll((errno) => {
    second = errno;
    t.true(onDisk(5));
  });
  for (let n = 0; n < 8 && second < 0; n++) step();
  t.is(second, 0);
});

test("a page whose write failed is dirty again, and the failure is reported", (t) => {
  const { bitmap, writer, step, requests } = setUp();
  bitmap.setRange(bit(5), bit(6));
  const results: number[] = [];
  writer.writeAll((errno) => results.push(errno));
  step();
  step(-EIO);
  t.deepEqual(results, [EIO]);
  t.true(bitmap.isDirtyPage(0));
  t.is(requests.used("control"), 0);
});

test("a failed flush of the data: no page is written", (t) => {
  const { bitmap, writer, step, disk } = setUp();
  bitmap.setRange(bit(5), bit(6));
  const results: number[] = [];
  writer.writeAll((errno) => results.push(errno));
  step(-EIO);
  t.deepEqual(results, [EIO]);
  t.deepEqual(disk.held, []);
});

test("pages that a shrinking takes away while they wait are written as zeroes", (t) => {
  const { bitmap, writer, step } = setUp();
  bitmap.setRange(bit(2 * BITS_PER_PAGE), bit(2 * BITS_PER_PAGE + 1));
  let result = -1;
  writer.writeAll((errno) => {
    result = errno;
  });
  bitmap.resize(sector(8 * BITS_PER_PAGE), false);
  t.notThrows(() => {
    for (let n = 0; n < 3; n++) step();
  });
  t.is(result, 0);
});
