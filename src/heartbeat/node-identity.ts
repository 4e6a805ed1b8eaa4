/** What a node keeps between its lives, in 3.0.6's own files and formats (heartbeat §1, §7.4). */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Random } from "../core/ports.ts";

const UUID_BYTES = 16;
const GENERATION_COLUMNS = 15;

function readOrUndefined(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** On disk, folder entry included, when it returns. */
function writeDurably(folder: string, name: string, bytes: Uint8Array): void {
  const path = join(folder, name);
  const fd = openSync(`${path}.new`, "w", 0o600);
  writeSync(fd, bytes);
  fsyncSync(fd);
  closeSync(fd);
  renameSync(`${path}.new`, path);
  const directory = openSync(folder, "r");
  fsyncSync(directory);
  closeSync(directory);
}

/** `hb_uuid`: 16 raw bytes, made at the first start. Throws if the file has another size: a new identity must be wanted. */
export function nodeUuid(folder: string, random: Random): Uint8Array {
  mkdirSync(folder, { recursive: true });
  const known = readOrUndefined(join(folder, "hb_uuid"));
  if (known !== undefined) {
    if (known.length !== UUID_BYTES)
      throw new Error(`${folder}/hb_uuid: ${known.length} bytes, expected ${UUID_BYTES}`);
    return new Uint8Array(known);
  }
  const uuid = new Uint8Array(UUID_BYTES);
  random.fill(uuid);
  // RFC 4122, version 4.
  uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x40;
  uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80;
  writeDurably(folder, "hb_uuid", uuid);
  return uuid;
}

/**
 * `hb_generation`: one more than last time, stored before it is used; without a file the time, so that a lost disk does not
 * lower it. A peer drops everything of a lower generation. Throws if the file holds no number.
 */
export function nextGeneration(folder: string, unixSeconds: number): number {
  mkdirSync(folder, { recursive: true });
  const text = readOrUndefined(join(folder, "hb_generation"))?.toString("latin1").trim();
  if (text !== undefined && !/^[0-9]+$/.test(text)) throw new Error(`${folder}/hb_generation: not a number: ${text}`);
  const generation = (text === undefined ? unixSeconds : Number(text)) + 1;
  writeDurably(folder, "hb_generation", Buffer.from(`${String(generation).padStart(GENERATION_COLUMNS)}\n`));
  return generation;
}
