import test from "ava";
import { Clock } from "../../../src/simulator/clock.ts";
import { SimDisk } from "../../../src/simulator/disk.ts";
import { SimRandom } from "../../../src/simulator/random.ts";
import { PROMPT, Turns } from "../../../src/simulator/turns.ts";
import { slab, until } from "./_worlds.ts";

const SECTOR = 512;

function machine(volatileCache: boolean, seed = 1) {
  const clock = new Clock();
  const random = new SimRandom(seed);
  const traits = { size: 1024 * 1024, volatileCache, canDiscard: true, latency: 0.2, slowChance: 0 };
  const disk = new SimDisk(traits, random);
  const turns = new Turns(clock, random, PROMPT);
  const memory = slab();
  const done = new Map<number, number>();
  const port = disk.open(turns, memory, { onDisk: (tag, result) => done.set(tag, result) });
  let tags = 0;
  const write = (at: number, value: number, length = SECTOR, fua = false): number => {
    const tag = tags++;
    const offset = tag * 65536;
    memory.bytes.fill(value, offset, offset + length);
    turns.run(() => port.write(tag, at, offset, length, fua));
    return tag;
  };
  const flush = (): number => {
    const tag = tags++;
    turns.run(() => port.flush(tag));
    return tag;
  };
  const ended = (...of: number[]) => until(clock)(() => of.every((tag) => done.has(tag)), "the operations have ended");
  return { disk, write, flush, ended, port, turns, done };
}

test("a power failure keeps what was flushed and may take what was not", async (t) => {
  const { disk, write, flush, ended } = machine(true);
  await ended(write(0, 1));
  await ended(flush());
  await ended(write(0, 2), write(SECTOR, 3));
  t.is(disk.copy(0, 1)[0], 2);
  disk.powerFailed(0);
  t.is(disk.copy(0, 1)[0], 1);
  t.is(disk.copy(SECTOR, 1)[0], 0);
});

test("a flush covers the writes that were complete when it was asked for, and no others", async (t) => {
  for (let seed = 1; seed < 40; seed++) {
    const { disk, write, flush, ended, done } = machine(true, seed);
    await ended(write(0, 1));
    const late = write(SECTOR, 2);
    const flushed = flush();
    await ended(flushed);
    t.false(done.has(late) && disk.page(0, "stable")[SECTOR] === 2, `seed ${seed}`);
    t.is(disk.page(0, "stable")[0], 1);
  }
});

test("FUA makes its own write stable and no other, also under an older write that is flushed later", async (t) => {
  const { disk, write, flush, ended } = machine(true);
  await ended(write(0, 1, 2 * SECTOR));
  await ended(write(0, 2, SECTOR, true));
  t.deepEqual([disk.page(0, "stable")[0], disk.page(0, "stable")[SECTOR]], [2, 0]);
  await ended(flush());
  t.deepEqual([disk.page(0, "stable")[0], disk.page(0, "stable")[SECTOR]], [2, 1]);
});

test("without a volatile cache a completed write is stable", async (t) => {
  const { disk, write, ended } = machine(false);
  await ended(write(0, 7));
  disk.powerFailed(0);
  t.is(disk.copy(0, 1)[0], 7);
});

test("writes under way when the power fails tear at sectors: each is old or new, and both are seen", (t) => {
  const seen = new Set<number>();
  for (let seed = 1; seed < 60; seed++) {
    const { disk, write } = machine(true, seed);
    write(0, 5, 8 * SECTOR);
    disk.powerFailed(0.5);
    const sectors = Array.from({ length: 8 }, (_, n) => disk.copy(n * SECTOR, SECTOR));
    for (const sector of sectors) t.true(sector.every((byte) => byte === sector[0]));
    for (const sector of sectors) seen.add(sector[0] ?? -1);
  }
  t.deepEqual([...seen].sort(), [0, 5]);
});

test("a killed process leaves the cache, and its port reports nothing any more", async (t) => {
  const { disk, write, ended, done } = machine(true);
  await ended(write(0, 4));
  const open = write(SECTOR, 5);
  disk.killed();
  t.is(disk.copy(0, 1)[0], 4);
  t.false(disk.isOpen);
  t.false(done.has(open));
});
