import test from "ava";
import fc from "fast-check";
import type { StreamHandler } from "../../../src/core/ports.ts";
import { Arena, arenaBytes, CHUNK_BYTES } from "../../../src/node/arena.ts";
import { BATCH_PIECES, SendQueue } from "../../../src/node/send-queue.ts";

const SLAB = 1024 * 1024;

class Sink implements StreamHandler {
  readonly tokens: number[] = [];
  onHeader(): void {}
  onPayload(): void {}
  onClosed(): void {}
  onSent(token: number): void {
    this.tokens.push(token);
  }
}

function setup(): { arena: Arena; queue: SendQueue; sink: Sink; taken: number[]; take: (most: number) => boolean } {
  const arena = new Arena(new ArrayBuffer(arenaBytes(SLAB, 1)), SLAB, 1, () => {});
  const queue = new SendQueue(arena);
  const sink = new Sink();
  const taken: number[] = [];
  const pairs = new Uint32Array(2 * BATCH_PIECES);
  /** What a kernel does that takes at most `most` bytes of the batch. False if there was nothing. */
  const take = (most: number): boolean => {
    const pieces = queue.startBatch(pairs, 0);
    let left = Math.min(most, queue.inFlightBytes);
    const bytes = left;
    for (let i = 0; i < pieces && left > 0; i++) {
      const at = pairs[2 * i] ?? 0;
      const length = Math.min(pairs[2 * i + 1] ?? 0, left);
      for (let k = 0; k < length; k++) taken.push(arena.bytes[at + k] ?? 0);
      left -= length;
    }
    queue.finishBatch(bytes, sink);
    return pieces > 0;
  };
  return { arena, queue, sink, taken, take };
}

const steps = fc.array(
  fc.oneof(
    fc.record({ how: fc.constant("reserve" as const), length: fc.integer({ min: 1, max: 8192 }) }),
    fc.record({ how: fc.constant("slab" as const), length: fc.integer({ min: 1, max: 3000 }) }),
    fc.record({ how: fc.constant("take" as const), length: fc.integer({ min: 0, max: 20_000 }) }),
    fc.record({ how: fc.constant("end of turn" as const), length: fc.constant(0) }),
    fc.record({ how: fc.constant("burst" as const), length: fc.integer({ min: 40, max: 80 }) }),
  ),
  { maxLength: 40 },
);

test("whatever is queued, taken in parts and spilled to the heap leaves in order, and every chunk comes back", (t) => {
  fc.assert(
    fc.property(steps, (list) => {
      const { arena, queue, sink, taken, take } = setup();
      const free = arena.chunks.free;
      const expected: number[] = [];
      const tokens: number[] = [];
      let next = 0;
      const reserve = (length: number): void => {
        const at = queue.reserve(length);
        for (let k = 0; k < length; k++) expected.push((arena.bytes[at + k] = next++ & 0xff));
      };
      for (const { how, length } of list) {
        if (how === "reserve") reserve(length);
        else if (how === "burst") for (let i = 0; i < length; i++) reserve(8192);
        else if (how === "end of turn") queue.spillExcess();
        else if (how === "take") take(length);
        else {
          const at = (tokens.length * 3000) % (SLAB - 3000);
          for (let k = 0; k < length; k++) expected.push((arena.bytes[at + k] = next++ & 0xff));
          queue.sendMemory(at, length, tokens.length);
          tokens.push(tokens.length);
          // The memory may be reused only when it is sent; here it is, before the next piece could overwrite it.
          if (tokens.length % 300 === 0) while (take(1 << 20));
        }
        if (queue.queued !== expected.length - taken.length) return false;
      }
      while (take(100_000));
      t.is(queue.queued, 0);
      t.deepEqual(sink.tokens, tokens);
      queue.abandon(sink);
      t.is(arena.chunks.free, free);
      return Buffer.compare(Buffer.from(taken), Buffer.from(expected)) === 0;
    }),
    { numRuns: 60 },
  );
});

test("abandoning gives back every token once and every chunk", (t) => {
  const { arena, queue, sink } = setup();
  const free = arena.chunks.free;
  for (let i = 0; i < 100; i++) {
    queue.reserve(8192);
    queue.sendMemory(0, 100, i);
  }
  queue.startBatch(new Uint32Array(2 * BATCH_PIECES), 0);
  queue.spillExcess();
  queue.abandon(sink);
  t.deepEqual(
    sink.tokens,
    Array.from({ length: 100 }, (_, i) => i),
  );
  t.is(queue.queued, 0);
  t.is(arena.chunks.free, free);
});

test("neighbouring small pieces are one piece for the kernel", (t) => {
  const { queue } = setup();
  for (let i = 0; i < 100; i++) queue.reserve(24);
  const pairs = new Uint32Array(2 * BATCH_PIECES);
  t.is(queue.startBatch(pairs, 0), 1);
  t.is(pairs[1], 2400);
});

test("a stream that is read keeps using the same memory", (t) => {
  const { arena, queue, take } = setup();
  const first = queue.reserve(8192);
  take(8192);
  for (let i = 0; i < 2 * (CHUNK_BYTES / 8192); i++) {
    t.is(queue.reserve(8192), first);
    take(8192);
  }
  t.is(arena.chunks.free, 1023);
});
