/** What every `Disk` must do (src/core/ports.ts). Run over the ring, the fallback and the simulator. */
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import type { DiskHandler } from "../../src/core/ports.ts";
import type { DiskWorld } from "./worlds.ts";

const EINVAL = -22;
const EOPNOTSUPP = -95;
/** Where tests put what they write and read, in the slab. Page aligned, as O_DIRECT wants it. */
const OUT = 0;
const IN = 2 * 1024 * 1024;

/** Collects results by tag; a tag reported twice is an error. */
class Results implements DiskHandler {
  readonly #results = new Map<number, number>();

  onDisk(tag: number, result: number): void {
    if (this.#results.has(tag)) throw new Error(`tag ${tag} was reported twice`);
    this.#results.set(tag, result);
  }

  get count(): number {
    return this.#results.size;
  }

  of(tag: number): number | undefined {
    return this.#results.get(tag);
  }
}

/** One operation at a time, its result awaited. */
export class DiskUser {
  readonly world: DiskWorld;
  readonly results = new Results();
  #tag = 100_000;

  constructor(world: DiskWorld) {
    this.world = world;
    world.setHandler(this.results);
  }

  async do(operation: (tag: number) => void): Promise<number> {
    const tag = this.#tag++;
    this.world.run(() => {
      operation(tag);
      if (this.results.of(tag) !== undefined) throw new Error("reported before the method returned");
    });
    await this.world.until(() => this.results.of(tag) !== undefined, `operation ${tag} is reported`);
    return this.results.of(tag) ?? 0;
  }

  /** Reads `length` bytes at `at` and returns a copy. */
  async read(at: number, length: number): Promise<Uint8Array> {
    const result = await this.do((tag) => this.world.disk.read(tag, at, IN, length));
    if (result !== length) throw new Error(`read gave ${result}`);
    return this.world.memory.bytes.slice(IN, IN + length);
  }

  async write(at: number, bytes: Uint8Array, fua = false): Promise<number> {
    this.world.memory.bytes.set(bytes, OUT);
    return this.do((tag) => this.world.disk.write(tag, at, OUT, bytes.length, fua));
  }
}

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 5 + Math.floor(i / 509) * 11 + seed) & 0xff);
}

export interface DiskTraits {
  /** Whether a hole can be punched and a range zeroed without writing: decides what `fastOnly` must answer. */
  readonly fastZero: boolean;
}

/** `make` gives a disk of 8 MiB or more. */
export function diskContract(name: string, traits: DiskTraits, make: () => DiskWorld | Promise<DiskWorld>): void {
  const rule = (title: string, body: (t: ExecutionContext, user: DiskUser) => Promise<void>): void => {
    test.serial(`${name}: ${title}`, async (t) => {
      const world = await make();
      try {
        await body(t, new DiskUser(world));
      } finally {
        await world.close();
      }
    });
  };
  movingRules(rule);
  refusalRules(rule);
  rangeRules(rule, traits);
}

type Rule = (title: string, body: (t: ExecutionContext, user: DiskUser) => Promise<void>) => void;

function movingRules(rule: Rule): void {
  rule("what was written is read, and the result is its length", async (t, user) => {
    const bytes = pattern(64 * 1024, 1);
    t.is(await user.write(4096, bytes), bytes.length);
    t.is(Buffer.compare(await user.read(4096, bytes.length), bytes), 0);
    t.is(Buffer.compare(await user.read(8192, 4096), bytes.subarray(4096, 8192)), 0);
  });

  rule("a stable write and a flush succeed; a flush reports 0", async (t, user) => {
    const bytes = pattern(4096, 2);
    t.is(await user.write(0, bytes, true), 4096);
    t.is(await user.do((tag) => user.world.disk.flush(tag)), 0);
    t.is(Buffer.compare(await user.read(0, 4096), bytes), 0);
  });

  rule("the last block of the disk can be written", async (t, user) => {
    const { disk } = user.world;
    const block = disk.logicalBlock;
    t.is(await user.write(disk.size - block, pattern(block, 3)), block);
    t.is(Buffer.compare(await user.read(disk.size - block, block), pattern(block, 3)), 0);
  });

  rule("many operations at a time are each reported once", async (t, user) => {
    const { disk, memory } = user.world;
    const count = 1500;
    memory.bytes.set(pattern(4096, 4), OUT);
    user.world.run(() => {
      for (let tag = 0; tag < count; tag++) disk.write(tag, (tag % 1024) * 4096, OUT, 4096, false);
    });
    await user.world.until(() => user.results.count === count, "all writes are reported");
    for (let tag = 0; tag < count; tag++) t.is(user.results.of(tag), 4096);
    t.is(Buffer.compare(await user.read(1023 * 4096, 4096), pattern(4096, 4)), 0);
  });

  rule("close reports what is in flight", async (t, user) => {
    const { disk } = user.world;
    user.world.run(() => {
      for (let tag = 0; tag < 64; tag++) disk.write(tag, tag * 4096, OUT, 4096, false);
      disk.close();
    });
    await user.world.until(() => user.results.count === 64, "all writes are reported");
    for (let tag = 0; tag < 64; tag++) t.is(user.results.of(tag), 4096);
  });

  rule("any sequence of writes, zeroes and reads gives what a byte array gives", async (t, user) => {
    const { disk } = user.world;
    const blocks = (1024 * 1024) / disk.logicalBlock;
    const step = fc.record({
      how: fc.constantFrom("write", "stable", "zero", "unmap", "read"),
      at: fc.nat(blocks - 1),
      length: fc.integer({ min: 1, max: 64 }),
      seed: fc.nat(255),
    });
    await user.do((tag) => disk.zero(tag, 0, 1024 * 1024, true, false));
    const model = new Uint8Array(1024 * 1024);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        for (const { how, at, length, seed } of steps) {
          const from = at * disk.logicalBlock;
          const bytes = Math.min(length, blocks - at) * disk.logicalBlock;
          if (how === "read") {
            t.is(Buffer.compare(await user.read(from, bytes), model.subarray(from, from + bytes)), 0);
          } else if (how === "write" || how === "stable") {
            model.set(pattern(bytes, seed), from);
            t.is(await user.write(from, pattern(bytes, seed), how === "stable"), bytes);
          } else {
            model.fill(0, from, from + bytes);
            t.is(await user.do((tag) => disk.zero(tag, from, bytes, how === "unmap", false)), 0);
          }
        }
        t.is(Buffer.compare(await user.read(0, model.length), model), 0);
      }),
      { numRuns: 20 },
    );
  });
}

function refusalRules(rule: Rule): void {
  rule("what is not whole blocks is refused with EINVAL", async (t, user) => {
    const { disk } = user.world;
    const block = disk.logicalBlock;
    t.is(await user.do((tag) => disk.read(tag, 1, IN, block)), EINVAL);
    t.is(await user.do((tag) => disk.read(tag, block, IN, block - 1)), EINVAL);
    t.is(await user.do((tag) => disk.write(tag, block / 2, OUT, block, false)), EINVAL);
    t.is(await user.do((tag) => disk.zero(tag, block / 2, block, true, false)), EINVAL);
    t.is(await user.do((tag) => disk.discard(tag, 0, block + 1)), EINVAL);
    t.is(await user.do((tag) => disk.read(tag, 0, IN, 0)), EINVAL);
  });

  rule("nothing beyond the end is read, written or zeroed", async (t, user) => {
    const { disk } = user.world;
    const block = disk.logicalBlock;
    t.is(await user.do((tag) => disk.read(tag, disk.size, IN, block)), EINVAL);
    t.is(await user.do((tag) => disk.write(tag, disk.size - block, OUT, 2 * block, false)), EINVAL);
    t.is(await user.do((tag) => disk.zero(tag, disk.size, block, true, false)), EINVAL);
    t.is(await user.do((tag) => disk.write(tag, -block, OUT, block, false)), EINVAL);
  });
}

function rangeRules(rule: Rule, traits: DiskTraits): void {
  for (const mayUnmap of [true, false]) {
    rule(`a zeroed range reads as zeroes and its neighbours stay (mayUnmap ${mayUnmap})`, async (t, user) => {
      const { disk } = user.world;
      const length = 3 * 1024 * 1024;
      for (let i = 0; i < 4; i++) await user.write(i * 1024 * 1024, pattern(1024 * 1024, i));
      t.is(await user.do((tag) => disk.zero(tag, 512 * 1024, length, mayUnmap, false)), 0);
      t.true((await user.read(512 * 1024, 1024 * 1024)).every((byte) => byte === 0));
      t.true((await user.read(512 * 1024 + length - 4096, 4096)).every((byte) => byte === 0));
      const before = await user.read(0, 512 * 1024);
      t.is(Buffer.compare(before, pattern(1024 * 1024, 0).subarray(0, 512 * 1024)), 0);
      const after = await user.read(512 * 1024 + length, 4096);
      t.is(Buffer.compare(after, pattern(1024 * 1024, 3).subarray(512 * 1024, 512 * 1024 + 4096)), 0);
    });
  }

  rule("fastOnly zeroes at once or says EOPNOTSUPP", async (t, user) => {
    const { disk } = user.world;
    await user.write(0, pattern(65536, 9));
    const result = await user.do((tag) => disk.zero(tag, 0, 65536, true, true));
    t.is(result, traits.fastZero ? 0 : EOPNOTSUPP);
    if (result === 0) t.true((await user.read(0, 65536)).every((byte) => byte === 0));
    else t.is(Buffer.compare(await user.read(0, 65536), pattern(65536, 9)), 0);
  });

  rule("a discarded range is reported with 0 where the disk can discard, and its neighbours stay", async (t, user) => {
    const { disk } = user.world;
    await user.write(0, pattern(256 * 1024, 10));
    const result = await user.do((tag) => disk.discard(tag, 64 * 1024, 128 * 1024));
    t.is(result, disk.canDiscard ? 0 : EOPNOTSUPP);
    t.is(Buffer.compare(await user.read(0, 64 * 1024), pattern(256 * 1024, 10).subarray(0, 64 * 1024)), 0);
    const behind = await user.read(192 * 1024, 64 * 1024);
    t.is(Buffer.compare(behind, pattern(256 * 1024, 10).subarray(192 * 1024)), 0);
  });
}
