import test from "ava";
import { ask, MiB, NONE } from "./asking.ts";
import {
  BLOCK_STATUS,
  connected,
  DF,
  hex,
  READ,
  REQ_ONE,
  type Request,
  readExtents,
  readReplies,
  request,
  u32,
} from "./client.ts";
import { MemoryDevice } from "./memory-device.ts";

test("BLOCK_STATUS lists the device's runs, merged, never beyond the request", (t) => {
  const connection = connected({}, { allocation: true });
  connection.device.content.fill(1, 8192, 12288);
  connection.device.content.fill(1, 20480, 20481);
  const extentsOf = (sent: Omit<Request, "type">) => {
    const replies = connection.replies(NONE, request({ type: BLOCK_STATUS, ...sent }));
    t.is(replies.length, 1);
    const [reply] = replies;
    if (reply?.kind !== "chunk" || reply.type !== 5 || !reply.done) throw new Error("expected one final status chunk");
    const { context, extents } = readExtents(reply.data);
    t.is(context, 1);
    return extents;
  };
  t.deepEqual(extentsOf({ length: 32768 }), [
    [8192, 3],
    [4096, 0],
    [8192, 3],
    [4096, 0],
    [8192, 3],
  ]);
  t.deepEqual(extentsOf({ length: 32768, flags: REQ_ONE }), [[8192, 3]]);
  t.deepEqual(extentsOf({ at: 512, length: 512, flags: REQ_ONE }), [[512, 3]]);
  t.deepEqual(extentsOf({ at: 8704, length: 4096 }), [
    [3584, 0],
    [512, 3],
  ]);
  t.is(ask(connection, { type: BLOCK_STATUS, length: 0 }).error, 22);
  t.is(ask(connection, { type: BLOCK_STATUS, at: MiB, length: 512 }).error, 22);
  t.is(ask(connection, { type: BLOCK_STATUS, length: 512, flags: DF }).error, 22);
  t.deepEqual(connection.faults(), []);
});

test("BLOCK_STATUS stays within one reply and within bounds, whatever the device says", (t) => {
  const extents = (allocation: (at: number, length: number) => number, length: number) => {
    const connection = connected({ size: 64 * MiB, allocation }, { allocation: true });
    const [reply] = connection.replies(NONE, request({ type: BLOCK_STATUS, length }));
    t.deepEqual(connection.faults(), []);
    return readExtents(reply?.kind === "chunk" ? reply.data : u32(0)).extents;
  };
  const alternating = extents((at) => ((at / 512) % 2 === 0 ? 512 : -512), 64 * MiB);
  t.is(alternating.length, 1021);
  t.true(alternating.every(([length, flags], i) => length === 512 && flags === (i % 2 === 0 ? 0 : 3)));
  t.deepEqual(
    extents(() => 0, 8192),
    [[8192, 0]],
  );
  t.deepEqual(
    extents(() => 1e15, 8192),
    [[8192, 0]],
  );
  t.deepEqual(
    extents(() => -1e15, 8192),
    [[8192, 3]],
  );
  const short = extents(() => 512, 64 * MiB);
  t.is(short.length, 1);
  t.true((short[0]?.[0] ?? 0) >= 512 && (short[0]?.[0] ?? 0) <= 64 * MiB);
});

test("an offset beyond 2^32 is read exactly", (t) => {
  const device = new MemoryDevice({ allocation: (at, length) => (at === 2 ** 40 + 512 ? -length : 0) });
  const connection = connected({}, { allocation: true }, device);
  Object.assign(device, { size: 2 ** 41 });
  const [reply] = connection.replies(NONE, request({ type: BLOCK_STATUS, at: 2 ** 40 + 512, length: 1024 }));
  t.deepEqual(readExtents(reply?.kind === "chunk" ? reply.data : u32(0)).extents, [[1024, 3]]);
  const read = request({ type: READ, at: 2 ** 40 + 1024, length: 512 });
  connection.stream.feed(read);
  t.is(device.calls.at(-1)?.at, 2 ** 40 + 1024);
  t.deepEqual(
    readReplies(connection.settle()).map((r) => r.kind === "chunk" && r.data.subarray(0, 8)),
    [hex("00000100 00000400")],
  );
});
