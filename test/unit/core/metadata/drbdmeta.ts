/** The real tool, for comparing. It works on plain files with --force; the lock file is per minor, so each process takes its own. */
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandResult } from "../../../../src/core/metadata/transcript.ts";
import { type MetadataFile, openMetadataFile } from "../../../../src/node/metadata-file.ts";

const DRBDMETA = "/usr/sbin/drbdmeta";
export const hasDrbdmeta = existsSync(DRBDMETA);
/** Locked by the tool through a file that it leaves behind. */
export const minor = String(100000 + (process.pid % 900000));
process.on("exit", () => rmSync(`/var/lock/drbd-147-${minor}`, { force: true }));

export interface Ran {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `args` stand between the format and the command's own: `internal dump-md`. Remarks about ioctls that plain files lack are left out. */
export function drbdmeta(path: string, args: readonly string[], options: readonly string[] = []): Ran {
  const ran = spawnSync(DRBDMETA, [...options, "--force", minor, "v08", path, ...args], {
    encoding: "utf8",
    timeout: 60_000,
    maxBuffer: 512 * 1024 * 1024,
    env: { ...process.env, TZ: "UTC" },
  });
  const stderr = ran.stderr
    .split("\n")
    .filter((line) => !/^ioctl\(|to all zero using pwrite$|^(\d+%)+$/.test(line))
    .join("\n");
  return { exitCode: ran.status, stdout: ran.stdout, stderr };
}

export interface Scratch {
  readonly folder: string;
  /** A sparse file of `size` bytes with `parts` written into it. */
  sparse(name: string, size: number, parts?: readonly (readonly [number, Uint8Array])[]): string;
  open(path: string): MetadataFile;
  remove(): void;
}

export function scratch(): Scratch {
  const folder = mkdtempSync(join(tmpdir(), "futago-metadata-"));
  const files: MetadataFile[] = [];
  return {
    folder,
    sparse(name, size, parts = []) {
      const path = join(folder, name);
      const fd = openSync(path, "w");
      ftruncateSync(fd, size);
      for (const [at, bytes] of parts) writeSync(fd, bytes, 0, bytes.length, at);
      closeSync(fd);
      truncateSync(path, size);
      return path;
    },
    open(path) {
      const opened = openMetadataFile(path, "write");
      if (!opened.ok) throw new Error(opened.detail);
      files.push(opened.file);
      return opened.file;
    },
    remove() {
      for (const file of files) file.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export const plain = ({ exitCode, stdout, stderr }: CommandResult): Ran => ({ exitCode, stdout, stderr });
