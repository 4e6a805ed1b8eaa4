/** Split brain of Futago and the kernel module (drbd-84 §5.5). The policies are in test/long/drbd-split-brain.test.ts. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava from "ava";
import { type Guest, openGuest } from "./drbd/guest.ts";
import { MixedPair } from "./drbd/mixed-pair.ts";
import { requireGuest, whyNoGuest } from "./drbd/require-guest.ts";
import { expectStandAlone, expectWinner, meet, split } from "./drbd/split-brain-cells.ts";

const test = requireGuest(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-split-"));
let guest: Guest;
let pair: MixedPair;

ava.serial.before(async (t) => {
  t.timeout(300_000, "the first guest of a machine downloads its kernel");
  if (whyNoGuest() !== undefined) return;
  guest = await openGuest({ name: "split", disks: [{ bytes: 6 * 1024 * 1024 }], net: { mode: "user" }, scratch });
  pair = new MixedPair(guest, scratch);
});

ava.after.always(async () => {
  await pair?.close().catch(() => {});
  await guest?.close();
  rmSync(scratch, { recursive: true, force: true });
});

test("both were Primary apart: both go StandAlone, and --discard-my-data on one side says whose changes are lost", async (t) => {
  await pair.open({ blank: true });
  await pair.skipFirstSync();
  for (const [round, loser] of (["futago", "kernel"] as const).entries()) {
    const plan = { kernelBlocks: 16, futagoBlocks: 2, round };
    await split(pair, plan);
    await meet(pair);
    await expectStandAlone(t, pair);
    await meet(pair, loser);
    await expectWinner(t, pair, loser === "futago" ? "kernel" : "futago", plan);
  }
});
