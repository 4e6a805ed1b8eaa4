/** Files and devices for the disk contract, made for one test and removed after it. */
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DiskOptions } from "../../src/node/disk.ts";
import { diskContract } from "./disk-contract.ts";
import { type Backend, realDisk } from "./real-worlds.ts";
import type { DiskWorld } from "./worlds.ts";

const SIZE = 16 * 1024 * 1024;

export function sparseFile(folder: string, size: number): string {
  const path = join(folder, "disk");
  const fd = openSync(path, "w");
  ftruncateSync(fd, size);
  closeSync(fd);
  return path;
}

function onFile(prefer: Backend, above: string, options: DiskOptions): DiskWorld {
  const folder = mkdtempSync(join(above, "futago-"));
  const world = realDisk(prefer, sparseFile(folder, SIZE), options);
  return {
    ...world,
    async close() {
      await world.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Why loop devices cannot be made here, or undefined. */
function loopObstacle(): string | undefined {
  try {
    execFileSync("losetup", ["-f"], { stdio: "pipe" });
    return process.getuid?.() === 0 ? undefined : "not root";
  } catch (error) {
    return String(error);
  }
}

function onLoop(prefer: Backend, options: DiskOptions): DiskWorld {
  const folder = mkdtempSync(join(tmpdir(), "futago-"));
  const file = sparseFile(folder, SIZE);
  const device = execFileSync("losetup", ["-f", "--show", file], { encoding: "utf8" }).trim();
  const world = realDisk(prefer, device, options);
  return {
    ...world,
    async close() {
      await world.close();
      execFileSync("losetup", ["-d", device]);
      rmSync(folder, { recursive: true });
    },
  };
}

/** The disk contract over everything this machine has. */
export function realDiskContracts(prefer: Backend): void {
  const direct: DiskOptions = { direct: true, readOnly: false };
  const buffered: DiskOptions = { direct: false, readOnly: false };
  diskContract(`${prefer}, file, direct`, { fastZero: true }, () => onFile(prefer, tmpdir(), direct));
  diskContract(`${prefer}, file, buffered`, { fastZero: true }, () => onFile(prefer, tmpdir(), buffered));
  diskContract(`${prefer}, file in memory`, { fastZero: true }, () => onFile(prefer, "/dev/shm", buffered));
  const obstacle = loopObstacle();
  if (obstacle !== undefined) {
    console.log(`# no block device in the disk contract: ${obstacle}`);
    return;
  }
  diskContract(`${prefer}, loop device, direct`, { fastZero: true }, () => onLoop(prefer, direct));
}
