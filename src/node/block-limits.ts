/** Size and limits of a block device: ioctls of linux/fs.h, and the queue's attributes in sysfs. */
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import ioctl from "ioctl";
import { type Bytes, bytes } from "../core/units.ts";
import { deviceNumbers } from "./locks.ts";
import { errnoOf } from "./node-error.ts";

/** linux/fs.h. BLKGETSIZE64 is _IOR(0x12, 114, size_t), its number that of 64-bit systems. */
const BLKGETSIZE64 = 0x80081272;
const BLKSSZGET = 0x1268;
const BLKPBSZGET = 0x127b;
const BLKDISCARD = 0x1277;

export interface BlockLimits {
  readonly size: Bytes;
  readonly logicalBlock: number;
  readonly physicalBlock: number;
  readonly hasVolatileCache: boolean;
  readonly canDiscard: boolean;
}

/** Throws what the ioctl threw. */
export function blockDeviceSize(fd: number): Bytes {
  const out = Buffer.alloc(8);
  ioctl(fd, BLKGETSIZE64, out);
  return bytes(Number(out.readBigUInt64LE()));
}

export function blockLimits(fd: number, rdev: bigint): BlockLimits {
  const word = Buffer.alloc(4);
  ioctl(fd, BLKSSZGET, word);
  const logicalBlock = word.readInt32LE();
  ioctl(fd, BLKPBSZGET, word);
  const physicalBlock = word.readUInt32LE();
  return {
    size: blockDeviceSize(fd),
    logicalBlock,
    physicalBlock,
    // Unknown counts as volatile: a needless flush is slow, a missing one loses data.
    hasVolatileCache: queueAttribute(rdev, "write_cache") !== "write through",
    canDiscard: Number(queueAttribute(rdev, "discard_max_bytes") ?? 0) > 0,
  };
}

/** An attribute of the device's queue; a partition's queue is its disk's. */
export function queueAttribute(device: bigint, name: string): string | undefined {
  const { major, minor } = deviceNumbers(device);
  const link = `/sys/dev/block/${major}:${minor}`;
  if (!existsSync(link)) return undefined;
  const folder = realpathSync(link);
  for (const place of [folder, dirname(folder)]) {
    const path = join(place, "queue", name);
    if (existsSync(path)) return readFileSync(path, "latin1").trim();
  }
  return undefined;
}

/** BLKDISCARD, which waits for the device: 0 or a negative errno. */
export function discardNow(fd: number, at: number, length: number): number {
  const range = Buffer.alloc(16);
  range.writeBigUInt64LE(BigInt(at), 0);
  range.writeBigUInt64LE(BigInt(length), 8);
  try {
    ioctl(fd, BLKDISCARD, range);
    return 0;
  } catch (error) {
    return errnoOf(error);
  }
}
