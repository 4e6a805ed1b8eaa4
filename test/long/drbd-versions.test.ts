/** Each version of the wire protocol that DRBD 8.4 speaks, against the kernel module. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava from "ava";
import { type Guest, openGuest } from "../interop/drbd/guest.ts";
import { MixedPair } from "../interop/drbd/mixed-pair.ts";
import { requireGuest, whyNoGuest } from "../interop/drbd/require-guest.ts";
import { speakVersion } from "../interop/drbd/version-cell.ts";

const test = requireGuest(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-versions-"));
let guest: Guest;
let pair: MixedPair;

ava.serial.before(async (t) => {
  t.timeout(300_000, "the first guest of a machine downloads its kernel");
  if (whyNoGuest() !== undefined) return;
  guest = await openGuest({ name: "versions", disks: [{ bytes: 6 * 1024 * 1024 }], net: { mode: "user" }, scratch });
  pair = new MixedPair(guest, scratch);
});

ava.after.always(async () => {
  await guest?.close();
  rmSync(scratch, { recursive: true, force: true });
});

for (let version = 86; version <= 100; version++) {
  test(`version ${version}: full sync, writes and bitmap resync both ways`, (t) => speakVersion(t, pair, version));
}
