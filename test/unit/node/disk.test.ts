import { execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { openFile } from "../../../src/node/disk.ts";
import { DiskUser } from "../../contract/disk-contract.ts";
import { sparseFile } from "../../contract/real-disks.ts";
import { realDisk } from "../../contract/real-worlds.ts";
import { waitFor } from "../../contract/worlds.ts";

const EIO = -5;
const ENOSPC = -28;
const MIB = 1024 * 1024;
/** statfs(2). */
const TMPFS_MAGIC = 0x01021994;
const buffered = { direct: false, readOnly: false };
const direct = { direct: true, readOnly: false };

const above = mkdtempSync(join(tmpdir(), "futago-"));
test.after.always(() => rmSync(above, { recursive: true }));
const folder = (): string => mkdtempSync(join(above, "t-"));

function opened(path: string, options: Parameters<typeof openFile>[1]) {
  const file = openFile(path, options);
  if (file.refused) throw new Error(file.text);
  return file;
}

/** The refusal's text; empty if there was none. */
function refusalOf(path: string, options: Parameters<typeof openFile>[1]): string {
  const file = openFile(path, options);
  if (file.refused) return file.text;
  file.release();
  return "";
}

test("a file's size is rounded down to whole blocks", (t) => {
  const file = opened(sparseFile(folder(), MIB + 700), buffered);
  t.is(file.size as number, MIB + 512);
  t.is(file.kind, "file");
  t.is(file.hasVolatileCache, !file.inMemory);
  file.release();
});

test("a file that lives in memory has no cache that a flush could empty", (t) => {
  if (!existsSync("/dev/shm") || statfsSync("/dev/shm").type !== TMPFS_MAGIC) {
    t.pass("no tmpfs here");
    return;
  }
  const above = mkdtempSync("/dev/shm/futago-disk-test-");
  try {
    const file = opened(sparseFile(above, MIB), buffered);
    t.false(file.hasVolatileCache);
    file.release();
  } finally {
    rmSync(above, { recursive: true, force: true });
  }
});

test("a second opener of the same file is refused and told who has it", (t) => {
  const path = sparseFile(folder(), MIB);
  const first = opened(path, buffered);
  t.is(refusalOf(path, buffered), `${path} is in use: locked by pid ${process.pid} (node)`);
  t.is(refusalOf(path, { ...buffered, readOnly: true }), `${path} is in use: locked by pid ${process.pid} (node)`);
  first.release();
  first.release();
  t.is(refusalOf(path, buffered), "");
});

test("another process's lock is named with its pid and command", async (t) => {
  const path = sparseFile(folder(), MIB);
  const holder = spawn("flock", ["--no-fork", path, "sleep", "60"], { stdio: "ignore" });
  try {
    await waitFor(() => refusalOf(path, buffered) !== "", "the other process has the lock");
    t.regex(refusalOf(path, buffered), /is in use: locked by pid \d+ \((flock|sleep)\)$/);
  } finally {
    holder.kill();
  }
});

test("readers share, and so do openers that say so", (t) => {
  const path = sparseFile(folder(), MIB);
  const reader = opened(path, { direct: false, readOnly: true });
  t.is(refusalOf(path, { direct: false, readOnly: true }), "");
  t.is(refusalOf(path, { ...buffered, claim: "shared" }), "");
  t.is(refusalOf(path, { ...buffered, claim: "none" }), "");
  t.not(refusalOf(path, buffered), "");
  reader.release();
});

test("where there is no O_DIRECT the refusal names `io buffered`", (t) => {
  // sysfs has regular files and no direct access.
  const path = "/sys/kernel/notes";
  const file = openFile(path, { direct: true, readOnly: true });
  t.true(file.refused);
  t.regex(file.refused ? file.text : "", /the file system has no O_DIRECT; write `io buffered`/);
});

test("what is missing, a folder or a character device is refused by name", (t) => {
  const missing = join(folder(), "none");
  t.is(refusalOf(missing, buffered), `${missing}: ENOENT: no such file or directory`);
  t.is(refusalOf(above, buffered), `${above} is neither a file nor a block device`);
  t.is(refusalOf("/dev/null", buffered), "/dev/null is neither a file nor a block device");
});

test("holes and data of a sparse file are told apart, beyond 2^32 too", (t) => {
  const far = 5 * 1024 * MIB;
  const path = sparseFile(folder(), far + 16 * MIB);
  const fd = openSync(path, "r+");
  writeSync(fd, new Uint8Array(MIB).fill(1), 0, MIB, 0);
  writeSync(fd, new Uint8Array(MIB).fill(1), 0, MIB, far);
  closeSync(fd);
  const file = opened(path, buffered);
  t.is(file.allocation(0, 4 * MIB), MIB);
  t.is(file.allocation(MIB, 4 * MIB), -4 * MIB);
  t.is(file.allocation(far - MIB, 4 * MIB), -MIB);
  t.is(file.allocation(far, 4 * MIB), MIB);
  t.is(file.allocation(far + MIB, 4 * MIB), -4 * MIB);
  file.release();
});

test("a file that grew shows its new size", (t) => {
  const path = sparseFile(folder(), MIB);
  const file = opened(path, buffered);
  ftruncateSync(file.fd, 2 * MIB);
  t.is(file.sizeNow() as number, 2 * MIB);
  t.is(file.size as number, MIB);
  file.release();
});

for (const backend of ["ring", "fallback"] as const) {
  test(`${backend}: a file that became shorter gives EIO, not less`, async (t) => {
    for (const options of [buffered, direct]) {
      const path = sparseFile(folder(), MIB);
      const world = realDisk(backend, path, options);
      const user = new DiskUser(world);
      const fd = openSync(path, "r+");
      ftruncateSync(fd, 4096);
      closeSync(fd);
      t.is(await user.do((tag) => world.disk.read(tag, 0, 0, 8192)), EIO);
      t.is(await user.do((tag) => world.disk.read(tag, 65536, 0, 4096)), EIO);
      await world.close();
    }
  });

  test(`${backend}: positions beyond 2^32 are where they should be`, async (t) => {
    const far = 6 * 1024 * MIB;
    const path = sparseFile(folder(), far + MIB);
    const world = realDisk(backend, path, direct);
    const user = new DiskUser(world);
    t.is(await user.write(far, new Uint8Array(4096).fill(7)), 4096);
    t.true((await user.read(far, 4096)).every((byte) => byte === 7));
    t.true((await user.read(far % 2 ** 32, 4096)).every((byte) => byte === 0));
    t.is(await user.do((tag) => world.disk.zero(tag, far, 4096, true, false)), 0);
    t.true((await user.read(far, 4096)).every((byte) => byte === 0));
    await world.close();
  });

  const asRoot = process.getuid?.() === 0 ? test.serial : test.skip;
  asRoot(`${backend}: a full file system gives ENOSPC`, async (t) => {
    const mount = folder();
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "futago-test", mount]);
    try {
      const world = realDisk(backend, sparseFile(mount, MIB), buffered);
      const user = new DiskUser(world);
      const results: number[] = [];
      for (let at = 0; at < MIB; at += 65536) results.push(await user.write(at, new Uint8Array(65536).fill(1)));
      t.is(results[0], 65536);
      t.is(results.at(-1), ENOSPC);
      await world.close();
    } finally {
      execFileSync("umount", ["-l", mount]);
    }
  });

  asRoot(`${backend}: a block device tells its size and blocks, and is claimed`, async (t) => {
    const file = sparseFile(folder(), 8 * MIB);
    const device = execFileSync("losetup", ["-f", "--show", "-b", "4096", file], { encoding: "utf8" }).trim();
    try {
      const world = realDisk(backend, device, direct);
      t.is(world.disk.size as number, 8 * MIB);
      t.is(world.disk.logicalBlock, 4096);
      t.true(world.disk.physicalBlock >= 4096);
      t.regex(refusalOf(device, direct), /is in use: another process or device has claimed it/);
      await world.close();
      t.is(refusalOf(device, direct), "");
    } finally {
      execFileSync("losetup", ["-d", device]);
    }
  });
}
