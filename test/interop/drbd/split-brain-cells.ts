import type { ExecutionContext } from "ava";
import { until } from "../../lab/command.ts";
import { bytesAt, inSync, type MixedPair, resyncOf } from "./mixed-pair.ts";
import { pattern } from "./pair.ts";

type Side = "kernel" | "futago";

/** What is written apart, in blocks of 4 KiB. Where only one side wrote, the other one was Primary all the same. */
export interface SplitPlan {
  readonly kernelBlocks: number;
  readonly futagoBlocks: number;
  /** Stays Primary until they meet again; default: neither. */
  readonly primary?: Side;
  /** Makes the bytes different from those of another split of the same pair. */
  readonly round?: number;
}

const kernelArea = 1024 * 1024;
const futagoArea = 2 * kernelArea;
const block = 4096;
const lineOf = ({ round = 0 }: SplitPlan): string => `of the kernel ${round}`;
const byteOf = ({ round = 0 }: SplitPlan): number => 0xf0 + round;

/**
 * Split brain of a pair in sync: the kernel was Primary when they parted and wrote on, Futago was promoted after that and wrote, too. So the
 * kernel is the older Primary. Both are StandAlone then.
 */
export async function split(pair: MixedPair, plan: SplitPlan): Promise<void> {
  const { kernelBlocks, futagoBlocks, primary } = plan;
  const { kernel, futago } = pair;
  await kernel.resource.primary();
  await pair.reaches({ ...inSync, ro: "Primary/Secondary" });
  await futago.disconnect();
  await pair.reaches({ cs: "WFConnection" });
  await kernel.resource.disconnect();
  if (kernelBlocks > 0) await kernel.write(kernelArea, kernelBlocks * block, lineOf(plan));
  if (primary !== "kernel") await kernel.resource.secondary();
  await futago.primary();
  if (futagoBlocks > 0)
    await futago.qemuIo([`write -P ${byteOf(plan)} ${futagoArea} ${futagoBlocks * block}`, "flush"]);
  if (primary !== "futago") await futago.secondary();
}

/** Both look for each other again. `discarding` gives up its changes. */
export async function meet(pair: MixedPair, discarding?: Side): Promise<void> {
  await pair.guest.dmesg();
  await pair.futago.connect(...(discarding === "futago" ? ["--discard-my-data"] : []));
  await pair.kernel.resource.connect(discarding === "kernel" ? { "discard-my-data": true } : {});
}

/** After `meet`: both have the winner's data, by a resync of all that was written on either side. */
export async function expectWinner(t: ExecutionContext, pair: MixedPair, winner: Side, plan: SplitPlan): Promise<void> {
  await pair.reaches(inSync);
  const { kernelBlocks, futagoBlocks } = plan;
  const as = winner === "kernel" ? "SyncSource" : "SyncTarget";
  t.deepEqual(resyncOf(await pair.settled(t)), { as, blocks: kernelBlocks + futagoBlocks });
  const theKernels = bytesAt(pair.kernel.image, kernelArea, kernelBlocks * block);
  const futagos = bytesAt(pair.kernel.image, futagoArea, futagoBlocks * block);
  t.is(theKernels.equals(pattern(kernelBlocks * block, lineOf(plan))), winner === "kernel" || kernelBlocks === 0);
  t.is(
    futagos.every((value) => value === byteOf(plan)),
    winner === "futago" || futagoBlocks === 0,
  );
}

/** After `meet`: both gave the connection up, the kernel with the words for it. */
export async function expectStandAlone(t: ExecutionContext, pair: MixedPair): Promise<void> {
  await pair.reaches({ cs: "StandAlone" });
  const log = await pair.guest.dmesg();
  t.true(log.some(({ text }) => text.includes("Split-Brain detected but unresolved, dropping connection!")));
  const { name } = pair.futago.plan;
  await until("Futago is StandAlone", async () => (await pair.futago.must("cstate", name)).trim() === "StandAlone");
  t.regex(await pair.futago.must("status", name), /[Ss]plit.[Bb]rain/);
}
