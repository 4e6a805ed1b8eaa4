import test from "ava";
import { ask, MiB, NONE, outcomeOf, pattern } from "./asking.ts";
import { CACHE, connected, DF, FLUSH, hex, READ, type Reply, readReplies, request } from "./client.ts";
import { type Call, MemoryDevice } from "./memory-device.ts";
import { concat } from "./memory-stream.ts";

test("a simple reply is magic, error, cookie, and the data of a read (Simple reply message)", (t) => {
  const connection = connected();
  connection.device.content.set(pattern(512), 1024);
  connection.exchange(request({ type: READ, cookie: 0x0102030405060708n, at: 1024, length: 512 }));
  t.deepEqual(connection.settle(), concat([hex("67446698 00000000 0102030405060708"), pattern(512)]));
  connection.exchange(request({ type: READ, cookie: 0xffffffffffffffffn, at: 1, length: 512 }));
  t.deepEqual(connection.settle(), hex(""), "an invalid request is answered at once");
  t.deepEqual(connection.faults(), []);
});

test("a structured read is one OFFSET_DATA chunk with DONE (Structured reply chunk message)", (t) => {
  const connection = connected({}, { structured: true });
  connection.device.content.set(pattern(512), 1024);
  connection.exchange(request({ type: READ, cookie: 7, at: 1024, length: 512 }));
  const header = hex("668e33ef 0001 0001 0000000000000007 00000208 0000000000000400");
  t.deepEqual(connection.settle(), concat([header, pattern(512)]));
  t.deepEqual(connection.faults(), []);
});

test("a structured error carries NBD's error value and a text for a human being", (t) => {
  const connection = connected({}, { structured: true });
  const [reply] = connection.replies(NONE, request({ type: READ, at: 2 * MiB, length: 512 }));
  t.is(reply?.kind === "chunk" && reply.type, 0x8001);
  t.deepEqual(ask(connection, { type: READ, at: 2 * MiB, length: 512 }).text, "beyond the end of the export");
});

test("a simple read that fails in a later piece is one error reply without payload, if memory sufficed", (t) => {
  const connection = connected({ size: 4 * MiB, capacity: 8, failing: ({ at }) => (at === 3 * MiB ? 5 : 0) });
  connection.stream.feed(request({ type: READ, length: 4 * MiB }));
  connection.device.complete(0);
  connection.device.complete(1);
  t.is(connection.stream.take().length, 0);
  t.deepEqual(connection.settle(), hex("67446698 00000005 0000000000000001"));
  t.is(connection.device.outstanding, 0, "what was read and is not sent has gone back");
  t.deepEqual(connection.faults(), []);
});

test("a simple read that fails after its header was sent ends the connection (NBD_CMD_READ, Simple replies)", (t) => {
  const connection = connected({ size: 4 * MiB, capacity: 2, failing: ({ at }) => (at === 3 * MiB ? 5 : 0) });
  connection.exchange(request({ type: READ, length: 4 * MiB }));
  const sent = connection.settle();
  t.true(connection.stream.isDestroyed);
  t.deepEqual(sent.subarray(0, 16), hex("67446698 00000000 0000000000000001"));
  t.is(sent.length, 16 + 3 * MiB, "no further data");
  t.regex(connection.violations.join(), /NBD_CMD_READ .* error 5/);
  t.deepEqual(connection.faults(), []);
});

test("simple read pieces that finish out of order are sent in order", (t) => {
  for (const capacity of [3, 4, 8]) {
    const connection = connected({ size: 8 * MiB, capacity });
    connection.device.content.set(pattern(8 * MiB));
    const parts = [connection.exchange(request({ type: READ, length: 7 * MiB }))];
    while (connection.device.inFlight.length > 0) {
      connection.device.complete(connection.device.inFlight.length - 1);
      parts.push(connection.stream.take());
    }
    const all = concat(parts);
    t.true(Buffer.from(all.subarray(16)).equals(pattern(8 * MiB).subarray(0, 7 * MiB)), `capacity ${capacity}`);
    t.deepEqual(connection.faults(), []);
  }
});

test("nothing comes between the parts of a reply that began early", (t) => {
  for (const [structured, flags] of [
    [false, 0],
    [true, DF],
  ] as const) {
    const length = 2 * MiB + 512;
    const connection = connected({ size: 4 * MiB, capacity: 1 }, { structured });
    connection.device.content.set(pattern(4 * MiB));
    connection.stream.feed(request({ type: READ, flags, cookie: 1, length }));
    connection.stream.feed(request({ type: CACHE, cookie: 2, length: 512 }));
    connection.stream.feed(request({ type: 99, cookie: 3 }));
    const replies = readReplies(connection.settle(), new Map([[1, length]]));
    t.true(Buffer.from(outcomeOf(replies, 0, length, 1).data).equals(pattern(length)));
    t.is(outcomeOf(replies, 0, 0, 2).error, 0);
    t.is(outcomeOf(replies, 0, 0, 3).error, 22);
    t.deepEqual(connection.faults(), []);
  }
});

test("a read that lacks room begins its reply only when it is the only request left", (t) => {
  for (const [structured, flags] of [
    [false, 0],
    [true, DF],
  ] as const) {
    const connection = connected({ size: 4 * MiB, capacity: 2 }, { structured });
    connection.device.content.set(pattern(4 * MiB));
    connection.stream.feed(request({ type: FLUSH, cookie: 2 }));
    connection.stream.feed(request({ type: READ, flags, cookie: 1, length: 3 * MiB }));
    connection.device.complete(1);
    t.is(connection.stream.take().length, 0);
    connection.device.complete(0);
    const replies = readReplies(connection.settle(), new Map([[1, 3 * MiB]]));
    t.is(replies[0]?.cookie, 2);
    t.true(Buffer.from(outcomeOf(replies, 0, 3 * MiB, 1).data).equals(pattern(3 * MiB)));
    t.deepEqual(connection.faults(), []);
  }
});

test("structured chunks go as pieces finish, each within the request, the last with DONE", (t) => {
  const connection = connected({ size: 4 * MiB, capacity: 8 }, { structured: true });
  connection.stream.feed(request({ type: READ, length: 4 * MiB }));
  const replies: Reply[] = [];
  for (const index of [3, 1, 1, 0]) {
    connection.device.complete(index);
    replies.push(...readReplies(connection.stream.take()));
  }
  t.deepEqual(
    replies.map((reply) => reply.kind === "chunk" && reply.done),
    [false, false, false, true],
  );
  t.deepEqual(outcomeOf(replies, 0, 4 * MiB).offsets, [3 * MiB, MiB, 2 * MiB, 0]);
  t.deepEqual(connection.faults(), []);
});

test("DF sends at most one data chunk, of any length up to 32 MiB, whatever room there is", (t) => {
  for (const capacity of [1, 3, 40]) {
    const connection = connected({ size: 8 * MiB, capacity }, { structured: true });
    connection.device.content.set(pattern(8 * MiB));
    const outcome = ask(connection, { type: READ, flags: DF, at: 512, length: 7 * MiB });
    t.deepEqual(outcome.offsets, [512]);
    t.true(Buffer.from(outcome.data).equals(pattern(8 * MiB).subarray(512, 512 + 7 * MiB)));
    t.deepEqual(connection.faults(), []);
  }
});

test("DF that fails before its chunk has begun is an error without data; afterwards zeroes fill the chunk", (t) => {
  const failing = ({ at }: Call) => (at === 2 * MiB ? 5 : 0);
  const roomy = connected({ size: 4 * MiB, capacity: 8, failing }, { structured: true });
  const early = ask(roomy, { type: READ, flags: DF, length: 4 * MiB });
  t.deepEqual([early.error, early.failedAt, early.offsets], [5, 2 * MiB, []]);
  t.is(roomy.device.outstanding, 0);
  t.deepEqual(roomy.faults(), []);
  const tight = connected({ size: 4 * MiB, capacity: 1, failing }, { structured: true });
  tight.device.content.set(pattern(4 * MiB));
  const late = ask(tight, { type: READ, flags: DF, length: 4 * MiB });
  t.deepEqual([late.error, late.failedAt, late.offsets], [5, 2 * MiB, [0]]);
  t.true(Buffer.from(late.data.subarray(0, 2 * MiB)).equals(pattern(4 * MiB).subarray(0, 2 * MiB)));
  t.true(late.data.subarray(2 * MiB).every((byte) => byte === 0));
  t.is(ask(tight, { type: FLUSH, cookie: 2 }).error, 0);
  t.deepEqual(tight.faults(), []);
});

test("a structured read that the device answers at once is still one chunk", (t) => {
  const connection = connected({ immediate: true }, { structured: true });
  const replies = readReplies(connection.exchange(request({ type: READ, length: 4096 })));
  t.deepEqual(
    replies.map((reply) => reply.kind === "chunk" && [reply.type, reply.done]),
    [[1, true]],
  );
  t.deepEqual(connection.faults(), []);
});

test("a read that lacks room begins as soon as it is alone, even if another client gets the room", (t) => {
  const device = new MemoryDevice({ size: 4 * MiB, capacity: 2, newestFirst: true });
  const one = connected({}, {}, device);
  const other = connected({}, {}, device);
  one.stream.feed(request({ type: FLUSH, cookie: 2 }));
  one.stream.feed(request({ type: READ, cookie: 1, length: 2 * MiB }));
  other.stream.feed(request({ type: FLUSH, cookie: 1 }));
  device.complete(1);
  t.is(one.stream.take().length, 0);
  device.complete(0);
  t.is(device.inFlight.length, 1, "the room went to the other client");
  t.is(one.stream.take().length, 16 + 16 + MiB);
  one.settle();
  other.settle();
  one.stream.close("eof");
  t.deepEqual(one.stream.faults, []);
  t.deepEqual(other.faults(), []);
});
