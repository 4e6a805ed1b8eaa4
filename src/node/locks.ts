/**
 * One process per disk: files and devices are flock'ed on the inode, devices also claimed with O_EXCL (open(2): refused with EBUSY
 * while a file system, device mapper, md or another claimant uses them). A refusal names who is in the way.
 */

import type { BigIntStats } from "node:fs";
import { readdirSync, readFileSync } from "node:fs";
import { flockSync } from "fs-ext";
import { errnoOf, errnoText } from "./node-error.ts";

/** `shared`: several openers that all say so, e.g. one meta-disk of several resources, or readers. */
export type Claim = "exclusive" | "shared" | "none";

/** Takes the lock, which lives as long as the descriptor; or says who holds it. */
export function lockFile(fd: number, stats: BigIntStats, claim: Claim): string | undefined {
  if (claim === "none") return undefined;
  try {
    flockSync(fd, claim === "exclusive" ? "exnb" : "shnb");
    return undefined;
  } catch (error) {
    const holders = lockHolders(stats);
    return holders === "" ? errnoText(errnoOf(error)) : `locked by ${holders}`;
  }
}

/** Splits a dev_t as the C library does (makedev(3)). */
export function deviceNumbers(device: bigint): { major: number; minor: number } {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return { major: Number(major & 0xffffffffn), minor: Number(minor & 0xffffffffn) };
}

/** `pid 4711 (qemu-img)`, from /proc/locks (proc(5)): `1: FLOCK  ADVISORY  WRITE 4711 fe:00:2049 0 EOF`. */
function lockHolders(stats: BigIntStats): string {
  const { major, minor } = deviceNumbers(stats.dev);
  const hex = (n: number): string => n.toString(16).padStart(2, "0");
  const inode = `${hex(major)}:${hex(minor)}:${stats.ino}`;
  const holders = new Set<string>();
  for (const line of readFileSync("/proc/locks", "latin1").split("\n")) {
    const fields = line.trim().split(/\s+/);
    // A waiter's line has `->` in second place; it holds nothing.
    if (fields[1] === "FLOCK" && fields[5] === inode) holders.add(processText(fields[4] ?? "?"));
  }
  return [...holders].join(", ");
}

function processText(pid: string): string {
  try {
    return `pid ${pid} (${readFileSync(`/proc/${pid}/comm`, "latin1").trim()})`;
  } catch {
    return `pid ${pid}`;
  }
}

/** Why O_EXCL was refused for a block device: who is built on it, or where it is mounted; empty if nothing can be found. */
export function deviceUsers(rdev: bigint): string {
  const { major, minor } = deviceNumbers(rdev);
  const name = `${major}:${minor}`;
  const users: string[] = [];
  try {
    for (const holder of readdirSync(`/sys/dev/block/${name}/holders`)) users.push(`used by ${holder}`);
  } catch {
    // A device without holders' folder has none.
  }
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const fields = line.split(" ");
    if (fields[2] === name) users.push(`mounted on ${fields[4]}`);
  }
  return [...new Set(users)].join(", ");
}
