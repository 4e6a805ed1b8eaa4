/** A run's options, all from its seed: some faults are off entirely, so that the others are seen in every combination. */
import type { Placement } from "../core/metadata/geometry.ts";
import { SimRandom } from "./random.ts";

export const faultKinds = [
  "kill",
  "power",
  "power both",
  "silence",
  "one way silence",
  "reset",
  "refuse",
  "disconnect",
  "switch over",
  "restart",
  "detach",
  "read error",
  "write error",
  "split brain",
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface SimOptions {
  /** Of the data, in bytes. */
  readonly volumeBytes: number;
  readonly placement: Placement["kind"] & ("internal" | "flex-external");
  readonly volatileCache: boolean;
  readonly canDiscard: boolean;
  readonly diskLatency: number;
  readonly slowDisk: number;
  readonly linkLatency: number;
  readonly linkSpread: number;
  readonly window: number;
  readonly segment: number;
  readonly alExtents: number;
  readonly authenticated: boolean;
  readonly useRle: boolean;
  readonly pingInterval: number;
  readonly pingTimeout: number;
  readonly connectInterval: number;
  readonly koCount: number;
  readonly maxEpochSize: number;
  readonly planAhead: number;
  readonly resyncRate: number;
  readonly stallChance: number;
  /** Application requests under way at once. */
  readonly depth: number;
  /** Requests in the whole run. */
  readonly requests: number;
  /** Most sectors of one read or write. */
  readonly sectors: number;
  /** Mean pause of a worker between requests, ms. */
  readonly think: number;
  /** Share of the requests, out of 100. */
  readonly mix: { readonly read: number; readonly flush: number; readonly trim: number; readonly zero: number };
  readonly fuaChance: number;
  /** Places that the workload favours; fewer mean more overlap. */
  readonly hotSpots: number;
  readonly faults: readonly FaultKind[];
  /** Mean pause between faults, ms. */
  readonly faultPause: number;
  /** Length of the safety phase, ms. */
  readonly duration: number;
  /** How likely an unflushed sector survives a power failure. */
  readonly keeps: number;
}

const MIB = 1024 * 1024;
/** Faults that most seeds may have; the rest needs a hand of the operator and is rarer. */
const usual: readonly FaultKind[] = [
  "kill",
  "power",
  "power both",
  "silence",
  "one way silence",
  "reset",
  "refuse",
  "disconnect",
  "switch over",
  "restart",
];

export function optionsFor(seed: number, fixed: Partial<SimOptions> = {}): SimOptions {
  const r = new SimRandom(seed).fork("options");
  const faults = usual.filter(() => r.chance(0.45));
  if (faults.length === 0) faults.push("kill");
  if (r.chance(0.25)) faults.push("detach");
  if (r.chance(0.2)) faults.push("read error");
  if (r.chance(0.2)) faults.push("write error");
  if (r.chance(0.15)) faults.push("split brain");
  return {
    volumeBytes: r.pick([8, 32, 128, 320]) * MIB,
    placement: r.pick(["internal", "internal", "flex-external"]),
    volatileCache: r.chance(0.75),
    canDiscard: r.chance(0.5),
    diskLatency: r.pick([0.1, 0.3, 2]),
    slowDisk: r.pick([0, 0.002, 0.02]),
    linkLatency: r.pick([0.05, 0.3, 5]),
    linkSpread: r.pick([0.1, 1, 10]),
    window: r.pick([64 * 1024, 256 * 1024, 4 * MIB]),
    segment: r.pick([1448, 16384, 65536]),
    alExtents: r.pick([3, 5, 16, 67]),
    authenticated: r.chance(0.3),
    useRle: r.chance(0.5),
    pingInterval: r.pick([1000, 3000, 10_000]),
    pingTimeout: r.pick([200, 500]),
    connectInterval: r.pick([1000, 3000, 10_000]),
    koCount: r.pick([0, 2, 7]),
    maxEpochSize: r.pick([3, 64, 2048]),
    planAhead: r.pick([0, 20]),
    resyncRate: r.pick([4096, 40_960]),
    stallChance: r.pick([0, 0, 0.001]),
    depth: r.pick([1, 4, 16]),
    requests: r.pick([500, 1000, 2000]),
    sectors: r.pick([8, 16, 128]),
    think: r.pick([0, 2, 20]),
    mix: { read: r.pick([5, 30]), flush: r.pick([0, 3, 10]), trim: r.pick([0, 3]), zero: r.pick([0, 3]) },
    fuaChance: r.pick([0, 0.05, 0.3]),
    hotSpots: r.pick([1, 4, 20]),
    faults,
    faultPause: r.pick([400, 1500, 5000]),
    duration: r.pick([10_000, 20_000]),
    keeps: r.pick([0, 0.5, 0.9, 1]),
    ...fixed,
  };
}
