import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { FileDevice, serveFile } from "./nbd-file-server.ts";
import { readExport } from "./nbd-wire.ts";
import { type Load, RecordingClient, seeded } from "./recording-client.ts";

const MiB = 1024 * 1024;
const SECTOR = 512;
const load: Load = { connections: 2, depth: 8, from: 0, length: MiB, largest: 64 * 1024 };

/** An honest server of 2 MiB over a file. */
async function served(body: (socket: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "recording-"));
  const device = await FileDevice.create(join(directory, "disk"), 2 * MiB);
  const server = await serveFile(device, join(directory, "nbd.sock"), "r0");
  try {
    await body(server.socketPath);
  } finally {
    await server.close();
    await device.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function phase(client: RecordingClient, socket: string, replies: number): Promise<Uint8Array> {
  await client.start(socket, "r0", load);
  await client.replies(replies);
  await client.stop();
  client.drop();
  await client.broken();
  return readExport(socket, "r0");
}

test("an honest server has nothing to answer for", async (t) => {
  await served(async (socket) => {
    const client = new RecordingClient(2 * MiB, seeded(1));
    for (let n = 0; n < 3; n++) t.deepEqual(client.settle(await phase(client, socket, 500)), []);
    t.deepEqual(client.complaints, []);
    t.true(client.acknowledged >= 1500);
  });
});

test("an acknowledged write that is lost, a torn block and a block in the wrong place are found", async (t) => {
  await served(async (socket) => {
    const client = new RecordingClient(2 * MiB, seeded(2));
    const older = Buffer.from(await phase(client, socket, 300));
    const newer = Buffer.from(await phase(client, socket, 600));
    const written = (image: Buffer, sector: number): boolean => image.readUInt32LE(sector * SECTOR) > 0;
    const overwritten: number[] = [];
    for (let sector = 0; sector < MiB / SECTOR; sector++) {
      const same = older.readUInt32LE(sector * SECTOR) === newer.readUInt32LE(sector * SECTOR);
      if (written(older, sector) && written(newer, sector) && !same) overwritten.push(sector);
    }
    const [lost = 0, torn = 0, moved = 0] = overwritten;
    t.true(overwritten.length > 3);
    const image = Buffer.from(newer);
    image.set(older.subarray(lost * SECTOR, (lost + 1) * SECTOR), lost * SECTOR);
    image.set(older.subarray(torn * SECTOR, torn * SECTOR + 256), torn * SECTOR);
    const other = (moved + 9) * SECTOR;
    image.set(newer.subarray(other, other + SECTOR), moved * SECTOR);
    const wrongs = client.settle(image);
    t.is(wrongs.length, 3, wrongs.join("\n"));
    t.regex(wrongs[0] ?? "", new RegExp(`^block ${lost} holds \\d+, base 0, changes:`));
    t.regex(wrongs[1] ?? "", new RegExp(`^block ${torn}: torn: write \\d+ at its start, \\d+ at byte 256`));
    t.regex(wrongs[2] ?? "", new RegExp(`^block ${moved}: write \\d+ of block ${moved + 9}$`));
  });
});

test("a request without reply may have been carried out or not; something never sent may not be there", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "recording-"));
  const socket = join(directory, "nbd.sock");
  // Greets, takes requests, answers none of them, and hangs up.
  const server = createServer((peer) => {
    let bytes = 0;
    peer.on("error", () => {});
    peer.write(Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), Buffer.from([0, 3])]));
    peer.on("data", (part) => {
      if (bytes === 0) peer.write(Buffer.from([0, 0, 0, 0, 0, 0x20, 0, 0, 0, 1]));
      bytes += part.length;
      if (bytes > 100_000) peer.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    const client = new RecordingClient(2 * MiB, seeded(3));
    await client.start(socket, "r0", { ...load, depth: 64 });
    await client.broken();
    t.is(client.underWay, 0);
    t.is(client.acknowledged, 0);
    const touched = [...client.touchedBlocks()];
    t.true(touched.length > 0);
    const image = Buffer.alloc(2 * MiB);
    const sector = (touched[0] ?? 0) * 8;
    image.writeUInt32LE(1_000_000, sector * SECTOR);
    for (let at = 0; at < SECTOR; at += 8) {
      image.writeUInt32LE(1_000_000, sector * SECTOR + at);
      image.writeUInt32LE(sector, sector * SECTOR + at + 4);
    }
    const wrongs = client.settle(image);
    t.is(wrongs.length, 1, wrongs.join("\n"));
    t.regex(wrongs[0] ?? "", /holds 1000000/);
  } finally {
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
