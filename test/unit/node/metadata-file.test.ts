import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { createMd } from "../../../src/core/metadata/create-md.ts";
import { forced } from "../../../src/core/metadata/transcript.ts";
import { metadataDevice, openMetadataFile } from "../../../src/node/metadata-file.ts";

const MIB = 1024 * 1024;

function inFolder(body: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "futago-metadata-file-"));
  try {
    body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function file(folder: string, size: number): string {
  const path = join(folder, "image");
  writeFileSync(path, "");
  truncateSync(path, size);
  return path;
}

test("a regular file: its size, what was written, and nothing beyond its end", (t) =>
  inFolder((folder) => {
    const path = file(folder, 10_000);
    const opened = openMetadataFile(path, "write");
    if (!opened.ok) return t.fail(opened.detail);
    const device = opened.file;
    t.is(device.size, 10_000);
    device.write(9_000, new Uint8Array([1, 2, 3]));
    device.flush();
    t.deepEqual([...device.read(8_999, 5)], [0, 1, 2, 3, 0]);
    t.throws(() => device.write(9_999, new Uint8Array(2)), { message: /behind the end at 10000/ });
    t.throws(() => device.read(9_999, 2), { message: /only 1 bytes/ });
    device.close();
    t.is(readFileSync(path).length, 10_000);
  }));

test("a descriptor that is open already is used and left open", (t) =>
  inFolder((folder) => {
    const fd = openSync(file(folder, 4096), "r+");
    metadataDevice(fd, "image").write(0, new Uint8Array([7]));
    t.is(metadataDevice(fd, "image").read(0, 1)[0], 7);
    closeSync(fd);
  }));

test("what cannot be opened is refused with the path and the errno's name", (t) =>
  inFolder((folder) => {
    t.like(openMetadataFile(join(folder, "none"), "read"), { ok: false, errno: -2 });
    const opened = openMetadataFile(folder, "read");
    t.false(opened.ok);
    if (!opened.ok) t.true(opened.detail.includes("EINVAL"), opened.detail);
  }));

test("opened for reading, writing fails", (t) =>
  inFolder((folder) => {
    const opened = openMetadataFile(file(folder, 4096), "read");
    if (!opened.ok) return t.fail(opened.detail);
    t.throws(() => opened.file.write(0, new Uint8Array(1)), { code: "EBADF" });
    opened.file.close();
  }));

/** A loop device needs privileges that not every machine gives. */
function attachLoop(path: string): string | undefined {
  const ran = spawnSync("losetup", ["-f", "--show", path], { encoding: "utf8", timeout: 10_000 });
  return ran.status === 0 ? ran.stdout.trim() : undefined;
}

test("a block device: its size from the kernel, metadata on it, and EBUSY while somebody else has claimed it", (t) =>
  inFolder((folder) => {
    const path = file(folder, 16 * MIB);
    const loop = attachLoop(path);
    if (loop === undefined) {
      t.log("skipped: no loop device here");
      t.pass();
      return;
    }
    try {
      const opened = openMetadataFile(loop, "write");
      if (!opened.ok) {
        t.fail(opened.detail);
        return;
      }
      t.is(opened.file.size, 16 * MIB);
      const created = createMd({ device: opened.file, name: loop, placement: { kind: "internal" } }, forced);
      t.is(created.exitCode, 0);
      const second = openMetadataFile(loop, "write");
      t.like(second, { ok: false, errno: -16 });
      const reader = openMetadataFile(loop, "read");
      t.true(reader.ok);
      if (reader.ok) reader.file.close();
      opened.file.close();
      const again = openMetadataFile(loop, "write");
      t.true(again.ok);
      if (again.ok) again.file.close();
      t.is(readFileSync(path).readUInt32BE(16 * MIB - 4096 + 60), 0x8374026b);
    } finally {
      spawnSync("losetup", ["-d", loop], { timeout: 10_000 });
    }
  }));
