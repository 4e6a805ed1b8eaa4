import { closeSync, fsyncSync, mkdtempSync, openSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { NbdWire } from "./nbd-wire.ts";
import { type EngineNode, Pair, resyncsOf } from "./pair.ts";

const MiB = 1024 * 1024;
const BLOCK = 4096;

/** What is written while the nodes are apart: bytes, and the 4 KiB blocks that are out of sync because of it. */
const writes = [
  { at: 0, length: BLOCK, blocks: [0] },
  { at: 5 * BLOCK, length: 2 * BLOCK, blocks: [5, 6] },
  { at: 77 * BLOCK + 512, length: 512, blocks: [77] },
  { at: 1000 * BLOCK - 512, length: 1024, blocks: [999, 1000] },
  { at: 2048 * BLOCK, length: MiB, blocks: Array.from({ length: MiB / BLOCK }, (_, n) => 2048 + n) },
] as const;
const named = writes.flatMap(({ blocks }): readonly number[] => blocks);
const oosKib = (named.length * BLOCK) / 1024;
/** Near a named block, but named by nobody. */
const untouched = [1, 7, 76, 998, 2047, 2304] as const;

function writeAll(node: EngineNode, fill: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left: number = writes.length;
    const opening = NbdWire.open(node.nbdSocket, "r0", {
      onReply: (_, errno) => {
        if (errno !== 0) reject(new Error(`write: errno ${errno}`));
        left--;
        if (left === 0) void opening.then((wire) => wire.drop());
      },
      onClosed: () => (left === 0 ? resolve() : reject(new Error("closed"))),
    });
    opening.then((wire) => {
      for (const [n, { at, length }] of writes.entries()) {
        wire.send("write", n, at, length, false, Buffer.alloc(length, fill));
      }
    }, reject);
  });
}

/** Behind the engine's back: what a resync copies disappears, what it leaves alone stays. */
function scribble(node: EngineNode, blocks: readonly number[], fill: number): void {
  const fd = openSync(node.disk, "r+");
  for (const block of blocks) writeSync(fd, Buffer.alloc(BLOCK, fill), 0, BLOCK, block * BLOCK);
  fsyncSync(fd);
  closeSync(fd);
}

const blockOf = (image: Buffer, block: number): Buffer => image.subarray(block * BLOCK, (block + 1) * BLOCK);
const imageOf = (node: EngineNode, size: number): Buffer => Buffer.from(node.image(size));

const receivedBy = async (node: EngineNode): Promise<number> => (await node.status()).volumes[0]?.counters.nr ?? 0;

/** `source` is Primary, both are in sync; afterwards they are again. `meanwhile`: what happens to it before they meet again. */
async function diverge(
  t: ExecutionContext,
  pair: Pair,
  source: EngineNode,
  fill: number,
  meanwhile: () => Promise<void> = () => source.connect(),
): Promise<void> {
  const target = pair.peerOf(source);
  await source.disconnect();
  await target.reaches("alone", ({ connection }) => connection === "WFConnection");
  await writeAll(source, fill);
  const { volumes } = await source.status();
  t.is(volumes[0]?.counters.oos, oosKib, "exactly the blocks written are out of sync");
  scribble(target, [...untouched, ...named], 0xee);
  const received = await receivedBy(target);
  const known = resyncsOf(target.log).length;

  await meanwhile();
  await pair.synced();

  t.deepEqual(resyncsOf(target.log).slice(known), [oosKib]);
  t.is((await receivedBy(target)) - received, oosKib, "and exactly they were sent");
  const size = volumes[0]?.size ?? 0;
  const here = imageOf(source, size);
  const there = imageOf(target, size);
  for (const block of named) t.true(blockOf(here, block).equals(blockOf(there, block)), `block ${block}`);
  const scribbled = Buffer.alloc(BLOCK, 0xee);
  for (const block of untouched) t.true(blockOf(there, block).equals(scribbled), `block ${block} was left alone`);
  scribble(target, untouched, 0);
  t.true(here.equals(imageOf(target, size)), "the copies are equal");
}

for (const backend of ["io_uring", "fallback"] as const) {
  const titled = (title: string): string => (backend === "fallback" ? `${title} (without io_uring)` : title);

  test.serial(
    titled("disconnect, writes, connect: the named blocks and no others, either way (drbd-84 §6, §7.1)"),
    async (t) => {
      const scratch = mkdtempSync(join(tmpdir(), "futago-bitmap-"));
      const pair = new Pair({ scratch, diskBytes: 16 * MiB, ...(backend === "fallback" ? { backend } : {}) });
      try {
        await pair.openSynced();
        const { host01, host02 } = pair;
        if (backend === "fallback") t.regex((await host01.status()).backend, /^fallback \(FUTAGO_BACKEND=fallback\)$/);
        await diverge(t, pair, host01, 0x11);
        await host01.secondary();
        await host02.primary();
        await diverge(t, pair, host02, 0x22);
        // The bits survive the end of the process: they are on disk.
        await diverge(t, pair, host02, 0x33, async () => {
          await host02.must({ verb: "down", force: false });
          t.is(await host02.ended(), 0);
          await host02.up();
        });
        await host02.primary();
        await diverge(t, pair, host02, 0x44);
      } finally {
        await pair.close();
      }
    },
  );
}
