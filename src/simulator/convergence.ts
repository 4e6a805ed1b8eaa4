/** Oracles of the end: both nodes say that they are one; here is whether it is true. */
import { SECTOR_BYTES } from "../core/units.ts";
import type { Cluster } from "./cluster.ts";
import type { Coverage } from "./coverage.ts";
import type { SimNode } from "./node.ts";

const PAGE = 4096;

export function judgeEnd(cluster: Cluster, coverage: Coverage): void {
  judgeEqual(cluster);
  judgeContents(cluster);
  for (const node of cluster.nodes) judgeBitmap(cluster, node);
  cluster.journal.say("", "check", `the end: ${coverage.unsettled.size} blocks not yet stable`);
}

/** Byte for byte, outside the metadata. */
function judgeEqual(cluster: Cluster): void {
  const [a, b] = cluster.nodes;
  const end = a.stableGeometry().laSize * SECTOR_BYTES;
  for (const page of new Set([...a.data.pages, ...b.data.pages])) {
    if (page * PAGE >= end) continue;
    const left = a.data.page(page, "shown");
    const right = b.data.page(page, "shown");
    for (let n = 0; n < PAGE; n++) {
      if (left[n] === right[n]) continue;
      const sector = page * 8 + Math.floor(n / SECTOR_BYTES);
      return cluster.journal.fail(
        "convergence",
        `sector ${sector} (block ${page}) differs: A ${cluster.found(a, sector)}, B ${cluster.found(b, sector)}; ${cluster.history.describe(sector)}`,
      );
    }
  }
}

/** Nothing is under way: every sector shows the last acknowledged write, or one that was sent later and failed. */
function judgeContents(cluster: Cluster): void {
  for (const node of cluster.nodes) {
    for (const sector of cluster.history.sectors) {
      const found = cluster.found(node, sector);
      if (cluster.history.mayHold(sector, found, true)) continue;
      return cluster.journal.fail(
        "durability",
        `${node.name} ends with ${found} in sector ${sector}; ${cluster.history.describe(sector)}`,
      );
    }
  }
}

/** No bit is left on disk either. */
function judgeBitmap(cluster: Cluster, node: SimNode): void {
  const { geometry } = node.stableGeometry();
  const bits = node.meta.copy(geometry.bmStart * SECTOR_BYTES, geometry.bmSectors * SECTOR_BYTES);
  const at = bits.findIndex((byte) => byte !== 0);
  if (at !== -1)
    cluster.journal.fail("convergence", `the bitmap on the disk of ${node.name} is not clean: bit ${at * 8} or near`);
}
