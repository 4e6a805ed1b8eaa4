import test from "ava";
import { ask, both, MiB, outcomeOf, pattern } from "./asking.ts";
import {
  CACHE,
  connected,
  DF,
  FAST_ZERO,
  FLUSH,
  FUA,
  NO_HOLE,
  READ,
  type Request,
  readReplies,
  request,
  TRIM,
  WRITE,
  WRITE_ZEROES,
} from "./client.ts";
import { type Call, MemoryDevice } from "./memory-device.ts";
import { concat } from "./memory-stream.ts";

test("a grown device is usable without reconnecting", (t) => {
  const device = new MemoryDevice({ size: 2 * MiB });
  const whole = device.size;
  Object.assign(device, { size: MiB });
  const connection = connected({}, {}, device);
  t.is(ask(connection, { type: READ, at: MiB, length: 512 }).error, 22);
  Object.assign(device, { size: whole });
  t.is(ask(connection, { type: READ, at: MiB, length: 512 }).error, 0);
  t.deepEqual(connection.faults(), []);
});

test("every request is one trace line with command, cookie, range, flags and outcome", (t) => {
  const connection = connected();
  connection.lines.length = 0;
  ask(connection, { type: WRITE, cookie: 0xa1, at: 4096, data: pattern(512), flags: FUA });
  ask(connection, { type: READ, cookie: 2, at: 1, length: 512 });
  ask(connection, { type: 99, cookie: 3, flags: 0x8000 });
  t.deepEqual(connection.lines, [
    "NBD_CMD_WRITE 00000000000000a1 at 4096 length 512 NBD_CMD_FLAG_FUA: ok",
    "NBD_CMD_READ 0000000000000002 at 1 length 512: error 22 (offset or length is not a multiple of the minimum block size)",
    "0x63 0000000000000003 at 0 length 0 0x8000: error 22 (unknown command)",
  ]);
});

for (const agreement of both) {
  const form = agreement.structured ? "structured" : "simple";

  test(`${form}: what was written is read back, after a flush`, (t) => {
    const connection = connected({}, agreement);
    const data = pattern(4096, 9);
    t.is(ask(connection, { type: WRITE, at: 8192, data }).error, 0);
    t.is(ask(connection, { type: FLUSH }).error, 0);
    t.deepEqual(ask(connection, { type: READ, at: 8192, length: 4096 }).data, data);
    t.deepEqual(
      connection.device.calls.map(({ verb, at, length }) => [verb, at, length]),
      [
        ["write", 8192, 4096],
        ["flush", 0, 0],
        ["read", 8192, 4096],
      ],
    );
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: FUA, NO_HOLE and FAST_ZERO reach the device`, (t) => {
    const connection = connected({}, agreement);
    ask(connection, { type: WRITE, flags: FUA, data: pattern(512) });
    ask(connection, { type: WRITE, data: pattern(512) });
    ask(connection, { type: TRIM, flags: FUA, length: 512 });
    ask(connection, { type: WRITE_ZEROES, length: 512 });
    ask(connection, { type: WRITE_ZEROES, flags: FUA | NO_HOLE, length: 512 });
    t.is(ask(connection, { type: WRITE_ZEROES, flags: FAST_ZERO, length: 512 }).error, 0);
    t.is(ask(connection, { type: WRITE_ZEROES, flags: FAST_ZERO | NO_HOLE, length: 512 }).error, 95);
    t.deepEqual(
      connection.device.calls.map(({ verb, fua, mayUnmap, fastOnly }) => [verb, fua, mayUnmap, fastOnly]),
      [
        ["write", true, false, false],
        ["write", false, false, false],
        ["trim", true, false, false],
        ["writeZeroes", false, true, false],
        ["writeZeroes", true, false, false],
        ["writeZeroes", false, true, true],
        ["writeZeroes", false, false, true],
      ],
    );
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: FUA is accepted on every command (Command flags)`, (t) => {
    const connection = connected({}, { ...agreement, allocation: agreement.structured });
    for (const type of [READ, FLUSH, TRIM, CACHE, WRITE_ZEROES]) {
      t.is(ask(connection, { type, flags: FUA, length: type === FLUSH ? 0 : 512 }).error, 0, `command ${type}`);
    }
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a flag the command does not know is EINVAL, a write's payload is drained (Error values)`, (t) => {
    const connection = connected({}, agreement);
    const allowed: Record<number, number> = {
      [READ]: FUA | (agreement.structured ? DF : 0),
      [WRITE]: FUA,
      [FLUSH]: FUA,
      [TRIM]: FUA,
      [CACHE]: FUA,
      [WRITE_ZEROES]: FUA | NO_HOLE | FAST_ZERO,
    };
    for (const [type, good] of Object.entries(allowed)) {
      for (let bit = 0; bit < 16; bit++) {
        if ((good & (1 << bit)) !== 0) continue;
        const sent = { type: Number(type), flags: 1 << bit, length: Number(type) === FLUSH ? 0 : 512 };
        const payload = sent.type === WRITE ? { data: pattern(512) } : {};
        t.is(ask(connection, { ...sent, ...payload }).error, 22, `command ${type} flag bit ${bit}`);
      }
    }
    t.is(connection.device.calls.length, 0);
    t.is(ask(connection, { type: READ, length: 512 }).error, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: beyond the end, unaligned and overlong requests are EINVAL and touch nothing (Size constraints)`, (t) => {
    const connection = connected({ block: 4096, size: 40 * MiB }, agreement);
    const end = 40 * MiB;
    const overlong = agreement.structured ? 75 : 22;
    const bad: [number | bigint, number, number][] = [
      [end, 4096, 22],
      [end - 4096, 8192, 22],
      [2n ** 63n, 4096, 22],
      [2n ** 64n - 4096n, 8192, 22],
      [2n ** 64n - 4096n, 4096, 22],
      [0, 0xfffff000, 22],
      [512, 4096, 22],
      [0, 512, 22],
      [4095, 1, 22],
      [end + 4096, 0, 22],
      [0, 32 * MiB + 4096, 0],
    ];
    for (const [at, length, error] of bad) {
      for (const type of [READ, TRIM, CACHE, WRITE_ZEROES]) {
        const expected = error === 0 ? (type === READ ? overlong : 0) : error;
        if (expected !== 0) t.is(ask(connection, { type, at, length }).error, expected, `${type} ${at}+${length}`);
      }
    }
    for (const [at, length] of [
      [end, 4096],
      [512, 4096],
      [0, 512],
      [0, 33 * MiB],
    ] as const) {
      t.is(ask(connection, { type: WRITE, at, data: new Uint8Array(length) }).error, 22);
    }
    t.is(connection.device.calls.length, 0);
    t.is(ask(connection, { type: READ, at: end - 4096, length: 4096 }).error, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a request of length 0 succeeds without the device`, (t) => {
    const connection = connected({}, agreement);
    for (const type of [READ, WRITE, TRIM, CACHE, WRITE_ZEROES]) {
      t.is(ask(connection, { type, at: MiB, length: 0 }).error, 0, `command ${type}`);
      t.is(ask(connection, { type, at: MiB + 512, length: 0 }).error, 22, `command ${type} beyond the end`);
    }
    if (agreement.structured) t.is(ask(connection, { type: READ, flags: DF, length: 0 }).error, 0);
    t.is(connection.device.calls.length, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a flush with an offset or length is EINVAL`, (t) => {
    const connection = connected({}, agreement);
    t.is(ask(connection, { type: FLUSH, at: 512 }).error, 22);
    t.is(ask(connection, { type: FLUSH, length: 512 }).error, 22);
    t.is(ask(connection, { type: FLUSH }).error, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: an unknown command is EINVAL, carries no payload, and the next request is understood`, (t) => {
    const connection = connected({}, agreement);
    for (const type of [8, 9, 255, 65535]) t.is(ask(connection, { type, length: 512 }).error, 22);
    t.is(ask(connection, { type: READ, length: 512 }).error, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a read-only export refuses what writes with EPERM, even if it becomes writable later`, (t) => {
    const device = new MemoryDevice();
    device.readOnly = true;
    const connection = connected({}, agreement, device);
    const writes: Request[] = [
      { type: WRITE, data: pattern(2 * MiB), length: 2 * MiB },
      { type: TRIM, length: 512 },
      { type: WRITE_ZEROES, length: 512 },
    ];
    for (const sent of writes) t.is(ask(connection, sent).error, 1);
    device.readOnly = false;
    for (const sent of writes) t.is(ask(connection, sent).error, 1);
    t.is(ask(connection, { type: READ, length: 512 }).error, 0);
    t.is(ask(connection, { type: FLUSH }).error, 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: an export that becomes read-only refuses writes from then on`, (t) => {
    const connection = connected({}, agreement);
    t.is(ask(connection, { type: WRITE, data: pattern(512) }).error, 0);
    connection.device.readOnly = true;
    t.is(ask(connection, { type: WRITE, data: pattern(512) }).error, 1);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a device's errno becomes one of NBD's error values (Error values)`, (t) => {
    const expected: [number, number][] = [
      [1, 1],
      [5, 5],
      [12, 12],
      [13, 1],
      [22, 22],
      [27, 28],
      [28, 28],
      [30, 1],
      [75, 75],
      [95, 22],
      [108, 108],
      [122, 28],
      [6, 5],
      [4095, 5],
    ];
    for (const [errno, error] of expected) {
      const connection = connected({ failing: () => errno }, agreement);
      for (const type of [READ, TRIM, WRITE_ZEROES, FLUSH]) {
        const outcome = ask(connection, { type, length: type === FLUSH ? 0 : 512 });
        t.is(outcome.error, error, `errno ${errno}, command ${type}`);
        if (agreement.structured) t.not(outcome.text, "");
      }
      t.is(ask(connection, { type: WRITE, data: pattern(512) }).error, error);
      t.deepEqual(connection.faults(), []);
    }
  });

  test(`${form}: 32 MiB are written and read in pieces of at most 1 MiB with one reply`, (t) => {
    const connection = connected({ size: 40 * MiB, capacity: 40 }, agreement);
    const data = pattern(32 * MiB);
    connection.stream.feed(request({ type: WRITE, flags: FUA, at: 4 * MiB, data }));
    t.is(connection.device.inFlight.length, 32);
    t.is(connection.device.inFlight.filter(({ length, fua }) => length === MiB && fua).length, 32);
    t.is(connection.stream.take().length, 0, "no reply before the last piece");
    t.is(outcomeOf(readReplies(connection.settle()), 0, 0).error, 0);
    t.true(Buffer.from(connection.device.content.subarray(4 * MiB, 36 * MiB)).equals(data));
    const outcome = ask(connection, { type: READ, at: 4 * MiB, length: 32 * MiB });
    t.is(outcome.error, 0);
    t.true(Buffer.from(outcome.data).equals(data));
    t.is(outcome.offsets.length, agreement.structured ? 32 : 0);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a long request passes through a device with room for one piece`, (t) => {
    const connection = connected({ size: 8 * MiB, capacity: 1 }, agreement);
    const data = pattern(5 * MiB + 512);
    t.is(ask(connection, { type: WRITE, at: 512, data }).error, 0);
    const outcome = ask(connection, { type: READ, at: 512, length: 5 * MiB + 512 });
    t.is(outcome.error, 0);
    t.true(Buffer.from(outcome.data).equals(data));
    t.is(connection.device.allocatedMost, 1);
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: TRIM and WRITE_ZEROES are split at 128 MiB and answered once`, (t) => {
    const connection = connected({ size: 300 * MiB }, agreement);
    for (const type of [TRIM, WRITE_ZEROES]) {
      connection.device.calls.length = 0;
      t.is(ask(connection, { type, flags: FUA, at: 512, length: 300 * MiB - 512 }).error, 0);
      t.deepEqual(
        connection.device.calls.map(({ at, length, fua }) => [at, length, fua]),
        [
          [512, 128 * MiB, true],
          [512 + 128 * MiB, 128 * MiB, true],
          [512 + 256 * MiB, 44 * MiB - 512, true],
        ],
      );
    }
    t.deepEqual(connection.faults(), []);
  });

  test(`${form}: a device that answers at once gets the same replies out`, (t) => {
    for (const capacity of [1, 2, 16]) {
      const connection = connected({ size: 8 * MiB, capacity, immediate: true }, agreement);
      const data = pattern(3 * MiB + 512);
      t.is(ask(connection, { type: WRITE, at: MiB, data }).error, 0);
      const parts = [connection.exchange(request({ type: READ, at: MiB, length: data.length }))];
      for (let part = connection.stream.take(); part.length > 0; part = connection.stream.take()) parts.push(part);
      const outcome = outcomeOf(readReplies(concat(parts), new Map([[1, data.length]])), MiB, data.length);
      t.true(Buffer.from(outcome.data).equals(data));
      t.is(ask(connection, { type: FLUSH }).error, 0);
      t.deepEqual(connection.faults(), []);
    }
  });

  test(`${form}: one failing piece fails the request, once, and every piece is released`, (t) => {
    for (const type of [READ, WRITE, TRIM, WRITE_ZEROES]) {
      const limit = type === READ || type === WRITE ? MiB : 128 * MiB;
      const failing = (call: Call) => (call.at === limit ? 5 : 0);
      const connection = connected({ size: 3 * limit, capacity: 4, failing }, agreement);
      const sent = type === WRITE ? { type, data: new Uint8Array(3 * limit) } : { type, length: 3 * limit };
      const outcome = ask(connection, sent);
      t.is(outcome.error, 5);
      if (agreement.structured) t.is(outcome.failedAt, limit);
      t.is(connection.stream.isDestroyed, false);
      t.is(ask(connection, { type: FLUSH, cookie: 2 }).error, 0);
      t.deepEqual(connection.faults(), []);
    }
  });

  test(`${form}: a write that fails while its payload still arrives drains the rest`, (t) => {
    const connection = connected({ size: 8 * MiB, failing: ({ verb }) => (verb === "write" ? 28 : 0) }, agreement);
    const sent = request({ type: WRITE, data: pattern(4 * MiB) });
    connection.stream.feed(sent.subarray(0, 28 + MiB + 100));
    connection.device.completeAll();
    connection.stream.feed(sent.subarray(28 + MiB + 100));
    connection.stream.feed(request({ type: FLUSH, cookie: 2 }));
    const replies = readReplies(connection.settle());
    t.is(outcomeOf(replies, 0, 0, 1).error, 28);
    t.is(outcomeOf(replies, 0, 0, 2).error, 0);
    t.true(connection.device.calls.filter(({ verb }) => verb === "write").length <= 2);
    t.deepEqual(connection.faults(), []);
  });
}
