/** Where the volumes lie, and files for them: written through, so that nobody pays for allocation while being measured. */
import { spawnSync } from "node:child_process";
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export interface Medium {
  readonly title: string;
  /** O_DIRECT for every target that has it; else the page cache. */
  readonly direct: boolean;
}

export const media = {
  tmpfs: { title: "files on tmpfs, through the page cache (`io buffered`)", direct: false },
  direct: { title: "files on the disk's file system, O_DIRECT (`io direct`)", direct: true },
} as const satisfies Record<string, Medium>;

export type MediumName = keyof typeof media;
export const mediumNames = Object.keys(media) as MediumName[];

const MiB = 1024 * 1024;
const FILL = 0x5a;

/** Creates the file, full of one byte. Throws when the space does not suffice. */
export function createVolume(path: string, bytes: number): void {
  mkdirSync(dirname(path), { recursive: true });
  const chunk = new Uint8Array(MiB).fill(FILL);
  const fd = openSync(path, "w");
  try {
    for (let at = 0; at < bytes; at += chunk.length) writeSync(fd, chunk, 0, Math.min(chunk.length, bytes - at));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Cached pages make direct writes of io_uring wait for a worker thread: takes them out of the cache. */
export function dropCache(path: string): void {
  const result = spawnSync("dd", [`if=${path}`, "iflag=nocache", "count=0", "status=none"], { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`dd iflag=nocache ${path}: ${result.stderr}`);
}
