/**
 * Whatever a client sends and however the device answers: the session does not throw, gives every request back to the device
 * exactly once, uses stream and device as their interfaces say, and answers every request exactly once.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import {
  BLOCK_STATUS,
  CACHE,
  Connection,
  connected,
  DF,
  DISC,
  FAST_ZERO,
  FLUSH,
  FUA,
  infoOption,
  metaOption,
  NO_HOLE,
  option,
  READ,
  REQ_ONE,
  type Request,
  readReplies,
  request,
  TRIM,
  u32,
  WRITE,
  WRITE_ZEROES,
} from "../unit/core/nbd/client.ts";
import { MemoryDevice } from "../unit/core/nbd/memory-device.ts";
import { concat } from "../unit/core/nbd/memory-stream.ts";

const KiB = 1024;
const SIZE = 2 * KiB * KiB + 4 * KiB;
const corpus = new URL("corpus/nbd/", import.meta.url);
const seeds = readdirSync(corpus)
  .filter((name) => name.endsWith(".hex"))
  .map((name) => {
    const lines = readFileSync(new URL(name, corpus), "utf8").split("\n");
    const digits = lines.filter((line) => !line.startsWith("#")).join("");
    return { name, bytes: Uint8Array.from(Buffer.from(digits, "hex")) };
  });

/** A device's and a network's behaviour, as a stream of small decisions that repeats. */
interface Weather {
  readonly capacity: number;
  readonly immediate: boolean;
  /** errno of the n-th call. */
  readonly errors: readonly number[];
  /** Lengths of segments from the client. */
  readonly segments: readonly number[];
  /** After each segment: how many requests the device answers, which one first, and how many bytes the client takes. */
  readonly turns: readonly { readonly answers: number; readonly pick: number; readonly takes: number }[];
  /** The session is told to shut down after this many segments. */
  readonly shutdownAfter: number;
}

const weather: fc.Arbitrary<Weather> = fc.record({
  capacity: fc.integer({ min: 1, max: 6 }),
  immediate: fc.boolean(),
  errors: fc.array(fc.constantFrom(0, 0, 0, 0, 0, 5, 28, 95, 108), { minLength: 1, maxLength: 8 }),
  segments: fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 3_000_000 })), {
    minLength: 1,
    maxLength: 12,
  }),
  turns: fc.array(
    fc.record({
      answers: fc.integer({ min: 0, max: 4 }),
      pick: fc.nat(7),
      takes: fc.constantFrom(0, 1, 100, 5000, 1_000_000_000),
    }),
    { minLength: 1, maxLength: 8 },
  ),
  shutdownAfter: fc.constantFrom(1_000_000, 1_000_000, 1_000_000, 0, 1, 3, 7),
});

const pick = <T>(list: readonly T[], index: number): T => {
  const item = list[index % list.length];
  if (item === undefined) throw new Error("an empty list");
  return item;
};

function deviceIn({ capacity, immediate, errors }: Weather, allErrors = true): MemoryDevice {
  let call = 0;
  return new MemoryDevice({
    size: SIZE,
    capacity,
    immediate,
    failing: () => (allErrors ? pick(errors, call++) : 0),
  });
}

/** Feeds `sent` to the session in this weather; returns what the client has taken. */
function run(connection: Connection, sent: Uint8Array, { segments, turns, shutdownAfter }: Weather): Uint8Array {
  const { stream, device } = connection;
  const taken: Uint8Array[] = [];
  let turn = 0;
  for (let at = 0; at < sent.length && !stream.isDestroyed; turn++) {
    if (turn === shutdownAfter) connection.session.shutdown();
    // Small segments for ever would take long on long sessions.
    const length = turn > 2000 ? sent.length : pick(segments, turn);
    stream.feed(sent.subarray(at, at + length));
    at += length;
    const { answers, pick: which, takes } = pick(turns, turn);
    for (let i = 0; i < answers && device.inFlight.length > 0; i++) device.complete(which % device.inFlight.length);
    taken.push(stream.take(takes));
    stream.deliver();
  }
  taken.push(connection.settle());
  return concat(taken);
}

const runs = { numRuns: 300 };

testProp(
  "random bytes in any segmentation, from the first byte on",
  [fc.uint8Array({ maxLength: 3000 }), weather],
  (t, bytes, conditions) => {
    const connection = new Connection(deviceIn(conditions));
    run(connection, bytes, conditions);
    t.deepEqual(connection.faults(), []);
  },
  runs,
);

testProp(
  "random option data behind valid headers",
  [
    fc.array(fc.tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 80 })), { maxLength: 20 }),
    fc.boolean(),
    weather,
  ],
  (t, haggle, structured, conditions) => {
    const connection = new Connection(deviceIn(conditions));
    const parts = haggle.map(([code, data]) => option(code, data));
    run(connection, concat([u32(3), structured ? option(8) : u32(0).subarray(4), ...parts]), conditions);
    t.deepEqual(connection.faults(), []);
  },
  runs,
);

/** Any request header, biased towards what nearly makes sense. */
const anyRequest: fc.Arbitrary<Request> = fc.record({
  type: fc.oneof(fc.integer({ min: 0, max: 8 }), fc.nat(65535)),
  cookie: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  flags: fc.oneof(fc.constant(0), fc.nat(31), fc.nat(65535)),
  at: fc.oneof(
    fc.nat(SIZE / 512).map((block) => block * 512),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  ),
  length: fc.oneof(
    fc.nat(SIZE / 512).map((block) => block * 512),
    fc.nat(8).map((block) => block * 512),
    fc.nat(),
  ),
});

testProp(
  "any request headers with less, more or other payload than they announce",
  [fc.array(fc.tuple(anyRequest, fc.uint8Array({ maxLength: 600 })), { maxLength: 20 }), fc.boolean(), weather],
  (t, list, structured, conditions) => {
    const connection = connected({}, { structured, allocation: structured }, deviceIn(conditions));
    run(connection, concat(list.flatMap(([each, data]) => [request(each), data])), conditions);
    t.deepEqual(connection.faults(), []);
  },
  runs,
);

/** Where, what to do (0 flip, 1 overwrite, 2 delete, 3 duplicate, 4 cut), with what. */
const mutation = fc.tuple(fc.nat(5000), fc.integer({ min: 0, max: 4 }), fc.nat(255), fc.integer({ min: 1, max: 40 }));

function mutate(bytes: Uint8Array, changes: readonly (readonly [number, number, number, number])[]): Uint8Array {
  let result = bytes;
  for (const [where, what, value, length] of changes) {
    if (result.length === 0) break;
    const at = where % result.length;
    const [before, after] = [result.slice(0, at), result.slice(at)];
    if (what === 0) after[0] = (after[0] ?? 0) ^ (1 << (value & 7));
    else if (what === 1) after[0] = value;
    if (what <= 1) result = concat([before, after]);
    else if (what === 2) result = concat([before, after.subarray(length)]);
    else if (what === 3) result = concat([before, after.subarray(0, length), after]);
    else result = before;
  }
  return result;
}

testProp(
  "recorded sessions of real clients, mutated",
  [fc.constantFrom(...seeds), fc.array(mutation, { maxLength: 6 }), weather],
  (t, seed, changes, conditions) => {
    const connection = new Connection(deviceIn(conditions));
    run(connection, mutate(seed.bytes, changes), conditions);
    t.deepEqual(connection.faults(), []);
  },
  { numRuns: 1000 },
);

for (const { name, bytes } of seeds) {
  test(`seed ${name}: served without a violation, the same byte by byte as at once`, (t) => {
    const served = [bytes.length, 1, 13].map((length) => {
      const connection = new Connection(new MemoryDevice({ size: 64 * KiB }));
      for (let at = 0; at < bytes.length; at += length) connection.stream.feed(bytes.subarray(at, at + length));
      const sent = connection.settle();
      t.deepEqual(connection.violations, []);
      t.deepEqual(connection.faults(), []);
      return Buffer.from(sent).toString("hex");
    });
    t.true(served.every((sent) => sent === served[0]));
    t.true(bytes.length > 0);
  });
}

/** What stands at byte `at` of the device in the tests below, before and after every write. */
const byteAt = (at: number): number => (at * 7 + Math.floor(at / 512)) & 255;
const content = Uint8Array.from({ length: SIZE }, (_, at) => byteAt(at));

const blocks = fc
  .tuple(fc.nat(SIZE / 512 - 1), fc.oneof(fc.nat(8), fc.nat(SIZE / 512)))
  .map(([at, length]) => ({ at: at * 512, length: Math.min(length * 512, SIZE - at * 512) }));

/** A request a client may send; writes write what is there already, so that every read has one right answer in any order. */
const validRequest: fc.Arbitrary<Request> = fc.oneof(
  fc.tuple(blocks, fc.constantFrom(0, FUA, DF)).map(([range, flags]) => ({ type: READ, flags, ...range })),
  fc.tuple(blocks, fc.constantFrom(0, FUA)).map(([{ at, length }, flags]) => ({
    type: WRITE,
    flags,
    at,
    data: content.subarray(at, at + length),
  })),
  fc.constantFrom(0, FUA).map((flags) => ({ type: FLUSH, flags })),
  blocks.map((range) => ({ type: CACHE, ...range })),
  fc.tuple(blocks, fc.constantFrom(0, REQ_ONE)).map(([range, flags]) => ({ type: BLOCK_STATUS, flags, ...range })),
  // Refused ones among them, payload included.
  fc.constantFrom<Request>(
    { type: READ, at: SIZE, length: 512 },
    { type: WRITE, at: 1, data: content.subarray(0, 700) },
    { type: 77 },
    { type: WRITE_ZEROES, at: SIZE - 512, length: 1024, flags: NO_HOLE | FAST_ZERO },
    { type: TRIM, at: 3, length: 5 },
  ),
);

testProp(
  "valid sessions: every request is answered exactly once, every read with the right bytes",
  [fc.array(validRequest, { minLength: 1, maxLength: 12 }), fc.boolean(), fc.boolean(), weather],
  (t, list, structured, fails, conditions) => {
    const device = deviceIn(conditions, fails);
    device.content.set(content);
    const connection = connected({}, { structured, allocation: structured }, device);
    const reads = new Map<number, number>();
    list.forEach((each, i) => {
      if (each.type === READ) reads.set(i + 1, each.length ?? 0);
    });
    const sent = concat([...list.map((each, i) => request({ ...each, cookie: i + 1 })), request({ type: DISC })]);
    // A shutdown may leave requests unread; it has a test of its own.
    const bytes = run(connection, sent, { ...conditions, shutdownAfter: -1 });
    // A failed simple read whose header was sent ends the connection, which is no answer to check.
    if (!connection.stream.isDestroyed) {
      const answers = new Map<number, number>();
      for (const reply of readReplies(bytes, reads)) {
        const isFinal = reply.kind === "simple" || reply.done;
        t.is(answers.get(reply.cookie) ?? 0, 0, "nothing comes after the final message");
        if (isFinal) answers.set(reply.cookie, 1);
        const at = Number(list[reply.cookie - 1]?.at ?? 0);
        if (reply.kind === "simple" && reply.data.length > 0) {
          t.is(Buffer.compare(reply.data, content.subarray(at, at + reply.data.length)), 0);
        } else if (reply.kind === "chunk" && reply.type === 1 && !fails) {
          const from = Number(new DataView(reply.data.buffer, reply.data.byteOffset).getBigUint64(0));
          t.is(Buffer.compare(reply.data.subarray(8), content.subarray(from, from + reply.data.length - 8)), 0);
        }
      }
      t.deepEqual(
        [...answers.keys()].sort((a, b) => a - b),
        list.map((_, i) => i + 1),
      );
      t.true(connection.stream.isEnded, "DISC was obeyed");
    } else t.true(fails && !structured);
    t.deepEqual(connection.faults(), []);
  },
  { numRuns: 400 },
);

testProp(
  "a whole negotiation with any weather ends in transmission",
  [fc.boolean(), weather],
  (t, structured, conditions) => {
    const connection = new Connection(deviceIn(conditions));
    const haggle = structured ? [option(8), metaOption(10, "r0", ["base:allocation"])] : [];
    const sent = concat([u32(1), option(3), ...haggle, infoOption(6, "r0"), infoOption(7, "r0")]);
    run(connection, sent, { ...conditions, shutdownAfter: -1 });
    t.is(connection.session.exportName, "r0");
    t.deepEqual(connection.faults(), []);
  },
  { numRuns: 100 },
);

testProp(
  "several clients of one device: none waits for ever, whatever room there is",
  [
    fc.array(fc.array(validRequest, { minLength: 1, maxLength: 5 }), { minLength: 2, maxLength: 3 }),
    fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
    weather,
  ],
  (t, lists, forms, conditions) => {
    const device = deviceIn(conditions, false);
    device.content.set(content);
    const clients = lists.map((list, i) => {
      const structured = forms[i] === true;
      const connection = connected({}, { structured, allocation: structured }, device);
      const sent = concat([...list.map((each, n) => request({ ...each, cookie: n + 1 })), request({ type: DISC })]);
      const reads = new Map(list.map((each, n) => [n + 1, each.type === READ ? (each.length ?? 0) : 0]));
      return { connection, sent, reads, taken: [] as Uint8Array[], count: list.length };
    });
    for (const { connection, sent } of clients) {
      const [first = 1] = conditions.segments;
      connection.stream.feed(sent.subarray(0, first));
      connection.stream.feed(sent.subarray(first));
    }
    for (let turn = 0, idle = 0; idle < 2; turn++) {
      const { answers, pick: which } = pick(conditions.turns, turn);
      let moved = 0;
      for (let i = 0; i <= answers && device.inFlight.length > 0; i++, moved++) {
        device.complete(which % device.inFlight.length);
      }
      for (const { connection, taken } of clients) {
        const part = connection.stream.take();
        taken.push(part);
        moved += part.length;
        connection.stream.deliver();
      }
      idle = moved > 0 || device.inFlight.length > 0 ? 0 : idle + 1;
    }
    for (const { connection, taken, reads, count } of clients) {
      const replies = readReplies(concat(taken), reads);
      t.is(new Set(replies.map(({ cookie }) => cookie)).size, count);
      t.is(replies.filter((reply) => reply.kind === "simple" || reply.done).length, count);
      t.true(connection.stream.isEnded);
      connection.stream.close("eof");
      t.deepEqual(connection.stream.faults, []);
    }
    t.deepEqual(device.faults, []);
    t.is(device.outstanding, 0);
    t.is(device.openers.size, 0);
  },
  runs,
);
