/**
 * Opening what holds the data, whatever moves the bytes afterwards: is it a file or a device, how large, in which blocks, who
 * else has it. Never weaker than asked: where O_DIRECT is impossible the answer is a refusal, not the page cache.
 */
import { type BigIntStats, closeSync, constants, fstatSync, openSync, statfsSync, statSync } from "node:fs";
import { seekSync } from "fs-ext";
import type { Disk } from "../core/ports.ts";
import { type Bytes, bytes } from "../core/units.ts";
import { blockDeviceSize, blockLimits, discardNow, queueAttribute } from "./block-limits.ts";
import { type Claim, deviceUsers, lockFile } from "./locks.ts";
import { loadSys } from "./native.ts";
import { EBUSY, errnoName, errnoOf, errnoText } from "./node-error.ts";
import { type FileKind, PUNCH_HOLE } from "./ranges.ts";

export interface DiskOptions {
  /** `io direct`: O_DIRECT. False is `io buffered`: through the page cache. */
  readonly direct: boolean;
  readonly readOnly: boolean;
  /** Default: `exclusive`, `shared` for a reader. */
  readonly claim?: Claim;
}

/** `code` is the errno's name, `text` a sentence that names the path. */
export interface DiskRefusal {
  readonly refused: true;
  readonly code: string;
  readonly text: string;
}

/** An open file or device and what is known about it. */
export interface OpenedFile {
  readonly refused: false;
  readonly fd: number;
  readonly path: string;
  readonly kind: FileKind;
  readonly direct: boolean;
  /** On tmpfs or ramfs: reading and writing cannot wait for a device. */
  readonly inMemory: boolean;
  readonly size: Bytes;
  readonly logicalBlock: number;
  readonly physicalBlock: number;
  readonly hasVolatileCache: boolean;
  readonly canDiscard: boolean;
  /** BLKDISCARD; blocks. */
  discardNow(at: number, length: number): number;
  /** As `BlockDevice.allocation`: the length of a run of one kind from `at`, negative for a hole. */
  allocation(at: number, length: number): number;
  /** The size now: a device or file may have grown. */
  sizeNow(): Bytes;
  /** Closes the descriptor, and with it the lock. Harmless when repeated. */
  release(): void;
}

/** A `Disk` with what only a real one can tell. */
export interface OpenDisk extends Disk {
  /** As `BlockDevice.allocation`: the length of a run of one kind from `at`, negative for a hole; all data if unknown. */
  allocation(at: number, length: number): number;
  /** The size now: a device or file may have grown. */
  sizeNow(): Bytes;
}

/** statfs(2): what `io buffered` on it costs is a copy. */
const MEMORY_FILE_SYSTEMS = new Set([0x01021994, 0x858458f6]);
const SECTOR = 512;
const PAGE = 4096;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

const refusal = (code: string, text: string): DiskRefusal => ({ refused: true, code, text });

export function openFile(path: string, options: DiskOptions): OpenedFile | DiskRefusal {
  let fd = -1;
  try {
    const before = statSync(path, { bigint: true });
    if (!before.isFile() && !before.isBlockDevice()) {
      return refusal("ENOTBLK", `${path} is neither a file nor a block device`);
    }
    const claim = options.claim ?? (options.readOnly ? "shared" : "exclusive");
    fd = openSync(path, openFlags(options, before.isBlockDevice() && claim === "exclusive"));
    const stats = fstatSync(fd, { bigint: true });
    const holder = lockFile(fd, stats, claim);
    if (holder !== undefined) return closed(fd, refusal("EAGAIN", `${path} is in use: ${holder}`));
    return describe(fd, path, stats, options);
  } catch (error) {
    return closed(fd, openRefusal(path, error));
  }
}

function openFlags(options: DiskOptions, claimDevice: boolean): number {
  const access = options.readOnly ? constants.O_RDONLY : constants.O_RDWR;
  return access | (options.direct ? constants.O_DIRECT : 0) | (claimDevice ? constants.O_EXCL : 0);
}

function closed(fd: number, why: DiskRefusal): DiskRefusal {
  if (fd >= 0) closeSync(fd);
  return why;
}

/** open(2): EINVAL is O_DIRECT on a file system without it, EBUSY a device somebody claims. */
function openRefusal(path: string, error: unknown): DiskRefusal {
  const errno = errnoOf(error);
  const code = errnoName(errno);
  if (code === "EINVAL") {
    return refusal(code, `${path}: the file system has no O_DIRECT; write \`io buffered\` to use the page cache`);
  }
  if (errno === EBUSY) {
    const users = deviceUsers(statSync(path, { bigint: true }).rdev);
    return refusal(code, `${path} is in use: ${users === "" ? "another process or device has claimed it" : users}`);
  }
  return refusal(code, `${path}: ${errnoText(errno)}`);
}

function describe(fd: number, path: string, stats: BigIntStats, options: DiskOptions): OpenedFile | DiskRefusal {
  const sys = loadSys();
  const isBlock = stats.isBlockDevice();
  const limits = isBlock ? blockLimits(fd, stats.rdev) : fileLimits(fd, stats, options);
  if (limits === undefined) {
    const text = `${path}: the file system has no O_DIRECT; write \`io buffered\` to use the page cache`;
    return closed(fd, refusal("EINVAL", text));
  }
  // Cached pages would turn direct writes into slow ones, and could be stale to others.
  if (options.direct) sys.dropCache(fd);
  const inMemory = !isBlock && !options.direct && MEMORY_FILE_SYSTEMS.has(statfsSync(path).type);
  let open = true;
  return {
    refused: false,
    fd,
    path,
    kind: isBlock ? "block" : "file",
    direct: options.direct,
    inMemory,
    ...limits,
    // A flush would make nothing safer: what is in memory is lost with it.
    hasVolatileCache: limits.hasVolatileCache && !inMemory,
    discardNow: (at, length) => discardNow(fd, at, length),
    allocation: (at, length) => (isBlock ? length : allocationOf(fd, at, length)),
    sizeNow: () => (isBlock ? blockDeviceSize(fd) : wholeBlocks(Number(fstatSync(fd).size), limits.logicalBlock)),
    release: () => {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** Rounds down: a started block cannot be written whole. */
const wholeBlocks = (size: number, block: number): Bytes => bytes(Math.floor(size / block) * block);

function fileLimits(fd: number, stats: BigIntStats, options: DiskOptions) {
  const logicalBlock = options.direct ? directBlock(fd, stats) : SECTOR;
  if (logicalBlock === 0) return undefined;
  return {
    size: wholeBlocks(Number(stats.size), logicalBlock),
    logicalBlock,
    physicalBlock: Math.max(logicalBlock, Math.min(Number(stats.blksize), PAGE)),
    // Also behind a write-through cache: the file's own map is on disk only after a sync.
    hasVolatileCache: true,
    canDiscard: !options.readOnly && loadSys().allocateNow(fd, PUNCH_HOLE, Number(stats.size), PAGE) === 0,
  };
}

/** Block of direct access; 0 where there is none. Kernels that do not say: the block of the device below, else a page. */
function directBlock(fd: number, stats: BigIntStats): number {
  const told = loadSys().directAlignment(fd);
  if (told >= 0) return told;
  return Number(queueAttribute(stats.dev, "logical_block_size") ?? PAGE);
}

/** lseek(2): SEEK_DATA fails with ENXIO behind the last data. A file system that cannot tell says "all data". */
function allocationOf(fd: number, at: number, length: number): number {
  const data = seek(fd, at, SEEK_DATA);
  if (data === undefined) return -length;
  if (data > at) return -Math.min(data - at, length);
  const hole = seek(fd, at, SEEK_HOLE) ?? at + length;
  return Math.min(hole - at, length);
}

function seek(fd: number, at: number, whence: number): number | undefined {
  try {
    return seekSync(fd, at, whence);
  } catch (error) {
    if (errnoName(errnoOf(error)) === "ENXIO") return undefined;
    throw error;
  }
}
