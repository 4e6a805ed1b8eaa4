/**
 * One Futago engine against the kernel module of DRBD 8.4, in each role. What is expected is read from the kernel (/proc/drbd, get-gi,
 * its log) and from the bytes on both disks, never from what Futago says of itself. The tests tell one story and depend on their order.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava from "ava";
import { mustRun, until } from "../lab/command.ts";
import { type Guest, openGuest } from "./drbd/guest.ts";
import { assertCleanLog } from "./drbd/kernel-log.ts";
import { bytesAt, inSync, MixedPair, resyncOf } from "./drbd/mixed-pair.ts";
import { firstDifference, pattern } from "./drbd/pair.ts";
import { requireGuest, whyNoGuest } from "./drbd/require-guest.ts";

const test = requireGuest(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-smoke-"));
const [kibibyte, mebibyte] = [1024, 1024 * 1024];
let guest: Guest;
let pair: MixedPair;

ava.serial.before(async (t) => {
  t.timeout(300_000, "the first guest of a machine downloads its kernel");
  if (whyNoGuest() !== undefined) return;
  guest = await openGuest({ name: "smoke", disks: [{ bytes: 20 * mebibyte }], net: { mode: "user" }, scratch });
  pair = new MixedPair(guest, scratch);
});

ava.after.always(async () => {
  await pair?.close().catch(() => {});
  await guest?.close();
  rmSync(scratch, { recursive: true, force: true });
});

test("HMAC handshake of two fresh sides: Inconsistent/Inconsistent; primary --force here: full sync to the kernel", async (t) => {
  await pair.open();
  await pair.reaches({ cs: "Connected", ro: "Secondary/Secondary", ds: "Inconsistent/Inconsistent" });
  await pair.futago.primary("--force");
  await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
  const log = await pair.settled(t);
  t.deepEqual(resyncOf(log), { as: "SyncTarget", blocks: pair.usable / 4096 });
  t.true(log.some(({ text }) => text.includes("Peer authenticated using 20 bytes HMAC")));
  t.true(log.some(({ text }) => text.includes("Agreed network protocol version 101")));
  const gi = await pair.kernel.resource.gi();
  t.true(gi.consistent && gi.wasUpToDate && gi.connected && !gi.primary);
});

/** Each write, its bytes known: 512 B to 1 MiB, beside the 4 KiB grid, one over the other, FUA, zeroes. */
test("writes through NBD arrive on the kernel's disk byte for byte: sizes, overlaps, FUA, FLUSH, TRIM, WRITE_ZEROES", async (t) => {
  const expected = bytesAt(pair.futago.disks[0] ?? "", 0, 8 * mebibyte);
  const commands: string[] = [];
  const write = (byte: number, offset: number, length: number, flags = ""): void => {
    commands.push(`write ${flags} -P ${byte} ${offset} ${length}`);
    expected.fill(byte, offset, offset + length);
  };
  write(1, 0, 512);
  write(2, 512 * 7, 512 * 3, "-f");
  write(3, 5 * kibibyte, 4 * kibibyte);
  write(4, 64 * kibibyte, 64 * kibibyte);
  write(5, 100 * kibibyte + 512, 128 * kibibyte);
  write(6, mebibyte, mebibyte);
  write(7, mebibyte + 1536, 300 * kibibyte, "-f");
  write(8, 4 * mebibyte - 512, 1024);
  commands.push("flush");
  write(9, 3 * mebibyte, mebibyte + 512);
  const zeroes = (offset: number, length: number, flags: string): void => {
    commands.push(`write -z ${flags} ${offset} ${length}`);
    expected.fill(0, offset, offset + length);
  };
  zeroes(3 * mebibyte + 512, 128 * kibibyte, "");
  zeroes(mebibyte + 64 * kibibyte, 64 * kibibyte, "-u");
  commands.push(`discard ${5 * mebibyte} ${mebibyte}`);
  expected.fill(0, 5 * mebibyte, 6 * mebibyte);
  // At once, and each over the end of the one before: whatever order they take, both sides take the same.
  for (let n = 0; n < 24; n++) commands.push(`aio_write -q -P ${64 + n} ${6 * mebibyte + n * 3 * 512} 8192`);
  commands.push("aio_flush", "flush");
  await pair.futago.qemuIo(commands);
  const raced = 6 * mebibyte;
  t.true(
    bytesAt(pair.kernel.image, 0, raced).equals(expected.subarray(0, raced)),
    "what was written is on the kernel's disk",
  );
  t.true(
    bytesAt(pair.kernel.image, raced + 26 * 4096, 4096).equals(expected.subarray(raced + 26 * 4096, raced + 27 * 4096)),
  );
  await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
  await pair.settled(t);
});

test("random 4 KiB writes at depth 16 are on the kernel's disk, checked by fio's own checksums there", async (t) => {
  const area = ["--name=w", "--rw=randwrite", "--bs=4k", "--offset=8m", "--size=4m", "--verify=crc32c", "--randseed=7"];
  const remote = ["--ioengine=nbd", `--uri=${pair.futago.uri()}`, "--iodepth=16", "--fsync=32", "--do_verify=0"];
  await mustRun(["fio", ...area, ...remote], { timeout: 60_000 });
  await mustRun(["fio", ...area, "--ioengine=psync", `--filename=${pair.kernel.image}`, "--verify_only"]);
  await pair.settled(t);
});

test("a second Primary is refused on both sides", async (t) => {
  await t.throwsAsync(pair.kernel.resource.primary(), { message: /\(-1\) Multiple primaries not allowed by config/ });
  await pair.futago.secondary();
  await pair.reaches({ ...inSync, ro: "Secondary/Secondary" });
  await pair.kernel.resource.primary();
  await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
  const refused = await pair.futago.futago("primary", pair.futago.plan.name);
  t.not(refused.code, 0);
  t.regex(refused.stderr, /\(-1\) Multiple primaries not allowed by config/);
  await pair.settled(t);
});

test("what a kernel Primary writes, discards and zeroes arrives here byte for byte", async (t) => {
  const own = pair.futago.disks[0] ?? "";
  await pair.kernel.write(2 * mebibyte, 256 * kibibyte, "written by the kernel");
  await guest.mustRun(
    `yes synchronous | head -c 65536 | dd of=/dev/drbd0 bs=4k seek=1536 iflag=fullblock oflag=direct,sync conv=notrunc status=none;
     yes small | head -c 5120 | dd of=/dev/drbd0 bs=512 seek=20001 iflag=fullblock oflag=direct conv=notrunc status=none;
     blkdiscard -o ${12 * mebibyte} -l ${2 * mebibyte} /dev/drbd0; blkdiscard -z -o ${15 * mebibyte} -l ${mebibyte} /dev/drbd0`,
    { timeout: 60_000 },
  );
  t.true(bytesAt(own, 2 * mebibyte, 256 * kibibyte).equals(pattern(256 * kibibyte, "written by the kernel")));
  t.true(bytesAt(own, 1536 * 4096, 65_536).equals(pattern(65_536, "synchronous")));
  t.true(bytesAt(own, 20_001 * 512, 5120).equals(pattern(5120, "small")));
  t.true(bytesAt(own, 12 * mebibyte, 2 * mebibyte).every((byte) => byte === 0));
  t.true(bytesAt(own, 15 * mebibyte, mebibyte).every((byte) => byte === 0));
  await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
  await pair.settled(t);
});

test("disconnected by Futago: the kernel's writes meanwhile, and only these, are brought here", async (t) => {
  await pair.futago.disconnect();
  await pair.reaches({ cs: "WFConnection" });
  await pair.kernel.write(9 * mebibyte, 64 * kibibyte, "while Futago was away");
  await pair.kernel.write(17 * mebibyte, 64 * kibibyte, "far from it");
  await guest.dmesg();
  await pair.futago.connect();
  await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
  const log = await pair.settled(t);
  t.deepEqual(resyncOf(log), { as: "SyncSource", blocks: 32 });
});

test("disconnected by the kernel: what was written here meanwhile, and only this, is brought there", async (t) => {
  await pair.kernel.resource.secondary();
  await pair.futago.primary();
  await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
  await pair.kernel.resource.disconnect();
  await pair.reaches({ cs: "StandAlone" });
  await pair.futago.qemuIo([`write -P 77 ${10 * mebibyte} 131072`, `write -P 78 ${18 * mebibyte + 512} 512`, "flush"]);
  await guest.dmesg();
  await pair.kernel.resource.connect();
  await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
  const log = await pair.settled(t);
  t.deepEqual(resyncOf(log), { as: "SyncTarget", blocks: 33 });
});

test("a kernel without its disk reads from here; attached again it is brought what it missed", async (t) => {
  await pair.kernel.resource.detach();
  await pair.reaches({ cs: "Connected", ds: "Diskless/UpToDate" });
  await pair.futago.qemuIo([`write -P 81 ${7 * mebibyte} 65536`, "flush"]);
  await pair.kernel.resource.attach();
  await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
  t.deepEqual(resyncOf(await pair.settled(t)), { as: "SyncTarget", blocks: 16 });

  await pair.futago.secondary();
  await pair.kernel.resource.primary();
  await pair.kernel.resource.detach();
  await pair.reaches({ cs: "Connected", ro: "Primary/Secondary", ds: "Diskless/UpToDate" });
  await pair.kernel.write(11 * mebibyte, 64 * kibibyte, "a Primary without a disk");
  const sum = await guest.mustRun(`dd if=/dev/drbd0 bs=256k iflag=direct status=none | sha256sum`, { timeout: 60_000 });
  t.is(sum.slice(0, 64), await pair.futago.digest(pair.usable));
  await pair.kernel.resource.attach();
  await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
  t.deepEqual(resyncOf(await pair.settled(t)), { as: "SyncTarget", blocks: 16 });
});

test("Futago without its disk reads from the kernel; attached again it is brought what it missed", async (t) => {
  await pair.kernel.resource.secondary();
  await pair.futago.primary();
  await pair.futago.must("detach", pair.futago.plan.name);
  await pair.reaches({ cs: "Connected", ro: "Secondary/Primary", ds: "UpToDate/Diskless" });
  await pair.futago.qemuIo([
    `write -P 82 ${13 * mebibyte + 512} 4096`,
    "flush",
    `read -P 82 ${13 * mebibyte + 512} 4096`,
  ]);
  const copy = join(scratch, "read-by-nbd");
  await mustRun(["nbdcopy", pair.futago.uri(), copy], { timeout: 60_000 });
  t.is(firstDifference(copy, pair.kernel.image, pair.usable), undefined);
  rmSync(copy);
  await pair.futago.must("attach", pair.futago.plan.name);
  await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
  // What is in the activity log of a Primary counts as changed, also after an orderly detach: the kernel does the same.
  const resync = resyncOf(await pair.settled(t));
  t.is(resync?.as, "SyncSource");
  t.true((resync?.blocks ?? 0) >= 2);
});

test("kill -9 of a Primary engine: its activity log becomes the resync that the kernel gets", async (t) => {
  await pair.futago.qemuIo([`write -P 83 ${mebibyte} 4096`, `write -P 84 ${9 * mebibyte} 4096`]);
  await pair.futago.kill();
  await pair.reaches({ cs: "WFConnection" });
  await guest.dmesg();
  await pair.futago.up();
  await pair.reaches({ ...inSync, ro: "Secondary/Secondary" });
  // Two extents of 4 MiB were active, and whatever else the log still held: whole extents.
  const resync = resyncOf(await pair.settled(t));
  t.is(resync?.as, "SyncTarget");
  t.true((resync?.blocks ?? 0) >= 2048);
});

test("power cut of a Primary kernel: after its boot, its activity log becomes the resync that Futago gets", async (t) => {
  await pair.kernel.resource.primary();
  await pair.kernel.write(2 * mebibyte, 64 * kibibyte, "before the power cut");
  await guest.mustRun(
    "(while :; do dd if=/dev/urandom of=/dev/drbd0 bs=4k count=64 seek=512 conv=notrunc status=none; done) >/dev/null 2>&1 &",
  );
  await until("writes under way", async () => (await pair.kernel.resource.state()).dw > 1024);
  assertCleanLog(await guest.dmesg());
  const capture = guest.capture;
  await guest.kill();
  await pair.checkCapture(t, capture);
  await guest.boot();
  await pair.reopenKernel();
  await pair.reaches({ ...inSync, ro: "Secondary/Secondary" });
  const resync = resyncOf(await pair.settled(t));
  t.is(resync?.as, "SyncSource");
  t.true((resync?.blocks ?? 0) >= 1024);
});

/** drbdmeta of this machine reads both images, on copies: it opens them for writing. */
async function dump(image: string): Promise<string> {
  const copy = join(scratch, "dumped.img");
  await mustRun(["cp", image, copy]);
  const drbdmeta = (...words: string[]) => mustRun(["drbdmeta", "--force", "9", "v08", copy, "internal", ...words]);
  await drbdmeta("apply-al");
  return drbdmeta("dump-md");
}

test("taken down, both metadata tell of the same generation and of no block out of sync", async (t) => {
  await pair.futago.must("down", pair.futago.plan.name);
  await pair.kernel.resource.down();
  assertCleanLog(await guest.dmesg());
  const [own, kernels] = [await dump(pair.futago.disks[0] ?? ""), await dump(pair.kernel.image)];
  // The lowest bit says who was Primary then; it is not part of the generation.
  const generations = (text: string): readonly bigint[] =>
    [...(/uuid \{([^}]*)flags/.exec(text)?.[1] ?? "").matchAll(/0x[0-9A-F]{16}/g)].map(([uuid]) => BigInt(uuid) | 1n);
  t.is(generations(own).length, 4);
  t.deepEqual(generations(own), generations(kernels));
  for (const text of [own, kernels]) {
    t.regex(text, /^# bits-set 0;$/m);
    t.regex(text, new RegExp(`^la-size-sect ${pair.usable / 512};$`, "m"));
  }
});

test("a fresh pair again, the kernel forced to be Primary: full sync to Futago", async (t) => {
  await pair.open();
  await pair.reaches({ cs: "Connected", ro: "Secondary/Secondary", ds: "Inconsistent/Inconsistent" });
  await pair.kernel.resource.primary({ force: true });
  await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
  t.deepEqual(resyncOf(await pair.settled(t)), { as: "SyncSource", blocks: pair.usable / 4096 });
});

const says = (texts: readonly { readonly text: string }[], words: RegExp): boolean =>
  texts.some(({ text }) => words.test(text));

const stands = (cstate: string): Promise<void> =>
  until(`Futago is ${cstate}`, async () => (await pair.futago.must("cstate", pair.futago.plan.name)).trim() === cstate);

test("another secret: both sides are StandAlone and say why (drbd-84 §3.3)", async (t) => {
  await pair.open({ secrets: { kernel: "FooFunFactory", futago: "BarFunFactory" } });
  await pair.reaches({ cs: "StandAlone" });
  t.true(says(await guest.dmesg(), /Authentication of peer failed/));
  await stands("StandAlone");
  t.regex(await pair.futago.must("status", pair.futago.plan.name), /uthentication of peer failed/);
});

test("a secret on one side only: that side is StandAlone, the other keeps trying (drbd-84 §3.3)", async (t) => {
  await pair.open({ secrets: { kernel: "FooFunFactory", futago: undefined } });
  await pair.reaches({ cs: "StandAlone" });
  t.true(says(await guest.dmesg(), /expected AuthChallenge packet, received: ReportProtocol/));
  await stands("WFConnection");

  await pair.open({ secrets: { kernel: undefined, futago: "FooFunFactory" } });
  await stands("StandAlone");
  await pair.reaches({ cs: "WFConnection" });
  t.true(says(await guest.dmesg(), /Unexpected data packet AuthChallenge/));
});

test("all that was sent is what Wireshark's dissector understands, over streams that either side connected", async (t) => {
  await pair.checkCapture(t, await guest.nextCapture());
  t.deepEqual([...pair.connectors].sort(), ["10.0.2.15", "10.0.2.2"]);
  // By drbd.h's numbers: data and its replies, barriers, bitmaps, resync, trims and zeroes, states, authentication.
  const wanted = [
    0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x13, 0x14, 0x16, 0x17, 0x1c, 0x24, 0x31, 0x36,
  ];
  t.deepEqual(
    wanted.filter((command) => !pair.seen.has(command)),
    [],
  );
});
