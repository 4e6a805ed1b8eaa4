/**
 * Oracle: whatever a power failure of both nodes could leave different on the two disks is named on a disk: its bit is set there, or its 4 MiB
 * extent is active in the activity log there (architecture, "What a write means"). Looks at stable contents only.
 */
import { replayActivityLog } from "../core/metadata/activity-log.ts";
import { BITS_PER_AL_EXTENT, SECTOR_BYTES } from "../core/units.ts";
import type { Cluster } from "./cluster.ts";
import type { SimNode } from "./node.ts";

const PAGE = 4096;
const BITS_PER_BYTE = 8;

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true;
  const left = new Uint32Array(a.buffer, a.byteOffset, PAGE / 4);
  const right = new Uint32Array(b.buffer, b.byteOffset, PAGE / 4);
  for (let n = 0; n < left.length; n++) if (left[n] !== right[n]) return false;
  return true;
}

/** What the metadata of one disk names, as a power failure would leave it. */
interface Named {
  readonly bits: Uint8Array;
  readonly extents: ReadonlySet<number>;
}

export class Coverage {
  readonly #cluster: Cluster;
  /** Pages, one per bit, that are not the same in every generation of both disks. */
  readonly #unsettled = new Set<number>();
  readonly #dataPages: number;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    const [first] = cluster.nodes;
    this.#dataPages = first.stableGeometry().laSize / (PAGE / SECTOR_BYTES);
  }

  /** Blocks that differ now, in any generation. */
  get unsettled(): ReadonlySet<number> {
    this.#update();
    return this.#unsettled;
  }

  check(): void {
    this.#update();
    const { journal, victim, nodes } = this.#cluster;
    // Two Primaries on purpose: nobody can name what the other does.
    if (victim !== undefined || this.#unsettled.size === 0) return;
    const named = nodes.map(namedBy);
    for (const page of this.#unsettled) {
      const extent = Math.floor(page / BITS_PER_AL_EXTENT);
      if (named.some(({ bits, extents }) => extents.has(extent) || isSet(bits, page))) continue;
      journal.fail("covered", `block ${page} may differ and is named on no disk: ${this.#describe(page)}`);
      return;
    }
    journal.say("", "check", `covered: ${this.#unsettled.size} blocks`);
  }

  #update(): void {
    const [a, b] = this.#cluster.nodes;
    const touched = new Set([...a.data.touched, ...b.data.touched]);
    a.data.touched.clear();
    b.data.touched.clear();
    for (const page of touched) {
      if (page >= this.#dataPages) continue;
      const shown = a.data.page(page, "shown");
      const settled =
        same(shown, b.data.page(page, "shown")) &&
        same(shown, a.data.page(page, "stable")) &&
        same(shown, b.data.page(page, "stable"));
      if (settled) this.#unsettled.delete(page);
      else this.#unsettled.add(page);
    }
  }

  #describe(page: number): string {
    const cluster = this.#cluster;
    const texts: string[] = [];
    for (let sector = page * 8; sector < page * 8 + 8; sector++) {
      const found = cluster.nodes.map((node) => cluster.found(node, sector));
      if (found[0] !== found[1]) texts.push(`sector ${sector} A ${found[0]} B ${found[1]}`);
    }
    return texts.length === 0 ? "equal, but not stable on both" : texts.join(", ");
  }
}

const isSet = (bits: Uint8Array, n: number): boolean =>
  ((bits[Math.floor(n / BITS_PER_BYTE)] ?? 0) & (1 << (n % BITS_PER_BYTE))) !== 0;

/** Reads a node's bitmap and activity log from the stable generation of its disk. */
export function namedBy(node: SimNode): Named {
  const { geometry } = node.stableGeometry();
  const bits = node.meta.copy(geometry.bmStart * SECTOR_BYTES, geometry.bmSectors * SECTOR_BYTES, "stable");
  const log = node.meta.copy(geometry.alStart * SECTOR_BYTES, geometry.alSectors * SECTOR_BYTES, "stable");
  return { bits, extents: new Set(replayActivityLog(log).extents) };
}
