/** `get-gi` and `show-gi` of an attached volume: from the engine, because the disk may lag behind it. */
import { giLine, showGi } from "../core/metadata/show.ts";
import { createdSuperblock, type Superblock } from "../core/metadata/superblock.ts";
import { sector } from "../core/units.ts";
import type { GenerationView } from "../engine/control-interface.ts";
import type { ControlClient } from "./control-client.ts";

/** The engine's view of an attached volume, or undefined while it is diskless. */
export async function generationOf(client: ControlClient, volume: number): Promise<GenerationView | undefined> {
  const reply = await client.request({ verb: "generation", volume });
  if (reply.kind !== "generation") throw new Error(`expected the generation, got ${reply.kind}`);
  return reply.view;
}

function superblockOf(view: GenerationView): Superblock {
  const uuid = (n: number): bigint => BigInt(`0x${view.uuids[n] ?? "0"}`);
  return {
    ...createdSuperblock({ mdSize: 0, alOffset: 0, bmOffset: 0, alStripes: 1, alStripeSize4k: 8 }),
    laSize: sector(view.lastAgreedSectors),
    laPeerMaxBioSize: view.lastAgreedMaxBioBytes,
    current: uuid(0),
    bitmap: uuid(1),
    history1: uuid(2),
    history2: uuid(3),
    flags: view.flags,
  };
}

/** What lies on disk (clean or not, sizes) is left out: drbdsetup ends with the flags too. */
export function generationText(verb: "get-gi" | "show-gi", view: GenerationView): string {
  const superblock = superblockOf(view);
  if (verb === "get-gi") return `${giLine(superblock)}\n`;
  const text = showGi(superblock, false);
  return text.slice(0, text.indexOf("meta-data:"));
}
