import test from "ava";
import { BarrierReplies } from "../../../../src/core/peer/barrier-replies.ts";
import type { ConnectionOwner } from "../../../../src/core/peer/connection-parts.ts";
import { instant, NEVER } from "../../../../src/core/units.ts";

/** Epochs of a peer whose disks here need no flush: `disk-flushes no`, or no volatile cache. */
function repliesWithoutFlush(futago: boolean) {
  const sent: string[] = [];
  const resource = { now: instant(1000), volumes: [{ needsBarrierFlush: false }] };
  const replies = new BarrierReplies(resource as unknown as ConnectionOwner, {
    sendBarrierAck: (barrier, writes) => sent.push(`${barrier}:${writes}`),
    pauseReading: () => undefined,
    onFlushFailed: (errno) => sent.push(`failed ${errno}`),
  });
  replies.reset(futago);
  const epoch = (barrier: number): void => {
    replies.epochs.done(replies.epochs.add());
    replies.onBarrier(barrier);
  };
  return { sent, replies, epoch };
}

test("without a flush a Futago sender's epochs are gathered too: each answer alone would wake it once more (drbd-84 §8.3)", (t) => {
  const { sent, replies, epoch } = repliesWithoutFlush(true);
  epoch(7);
  epoch(8);
  t.deepEqual(sent, []);
  t.is(replies.deadline as number, 1025);
  replies.onTimer(instant(1025));
  t.deepEqual(sent, ["7:1", "8:1"]);
  t.is(replies.deadline, NEVER);
});

test("a Futago sender that says it waits (P_UNPLUG_REMOTE) is answered at once", (t) => {
  const { sent, replies, epoch } = repliesWithoutFlush(true);
  epoch(7);
  replies.onUnplug();
  t.deepEqual(sent, ["7:1"]);
  epoch(8);
  t.deepEqual(sent, ["7:1"], "it waited for the first one only");
});

test("a kernel sender is answered as soon as the epoch is finished: it may be waiting (drbd-84 §8.3)", (t) => {
  const { sent, epoch } = repliesWithoutFlush(false);
  epoch(7);
  t.deepEqual(sent, ["7:1"]);
});
