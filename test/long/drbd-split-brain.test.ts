/** What the policies after split brain decide between Futago and the kernel module, and that both decide the same (drbd-84 §5.5). */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava from "ava";
import { type Guest, openGuest } from "../interop/drbd/guest.ts";
import { MixedPair } from "../interop/drbd/mixed-pair.ts";
import { requireGuest, whyNoGuest } from "../interop/drbd/require-guest.ts";
import { expectStandAlone, expectWinner, meet, type SplitPlan, split } from "../interop/drbd/split-brain-cells.ts";

const test = requireGuest(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-policies-"));
let guest: Guest;
let pair: MixedPair;

ava.serial.before(async (t) => {
  t.timeout(300_000, "the first guest of a machine downloads its kernel");
  if (whyNoGuest() !== undefined) return;
  guest = await openGuest({ name: "policies", disks: [{ bytes: 6 * 1024 * 1024 }], net: { mode: "user" }, scratch });
  pair = new MixedPair(guest, scratch);
});

ava.serial.afterEach.always(async () => {
  await pair?.close().catch(() => {});
});

ava.after.always(async () => {
  await guest?.close();
  rmSync(scratch, { recursive: true, force: true });
});

type Outcome = "kernel" | "futago" | "nobody";
const most = { kernelBlocks: 16, futagoBlocks: 2 };
const least = { kernelBlocks: 2, futagoBlocks: 16 };
const only = { kernelBlocks: 16, futagoBlocks: 0 };
const kernelPrimary = { ...most, primary: "kernel" } as const;
const futagoPrimary = { ...most, primary: "futago" } as const;

/** By drbd.conf(5); the kernel is the older Primary. */
const cells: readonly (readonly [policies: Readonly<Record<string, string>>, plan: SplitPlan, winner: Outcome])[] = [
  [{ "after-sb-0pri": "discard-younger-primary" }, most, "kernel"],
  [{ "after-sb-0pri": "discard-older-primary" }, most, "futago"],
  [{ "after-sb-0pri": "discard-least-changes" }, most, "kernel"],
  [{ "after-sb-0pri": "discard-least-changes" }, least, "futago"],
  [{ "after-sb-0pri": "discard-zero-changes" }, only, "kernel"],
  [{ "after-sb-0pri": "discard-zero-changes" }, most, "nobody"],
  [{ "after-sb-1pri": "discard-secondary" }, kernelPrimary, "kernel"],
  [{ "after-sb-1pri": "discard-secondary" }, futagoPrimary, "futago"],
  [{ "after-sb-0pri": "discard-younger-primary", "after-sb-1pri": "consensus" }, kernelPrimary, "kernel"],
  [{ "after-sb-0pri": "discard-older-primary", "after-sb-1pri": "consensus" }, kernelPrimary, "nobody"],
  [{ "after-sb-0pri": "discard-older-primary", "after-sb-1pri": "consensus" }, futagoPrimary, "futago"],
  [{ "after-sb-0pri": "discard-younger-primary" }, kernelPrimary, "nobody"],
];

const planText = ({ kernelBlocks, futagoBlocks, primary }: SplitPlan): string =>
  `kernel wrote ${kernelBlocks} blocks, Futago ${futagoBlocks}, ${primary ?? "nobody"} is Primary`;

for (const [policies, plan, winner] of cells) {
  const words = Object.entries(policies).map(([name, value]) => `${name} ${value}`);
  test(`${words.join(", ")}; ${planText(plan)}: ${winner} wins`, async (t) => {
    await pair.open({ blank: true, net: policies });
    await pair.skipFirstSync();
    await split(pair, plan);
    await meet(pair);
    if (winner === "nobody") await expectStandAlone(t, pair);
    else await expectWinner(t, pair, winner, plan);
  });
}
