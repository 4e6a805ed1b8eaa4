/** Futago against the kernel module: write protocols, old versions of the wire protocol, several volumes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava from "ava";
import { until } from "../lab/command.ts";
import { type Guest, openGuest } from "./drbd/guest.ts";
import { bytesAt, inSync, MixedPair, resyncOf } from "./drbd/mixed-pair.ts";
import { pattern } from "./drbd/pair.ts";
import { requireGuest, whyNoGuest } from "./drbd/require-guest.ts";
import { speakVersion } from "./drbd/version-cell.ts";

const test = requireGuest(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-matrix-"));
const mebibyte = 1024 * 1024;
let guest: Guest;
let pair: MixedPair;

ava.serial.before(async (t) => {
  t.timeout(300_000, "the first guest of a machine downloads its kernel");
  if (whyNoGuest() !== undefined) return;
  const disks = [{ bytes: 6 * mebibyte }, { bytes: 5 * mebibyte }];
  guest = await openGuest({ name: "protocols", disks, net: { mode: "user" }, scratch });
  pair = new MixedPair(guest, scratch);
});

ava.serial.afterEach.always(async () => {
  await pair?.close().catch(() => {});
});

ava.after.always(async () => {
  await guest?.close();
  rmSync(scratch, { recursive: true, force: true });
});

for (const protocol of ["A", "B"] as const) {
  test(`protocol ${protocol}: writes of either Primary arrive, and what was cut off comes with a bitmap resync`, async (t) => {
    await pair.open({ protocol: { kernel: protocol, futago: protocol }, blank: true });
    await pair.skipFirstSync();
    t.is((await pair.kernel.resource.state()).protocol, protocol);
    await pair.futago.primary();
    const burst = Array.from({ length: 32 }, (_, n) => `aio_write -q -P ${n + 1} ${n * 65_536 + 512} 16384`);
    await pair.futago.qemuIo([...burst, "aio_flush", "flush"]);
    await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
    for (let n = 0; n < 32; n++) {
      t.true(
        bytesAt(pair.kernel.image, n * 65_536 + 512, 16_384).every((byte) => byte === n + 1),
        `write ${n}`,
      );
    }
    await pair.settled(t);

    await pair.kernel.resource.disconnect();
    await pair.futago.qemuIo(["write -P 99 3145728 8192", "flush"]);
    await pair.kernel.resource.connect();
    await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
    t.deepEqual(resyncOf(await pair.settled(t)), { as: "SyncTarget", blocks: 2 });

    await pair.futago.secondary();
    await pair.kernel.resource.primary();
    await pair.kernel.write(mebibyte, 65_536, "a Primary kernel");
    await guest.mustRun(
      "yes | head -c 4096 | dd of=/dev/drbd0 bs=4k seek=700 oflag=direct,sync conv=notrunc status=none",
    );
    // Under A nobody has waited for Futago's disk.
    const arrived = () => bytesAt(pair.futago.disks[0] ?? "", 700 * 4096, 4096).equals(pattern(4096, "y"));
    await until("the last write arrived", arrived);
    t.true(bytesAt(pair.futago.disks[0] ?? "", mebibyte, 65_536).equals(pattern(65_536, "a Primary kernel")));
    await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
    await pair.settled(t);
  });
}

test("different protocols: both sides are StandAlone (drbd-84 §3.4)", async (t) => {
  await pair.open({ protocol: { kernel: "C", futago: "A" } });
  await pair.reaches({ cs: "StandAlone" });
  t.true((await guest.dmesg()).some(({ text }) => text.includes("incompatible protocol settings")));
  const { name } = pair.futago.plan;
  await until("Futago too", async () => (await pair.futago.must("cstate", name)).trim() === "StandAlone");
});

test("two volumes of different size: each is synchronised, written and resynchronised for itself", async (t) => {
  await pair.open({ volumes: 2 });
  await pair.sync("futago");
  await pair.futago.qemuIo(["write -P 11 4096 65536", "flush"]);
  await pair.futago.qemuIo(["write -P 12 8192 65536", "flush"], 1);
  t.true(bytesAt(pair.kernel.images[0] ?? "", 4096, 65_536).every((byte) => byte === 11));
  t.true(bytesAt(pair.kernel.images[1] ?? "", 8192, 65_536).every((byte) => byte === 12));
  await pair.futago.disconnect();
  await pair.futago.qemuIo(["write -P 13 1048576 4096", "flush"], 1);
  await guest.dmesg();
  await pair.futago.connect();
  await pair.reaches({ ...inSync, ro: "Secondary/Primary" });
  t.deepEqual(resyncOf(await pair.settled(t)), { as: "SyncTarget", blocks: 1 });
  await pair.futago.secondary();
  await pair.kernel.resource.primary();
  await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
  await pair.kernel.write(2 * mebibyte, 65_536, "volume 1", 1);
  t.true(bytesAt(pair.futago.disks[1] ?? "", 2 * mebibyte, 65_536).equals(pattern(65_536, "volume 1")));
  await pair.settled(t);
});

/** More of them in test/long/drbd-versions.test.ts. */
for (const version of [86, 95, 99]) {
  test(`version ${version} of the wire protocol: full sync, writes and bitmap resync both ways`, (t) =>
    speakVersion(t, pair, version));
}
