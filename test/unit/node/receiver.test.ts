import test from "ava";
import { WINDOW_BYTES } from "../../../src/node/arena.ts";
import { NOTHING, PAYLOAD, Receiver } from "../../../src/node/receiver.ts";

/** The window stands behind 64 KiB of slab. */
const BASE = 64 * 1024;

function setup(): { bytes: Uint8Array; receiver: Receiver; arrive: (...values: number[]) => void } {
  const bytes = new Uint8Array(BASE + WINDOW_BYTES);
  const receiver = new Receiver(bytes, BASE);
  const arrive = (...values: number[]): void => {
    bytes.set(values, receiver.makeRoom());
    receiver.received(values.length, 0);
  };
  return { bytes, receiver, arrive };
}

test("a header is in one piece, also when its beginning stood at the window's end", (t) => {
  const { receiver, arrive } = setup();
  arrive(...Array.from({ length: 8192 }, () => 1));
  receiver.expectHeader(8000);
  t.is(receiver.next(), 0);
  receiver.expectHeader(200);
  t.is(receiver.next(), NOTHING);
  arrive(...Array.from({ length: 8 }, () => 2));
  const at = receiver.next();
  t.is(at, 0);
  t.is(receiver.window.getUint8(at + 191), 1);
  t.is(receiver.window.getUint8(at + 192), 2);
});

test("from 32 KiB on, what is missing of a payload goes straight into its place", (t) => {
  const { bytes, receiver, arrive } = setup();
  arrive(1, 2, 3);
  receiver.expectInto(100, 32 * 1024 + 3);
  t.is(receiver.next(), NOTHING);
  t.is(receiver.directAt, 103);
  t.is(receiver.missing, 32 * 1024);
  receiver.received(0, 1);
  t.is(receiver.directAt, -1);
  arrive(...Array.from({ length: 32 * 1024 - 1 }, () => 9));
  t.is(receiver.next(), PAYLOAD);
  t.deepEqual([...bytes.subarray(99, 105)], [0, 1, 2, 3, 0, 9]);
});

test("the room for one more read is what the window does not hold", (t) => {
  const { receiver, arrive } = setup();
  arrive(1, 2, 3, 4);
  receiver.expectSkip(3);
  t.is(receiver.next(), PAYLOAD);
  receiver.makeRoom();
  t.is(receiver.room, WINDOW_BYTES - 1);
  t.is(receiver.pending, 1);
});

test("a header longer than 8192 or empty is a bug of the caller", (t) => {
  const { receiver } = setup();
  t.throws(() => receiver.expectHeader(8193), { instanceOf: RangeError });
  t.throws(() => receiver.expectHeader(0), { instanceOf: RangeError });
});
