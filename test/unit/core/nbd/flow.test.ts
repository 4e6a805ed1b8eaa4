import test from "ava";
import { both, errorNow, MiB, outcomeOf, pattern } from "./asking.ts";
import { connected, DISC, FLUSH, hex, READ, readReplies, request, WRITE } from "./client.ts";
import { type Call, MemoryDevice } from "./memory-device.ts";
import { concat } from "./memory-stream.ts";

test("shutdown lets a reply that began early finish", (t) => {
  const connection = connected({ size: 4 * MiB, capacity: 1 });
  connection.device.content.set(pattern(4 * MiB));
  connection.stream.feed(request({ type: READ, length: 3 * MiB }));
  connection.device.complete();
  connection.session.shutdown();
  const replies = readReplies(connection.settle(), new Map([[1, 3 * MiB]]));
  t.true(Buffer.from(outcomeOf(replies, 0, 3 * MiB).data).equals(pattern(3 * MiB)));
  t.true(connection.stream.isEnded);
  t.deepEqual(connection.faults(), []);
});

test("a device that reports a request twice is caught before it can corrupt another", (t) => {
  const connection = connected();
  connection.stream.feed(request({ type: FLUSH }));
  const [client] = connection.device.openers;
  connection.device.complete();
  t.throws(() => client?.onDone(0, 0), { message: /expected piece state/ });
});

for (const agreement of both) {
  const form = agreement.structured ? "structured" : "simple";

  test(`${form}: replies go in the order the device answers, each with its cookie`, (t) => {
    const connection = connected({}, agreement);
    const reads = new Map([1, 2, 3, 4].map((cookie) => [cookie, 512]));
    for (const cookie of reads.keys()) {
      connection.device.content.fill(cookie, cookie * 512, cookie * 512 + 512);
      connection.stream.feed(request({ type: READ, cookie, at: cookie * 512, length: 512 }));
    }
    const order: number[] = [];
    for (const index of [2, 0, 1, 0]) {
      connection.device.complete(index);
      const replies = readReplies(connection.stream.take(), reads);
      t.is(replies.length, 1);
      const cookie = replies[0]?.cookie ?? 0;
      order.push(cookie);
      t.deepEqual(outcomeOf(replies, cookie * 512, 512, cookie).data, new Uint8Array(512).fill(cookie));
    }
    t.deepEqual(order, [3, 1, 4, 2]);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: the same cookie may be in flight twice: it is opaque`, (t) => {
    const connection = connected({}, agreement);
    connection.stream.feed(request({ type: FLUSH, cookie: 5 }));
    connection.stream.feed(request({ type: FLUSH, cookie: 5 }));
    t.is(readReplies(connection.settle()).filter(({ cookie }) => cookie === 5).length, 2);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: without room nothing more is read, and reading goes on when there is room`, (t) => {
    const connection = connected({ capacity: 2 }, agreement);
    for (let cookie = 1; cookie <= 5; cookie++) connection.stream.feed(request({ type: FLUSH, cookie }));
    t.is(connection.device.inFlight.length, 2);
    t.false(connection.stream.isReading);
    t.is(readReplies(connection.settle()).length, 5);
    t.true(connection.stream.isReading);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a read holds its memory until it has been sent`, (t) => {
    const connection = connected({ capacity: 1 }, agreement);
    connection.stream.feed(request({ type: READ, length: 4096 }));
    connection.device.completeAll();
    t.is(connection.device.outstanding, 1);
    connection.stream.take(4000);
    t.is(connection.device.outstanding, 1);
    connection.stream.take();
    t.is(connection.device.outstanding, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a failed request that waits for room gives up waiting`, (t) => {
    const failing = ({ verb }: Call) => (verb === "write" ? 5 : 0);
    const device = new MemoryDevice({ size: 8 * MiB, capacity: 2, newestFirst: true, failing });
    const one = connected({}, agreement, device);
    const other = connected({}, agreement, device);
    other.stream.feed(request({ type: FLUSH, cookie: 1 }));
    one.stream.feed(request({ type: WRITE, data: pattern(2 * MiB) }));
    other.stream.feed(request({ type: FLUSH, cookie: 2 }));
    t.false(one.stream.isReading, "no room for the second piece");
    device.complete(1);
    one.stream.deliver();
    t.is(device.inFlight.length, 2, "the room went to the other client");
    t.is(outcomeOf(readReplies(one.stream.take()), 0, 0).error, 5);
    other.settle();
    other.stream.close("eof");
    t.deepEqual(other.stream.faults, []);
    t.deepEqual(one.faults(), []);
  });

  test(`${form}: DISC waits for what is in flight, then ends; there is no reply to it`, (t) => {
    const connection = connected({}, agreement);
    connection.stream.feed(request({ type: FLUSH, cookie: 1 }));
    connection.stream.feed(request({ type: READ, cookie: 2, length: 512 }));
    connection.stream.feed(request({ type: DISC, cookie: 3, at: 77, length: 99 }));
    t.false(connection.stream.isEnded);
    const replies = readReplies(connection.settle(), new Map([[2, 512]]));
    t.deepEqual(
      replies.map(({ cookie }) => cookie),
      [1, 2],
    );
    t.true(connection.stream.isEnded);
    t.is(connection.device.openers.size, 0, "the device is closed before the client has closed");
    t.true(connection.stream.isReading, "the client's end will be noticed");
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: what follows DISC is ignored`, (t) => {
    const connection = connected({}, agreement);
    const calls = connection.device.calls.length;
    connection.stream.feed(concat([request({ type: DISC }), request({ type: FLUSH }), pattern(100000)]));
    t.is(connection.settle().length, 0);
    t.is(connection.device.calls.length, calls);
    connection.stream.feed(new Uint8Array(70 * MiB));
    t.true(connection.stream.isDestroyed, "a client that never closes is closed");
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a wrong request magic drops the connection and says what came`, (t) => {
    const connection = connected({}, agreement);
    connection.stream.feed(request({ type: FLUSH, cookie: 1 }));
    connection.stream.feed(concat([hex("25609514"), new Uint8Array(24)]));
    t.true(connection.stream.isDestroyed);
    t.deepEqual(connection.violations, ["request magic: expected 0x25609513, actual 0x25609514"]);
    connection.device.completeAll();
    t.is(connection.stream.take().length, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: shutdown: what is in flight finishes, later requests get ESHUTDOWN, then the connection ends`, (t) => {
    const connection = connected({}, agreement);
    connection.stream.feed(request({ type: WRITE, cookie: 1, data: pattern(512) }));
    connection.session.shutdown();
    t.is(errorNow(connection, { type: READ, cookie: 2, length: 512 }), 108);
    t.is(errorNow(connection, { type: WRITE, cookie: 3, data: pattern(512) }), 108);
    t.is(errorNow(connection, { type: 99, cookie: 4 }), 108);
    t.false(connection.stream.isEnded);
    t.is(outcomeOf(readReplies(connection.settle()), 0, 0, 1).error, 0);
    t.true(connection.stream.isEnded);
    t.deepEqual(connection.device.content.subarray(0, 512), pattern(512));
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: shutdown of an idle connection ends it at once`, (t) => {
    const connection = connected({}, agreement);
    connection.session.shutdown();
    t.true(connection.stream.isEnded);
    t.is(connection.device.openers.size, 0);
    connection.session.shutdown();
    connection.stream.feed(request({ type: FLUSH }));
    t.is(connection.stream.take().length, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: shutdown in the middle of a payload lets the write finish`, (t) => {
    const connection = connected({}, agreement);
    const sent = request({ type: WRITE, data: pattern(4096) });
    connection.stream.feed(sent.subarray(0, 1000));
    connection.session.shutdown();
    t.false(connection.stream.isEnded);
    connection.stream.feed(sent.subarray(1000));
    t.is(outcomeOf(readReplies(connection.settle()), 0, 0).error, 0);
    t.true(connection.stream.isEnded);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: shutdown while waiting for room refuses what has not begun`, (t) => {
    const connection = connected({ capacity: 1 }, agreement);
    connection.stream.feed(request({ type: FLUSH, cookie: 1 }));
    connection.stream.feed(request({ type: WRITE, cookie: 2, data: pattern(512) }));
    connection.session.shutdown();
    const replies = readReplies(connection.settle());
    t.is(outcomeOf(replies, 0, 0, 2).error, 108);
    t.is(outcomeOf(replies, 0, 0, 1).error, 0);
    t.true(connection.stream.isEnded);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a client that vanishes at any byte leaks nothing and is closed once`, (t) => {
    const whole = concat([
      request({ type: WRITE, cookie: 1, data: pattern(1024) }),
      request({ type: READ, cookie: 2, length: 1024 }),
      request({ type: WRITE, cookie: 3, at: 4096, data: pattern(512), flags: 1 << 9 }),
      request({ type: FLUSH, cookie: 4 }),
    ]);
    for (let length = 0; length <= whole.length; length += 7) {
      for (const answered of [0, 1, 9]) {
        const connection = connected({ capacity: 2 }, agreement);
        connection.stream.feed(whole.subarray(0, length));
        for (let i = 0; i < answered && connection.device.inFlight.length > 0; i++) connection.device.complete();
        connection.stream.close("reset");
        t.is(connection.closed, "reset");
        t.deepEqual(connection.faults(), []);
      }
    }
  });

  test(`${form}: a client that sends and never reads is disconnected before its replies fill our memory`, (t) => {
    const connection = connected({}, agreement);
    const bad = request({ type: 99 });
    const batch = concat(Array.from({ length: 1000 }, () => bad));
    for (let i = 0; i < 400 && !connection.stream.isDestroyed; i++) connection.stream.feed(batch);
    t.true(connection.stream.isDestroyed);
    t.regex(connection.violations.join(), /unread replies/);
    t.true(connection.stream.queuedMost < 5 * MiB);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a client that reads slowly is waited for while payload is on its way`, (t) => {
    const connection = connected({}, agreement);
    const reads = new Map([1, 2, 3].map((cookie) => [cookie, MiB]));
    for (const cookie of reads.keys()) connection.stream.feed(request({ type: READ, cookie, length: MiB }));
    connection.device.completeAll();
    const bad = request({ type: 99, cookie: 4 });
    const batch = concat(Array.from({ length: 1000 }, () => bad));
    // More than half the limit of unread replies, less than one and a half: 16 bytes each, or 41 with their text.
    const batches = agreement.structured ? 120 : 300;
    for (let i = 0; i < batches; i++) connection.stream.feed(batch);
    t.false(connection.stream.isDestroyed);
    t.false(connection.stream.isReading);
    t.true(connection.stream.queuedMost < 8 * MiB);
    const replies = readReplies(connection.settle(), reads);
    t.is(replies.filter(({ cookie }) => cookie === 4).length, batches * 1000);
    t.true(connection.stream.isReading);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: two clients of one device share its requests; room wakes the one that waits`, (t) => {
    const device = new MemoryDevice({ capacity: 1 });
    const one = connected({}, agreement, device);
    const two = connected({}, agreement, device);
    one.stream.feed(request({ type: WRITE, cookie: 1, data: pattern(512, 3) }));
    two.stream.feed(request({ type: READ, cookie: 1, length: 512 }));
    t.false(two.stream.isReading);
    device.complete();
    t.true(two.stream.isReading);
    device.complete();
    t.deepEqual(outcomeOf(readReplies(two.stream.take(), new Map([[1, 512]])), 0, 512).data, pattern(512, 3));
    t.is(outcomeOf(readReplies(one.stream.take()), 0, 0).error, 0);
    t.is(device.openers.size, 2);
    t.deepEqual(one.stream.faults, []);
    one.stream.close("eof");
    t.is(device.openers.size, 1);
    t.deepEqual(two.faults(), []);
  });
}
