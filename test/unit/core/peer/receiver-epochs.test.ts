import test from "ava";
import { ReceiverEpochs } from "../../../../src/core/peer/receiver-epochs.ts";

function setUp(capacity = 8) {
  const acks: [number, number][] = [];
  let flushes = 0;
  const epochs = new ReceiverEpochs(
    { startFlush: () => flushes++, sendBarrierAck: (barrier, writes) => acks.push([barrier, writes]) },
    capacity,
  );
  return { epochs, acks, flushes: () => flushes };
}

test("an epoch is acknowledged when its barrier has come, its writes are done and a flush begun after that has ended (drbd-84 §8.3)", (t) => {
  const { epochs, acks, flushes } = setUp();
  const epoch = epochs.add();
  epochs.add();
  epochs.close(7);
  epochs.done(epoch);
  epochs.advance();
  t.is(flushes(), 0, "one write is under way");
  epochs.done(epoch);
  epochs.advance();
  t.is(flushes(), 1);
  t.deepEqual(acks, []);
  epochs.flushed();
  t.deepEqual(acks, [[7, 2]]);
});

test("one flush answers every epoch that was finished when it began, in order, and no later one (architecture: group commit)", (t) => {
  const { epochs, acks, flushes } = setUp();
  for (const barrier of [1, 2]) {
    epochs.done(epochs.add());
    epochs.close(barrier);
  }
  epochs.advance();
  epochs.done(epochs.add());
  epochs.close(3);
  epochs.advance();
  t.is(flushes(), 1);
  epochs.flushed();
  t.deepEqual(acks, [
    [1, 1],
    [2, 1],
  ]);
  epochs.advance();
  t.is(flushes(), 2);
  epochs.flushed();
  t.is(acks.length, 3);
});

test("a later epoch that is finished waits for an earlier one that is not (drbd-84 §8.3: all earlier epochs are finished)", (t) => {
  const { epochs, acks } = setUp();
  epochs.needsFlush = false;
  const slow = epochs.add();
  epochs.close(1);
  epochs.done(epochs.add());
  epochs.close(2);
  epochs.advance();
  t.deepEqual(acks, []);
  epochs.done(slow);
  epochs.advance();
  t.deepEqual(acks, [
    [1, 1],
    [2, 1],
  ]);
});

test("after a reset nothing of before is acknowledged, also if its flush ends", (t) => {
  const { epochs, acks } = setUp();
  epochs.done(epochs.add());
  epochs.close(1);
  epochs.advance();
  epochs.reset();
  epochs.flushed();
  t.deepEqual(acks, []);
  t.is(epochs.waiting, 0);
  t.false(epochs.hasWrites);
});

test("it is full before its ring is, and works on through many rounds", (t) => {
  const { epochs, acks } = setUp(4);
  for (let n = 0; n < 1000; n++) {
    const epoch = epochs.add();
    t.true(epochs.hasWrites);
    epochs.close(n);
    epochs.done(epoch);
    if (!epochs.isFull) continue;
    t.is(epochs.waiting, 4);
    epochs.advance();
    epochs.flushed();
    t.is(epochs.waiting, 0);
  }
  t.deepEqual(
    acks.map(([barrier]) => barrier),
    Array.from({ length: 1000 }, (_, n) => n),
  );
});
