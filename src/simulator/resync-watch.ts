/**
 * Oracle: a resync asks for nothing but what was named. Named is what either bitmap showed when the two were exchanged (the activity log of a
 * crashed Primary is in them by then), and what the application has written since the two nodes connected.
 */
import { NO_BIT } from "../core/metadata/bitmap.ts";
import { BYTES_PER_BIT, bit } from "../core/units.ts";
import { packets } from "../core/wire/packets.ts";
import type { Cluster } from "./cluster.ts";
import type { Wire } from "./wire.ts";

export function watchResync(cluster: Cluster, wire: Wire): void {
  const named = new Set<number>();
  const { written } = cluster.share;
  let before = new Set<number>();
  let connection = -1;
  wire.onPacket = (command, number) => {
    if (number !== connection && command === packets.P_PROTOCOL.code) {
      connection = number;
      named.clear();
      // Requests that were under way when the nodes connected are sent, or said to be out of sync, after that.
      before = new Set(written);
      written.clear();
    }
    if (command !== packets.P_BITMAP.code && command !== packets.P_COMPRESSED_BITMAP.code) return;
    for (const node of cluster.nodes) {
      const bitmap = node.process?.volume.bitmap;
      if (bitmap === undefined) continue;
      for (let block = bitmap.nextSet(bit(0)); block !== NO_BIT; block = bitmap.nextSet(bit(block + 1)))
        named.add(block);
    }
  };
  wire.onResyncRequest = (who, at, length) => {
    const end = Math.ceil((at + length) / BYTES_PER_BIT);
    for (let block = Math.floor(at / BYTES_PER_BIT); block < end; block++) {
      if (named.has(block) || written.has(block) || before.has(block)) continue;
      cluster.journal.fail("resync", `${who} asks for bytes ${at}+${length}: block ${block} was not named`);
      return;
    }
  };
}
