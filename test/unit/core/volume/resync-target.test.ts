import test from "ava";
import { Bitmap } from "../../../../src/core/metadata/bitmap.ts";
import { bit, bytes, instant, NEVER, sector } from "../../../../src/core/units.ts";
import { ResyncTarget } from "../../../../src/core/volume/resync-target.ts";

const MIB = 1024 * 1024;
/** 256 bits in every step. */
const fixed = { planAhead: 0, delayTarget: 10, fillTarget: 100, maxRate: 102_400, resyncRate: 10_240, maxBuffers: 1e6 };

function setUp(bits: number, options: { readonly maxRequest?: number; readonly sectors?: number } = {}) {
  const bitmap = new Bitmap(sector(options.sectors ?? bits * 8));
  const asked: { at: number; length: number }[] = [];
  const owner = {
    bitmap,
    size: bitmap.size * 512,
    maxRequest: options.maxRequest ?? MIB,
    queued: 0,
    finished: 0,
    sendResyncRequest: (at: number, length: number) => asked.push({ at, length }),
    onAllSynced: () => {
      owner.finished++;
    },
  };
  const target = new ResyncTarget(owner, fixed);
  /** Answers what was asked for, and clears its bits. */
  const answer = (): void => {
    for (const { at, length } of asked.splice(0)) {
      target.onAnswer(length);
      bitmap.setInSync(sector(at / 512), bytes(length));
      target.onProgress();
    }
  };
  return { bitmap, asked, owner, target, answer };
}

const inBits = (asked: readonly { at: number; length: number }[]) =>
  asked.map(({ at, length }) => [at / 4096, length / 4096]);

test("requests begin at set bits, grow over set ones, and only from a start aligned to the size grown to (drbd-84 §7.2)", (t) => {
  const { bitmap, target, asked } = setUp(4096);
  bitmap.setRange(bit(1), bit(2));
  bitmap.setRange(bit(10), bit(12));
  bitmap.setRange(bit(17), bit(20));
  bitmap.setRange(bit(64), bit(80));
  target.start(instant(0));
  target.onTimer(instant(0));
  t.deepEqual(inBits(asked), [
    [1, 1],
    [10, 2],
    [17, 1],
    [18, 2],
    [64, 16],
  ]);
});

test("no request is longer than the connection allows or crosses 16 MiB (drbd-84 §7.2, §0)", (t) => {
  for (const maxRequest of [32 * 1024, 128 * 1024, MIB]) {
    const { bitmap, target, asked, answer } = setUp(10_000, { maxRequest });
    bitmap.setRange(bit(0), bit(10_000));
    target.start(instant(0));
    let covered = 0;
    for (let now = 0; now < 20_000 && target.deadline !== NEVER; now += 100) {
      target.onTimer(instant(now));
      for (const { at, length } of asked) {
        t.is(at, covered);
        covered = at + length;
        t.true(length <= maxRequest);
        t.is(Math.floor(at / (16 * MIB)), Math.floor((at + length - 1) / (16 * MIB)));
      }
      answer();
    }
    t.is(covered, 10_000 * 4096);
  }
});

test("the last request ends with the device, whose last block may be partial (drbd-84 §7.2)", (t) => {
  const { bitmap, target, asked } = setUp(3, { sectors: 19 });
  bitmap.setRange(bit(0), bit(3));
  target.start(instant(0));
  target.onTimer(instant(0));
  t.is(
    asked.reduce((sum, { length }) => sum + length, 0),
    19 * 512,
  );
});

test("the budget of a step bounds what is asked for (drbd-84 §7.5)", (t) => {
  const { bitmap, target, asked } = setUp(4096);
  bitmap.setRange(bit(0), bit(4096));
  target.start(instant(0));
  target.onTimer(instant(0));
  t.is(
    asked.reduce((sum, { length }) => sum + length / 4096, 0),
    256,
  );
  asked.length = 0;
  target.onTimer(instant(99));
  t.deepEqual(asked, [], "not yet");
});

test("it ends when every bit is clear but those that failed, once (drbd-84 §7.7)", (t) => {
  const { bitmap, target, asked, owner, answer } = setUp(64);
  bitmap.setRange(bit(0), bit(1));
  bitmap.setRange(bit(8), bit(9));
  target.start(instant(0));
  target.onTimer(instant(0));
  const failed = asked.shift();
  target.onAnswer(failed?.length ?? 0);
  target.onFailed(failed?.length ?? 0);
  t.is(owner.finished, 0);
  answer();
  t.is(owner.finished, 1);
  t.is(target.failedBits, 1);
  target.onProgress();
  t.is(owner.finished, 1);
});

test("an empty resync ends at once (drbd-84 §7.7)", (t) => {
  const { target, owner } = setUp(64);
  target.start(instant(0));
  t.is(owner.finished, 1);
});

test("bits that were set behind the position are fetched in another round", (t) => {
  const { bitmap, target, asked, owner, answer } = setUp(64);
  bitmap.setRange(bit(40), bit(41));
  target.start(instant(0));
  target.onTimer(instant(0));
  bitmap.setRange(bit(3), bit(4));
  answer();
  t.is(owner.finished, 0);
  target.onTimer(instant(100));
  t.deepEqual(inBits(asked), [[3, 1]]);
  answer();
  t.is(owner.finished, 1);
});

test("paused it asks for nothing; answers still count, and it goes on where it was (drbd-84 §7.8)", (t) => {
  const { bitmap, target, asked, owner, answer } = setUp(1024);
  bitmap.setRange(bit(0), bit(300));
  target.start(instant(0));
  target.onTimer(instant(0));
  target.pause();
  t.is(target.deadline, NEVER);
  answer();
  target.onTimer(instant(1000));
  t.deepEqual(asked, []);
  target.resume(instant(1000));
  target.onTimer(instant(1000));
  t.is(asked[0]?.at, 256 * 4096);
  answer();
  t.is(owner.finished, 1);
});

test("a send queue that is full stops a step (drbd-84 §7.2)", (t) => {
  const { bitmap, target, asked, owner } = setUp(1024);
  bitmap.setRange(bit(0), bit(1024));
  owner.queued = 5 * MIB;
  target.start(instant(0));
  target.onTimer(instant(0));
  t.deepEqual(asked, []);
  t.is(target.deadline, instant(100));
});

test("a timer that comes late does not make up for steps it missed: the rate is a ceiling", (t) => {
  const { bitmap, target, asked } = setUp(4096);
  bitmap.setRange(bit(0), bit(4096));
  target.start(instant(0));
  target.onTimer(instant(0));
  target.onTimer(instant(1050));
  t.is(
    asked.reduce((sum, { length }) => sum + length / 4096, 0),
    512,
  );
  t.true(target.deadline > 1050);
});
