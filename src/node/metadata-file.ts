/**
 * The metadata commands' device (src/core/metadata/device.ts) on a real file or block device, with blocking calls: for the command line, never
 * for the engine's loop. The page cache is used; `flush` is fsync(2), which for a block device includes its write cache.
 */
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import type { SyncDevice } from "../core/metadata/device.ts";
import { blockDeviceSize } from "./block-limits.ts";
import { deviceUsers } from "./locks.ts";
import { EBUSY, errnoOf, errnoText } from "./node-error.ts";

export interface MetadataFile extends SyncDevice {
  readonly fd: number;
  /** As opened, for locks. */
  readonly stats: BigIntStats;
  close(): void;
}

/** `detail` is for the operator: `/dev/sdb: EBUSY: resource busy or locked (mounted on /srv)`. */
export type OpenedMetadataFile =
  | { readonly ok: true; readonly file: MetadataFile }
  | { readonly ok: false; readonly errno: number; readonly detail: string };

/** The device on a descriptor that is open already and stays the caller's: `close` is not called here. `name` is for messages. */
export function metadataDevice(fd: number, name: string): SyncDevice {
  const stats = fstatSync(fd, { bigint: true });
  const size = stats.isBlockDevice() ? blockDeviceSize(fd) : Number(stats.size);
  return {
    size,
    read(at, length) {
      const bytes = new Uint8Array(length);
      transfer("read", name, at, length, (done) => readSync(fd, bytes, done, length - done, at + done));
      return bytes;
    },
    write(at, bytes) {
      // A regular file would grow silently.
      if (at < 0 || at + bytes.length > size)
        throw new Error(`pwrite(${name}, ${bytes.length} bytes at ${at}): behind the end at ${size}`);
      transfer("write", name, at, bytes.length, (done) => writeSync(fd, bytes, done, bytes.length - done, at + done));
    },
    flush() {
      fsyncSync(fd);
    },
  };
}

function transfer(
  what: "read" | "write",
  name: string,
  at: number,
  length: number,
  step: (done: number) => number,
): void {
  for (let done = 0; done < length; ) {
    const moved = step(done);
    if (moved === 0) throw new Error(`p${what}(${name}, ${length} bytes at ${at}): only ${done} bytes`);
    done += moved;
  }
}

/** Opens a file or block device; a block device that somebody else uses (mounted, part of something) is refused when it is to be written. */
export function openMetadataFile(path: string, access: "read" | "write"): OpenedMetadataFile {
  let fd: number;
  try {
    const isDevice = statSync(path).isBlockDevice();
    const flags = access === "read" ? constants.O_RDONLY : constants.O_RDWR | (isDevice ? constants.O_EXCL : 0);
    fd = openSync(path, flags);
  } catch (error) {
    return refused(path, error);
  }
  try {
    const stats = fstatSync(fd, { bigint: true });
    if (!stats.isFile() && !stats.isBlockDevice())
      throw Object.assign(new Error("neither a file nor a block device"), { errno: -22 });
    const file: MetadataFile = { ...metadataDevice(fd, path), fd, stats, close: () => closeSync(fd) };
    return { ok: true, file };
  } catch (error) {
    closeSync(fd);
    return refused(path, error);
  }
}

function refused(path: string, error: unknown): OpenedMetadataFile {
  const errno = errnoOf(error);
  const users = errno === EBUSY ? deviceUsers(statSync(path, { bigint: true }).rdev) : "";
  return { ok: false, errno, detail: `${path}: ${errnoText(errno)}${users === "" ? "" : ` (${users})`}` };
}
