/**
 * The options of `crm_config` and the meta attributes of resources, one row each: the reader's checks, the defaults
 * and the types derive from these rows. Names are Pacemaker's; heartbeat 2.0 wrote `_` for `-` (heartbeat §18.2).
 */
import { type Milliseconds, ms, seconds } from "../../../core/units.ts";
import { INFINITY } from "./quantities.ts";

interface Row {
  /** Former names, besides the same with `_`. */
  readonly formerly?: readonly string[];
  readonly inPacemaker?: unknown;
}
export interface BooleanOption extends Row {
  readonly kind: "boolean";
  readonly byDefault: boolean;
  /** Where Pacemaker's default is another one. */
  readonly inPacemaker?: boolean;
}
export interface OneOfOption extends Row {
  readonly kind: "oneOf";
  readonly values: readonly string[];
  readonly byDefault: string;
}
export interface ScoreOption extends Row {
  readonly kind: "score";
  readonly byDefault: number;
}
export interface CountOption extends Row {
  readonly kind: "count";
  readonly min: number;
  readonly max: number;
  readonly byDefault: number;
}
export interface TimeOption extends Row {
  readonly kind: "time";
  readonly byDefault: Milliseconds;
}
export interface TextOption extends Row {
  readonly kind: "text";
  readonly byDefault: string;
}
export type CibOption = BooleanOption | OneOfOption | ScoreOption | CountOption | TimeOption | TextOption;
export type CibOptionRows = Readonly<Record<string, CibOption>>;

const yes = { kind: "boolean", byDefault: true } as const;
const no = { kind: "boolean", byDefault: false } as const;
const score = { kind: "score", byDefault: 0 } as const;
const text = { kind: "text", byDefault: "" } as const;
const series = { kind: "count", min: -1, max: 1_000_000, byDefault: -1 } as const;

export const crmOptions = {
  "symmetric-cluster": yes,
  "no-quorum-policy": {
    kind: "oneOf",
    values: ["stop", "freeze", "ignore", "suicide", "demote", "fence"],
    byDefault: "stop",
  },
  /** Pacemaker: `resource-stickiness` of rsc_defaults. */
  "default-resource-stickiness": score,
  "default-resource-failure-stickiness": score,
  /** 0: a resource that failed is restarted where it is, however often. */
  "default-migration-threshold": { kind: "count", min: 0, max: INFINITY, byDefault: 0 },
  "stonith-enabled": { ...no, inPacemaker: true },
  "stonith-action": { kind: "oneOf", values: ["reboot", "off", "poweroff"], byDefault: "reboot" },
  "stonith-timeout": { kind: "time", byDefault: seconds(60) },
  "startup-fencing": yes,
  "stop-orphan-resources": yes,
  "stop-orphan-actions": yes,
  "stop-all-resources": no,
  "maintenance-mode": no,
  "is-managed-default": yes,
  "start-failure-is-fatal": yes,
  "remove-after-stop": no,
  "short-resource-names": yes,
  "transition-idle-timeout": { kind: "time", byDefault: seconds(60) },
  "default-action-timeout": { kind: "time", byDefault: seconds(20) },
  "cluster-delay": { kind: "time", byDefault: seconds(60), formerly: ["transition-delay"] },
  "cluster-recheck-interval": { kind: "time", byDefault: seconds(900) },
  "dc-deadtime": { kind: "time", byDefault: seconds(20), formerly: ["dc_deadtime"] },
  "election-timeout": { kind: "time", byDefault: seconds(120) },
  "shutdown-escalation": { kind: "time", byDefault: seconds(1200) },
  "crmd-integration-timeout": { kind: "time", byDefault: seconds(180) },
  "crmd-finalization-timeout": { kind: "time", byDefault: seconds(1800) },
  "crmd-transition-delay": { kind: "time", byDefault: ms(0) },
  "batch-limit": { kind: "count", min: -1, max: 1_000_000, byDefault: 0 },
  "pe-error-series-max": series,
  "pe-warn-series-max": series,
  "pe-input-series-max": series,
  "have-watchdog": no,
  "stonith-watchdog-timeout": { kind: "time", byDefault: ms(0) },
  "concurrent-fencing": no,
  "cluster-infrastructure": text,
  "cluster-name": text,
  "dc-version": text,
  "expected-quorum-votes": text,
  "last-lrm-refresh": text,
  "node-health-strategy": {
    kind: "oneOf",
    values: ["none", "migrate-on-red", "only-green", "progressive", "custom"],
    byDefault: "none",
  },
  "placement-strategy": {
    kind: "oneOf",
    values: ["default", "utilization", "minimal", "balanced"],
    byDefault: "default",
  },
} as const satisfies CibOptionRows;

/** Meta attributes of primitives, groups and clones, and of rsc_defaults. */
export const metaOptions = {
  "target-role": { kind: "oneOf", values: ["default", "Started", "Stopped", "Master", "Slave"], byDefault: "default" },
  "is-managed": yes,
  /** Where not written, the cluster's. */
  "resource-stickiness": score,
  "resource-failure-stickiness": score,
  /** INFINITY: never moved for its failures. Where not written, the cluster's. */
  "migration-threshold": { kind: "score", byDefault: INFINITY },
  /** 0: failures are never forgotten. */
  "failure-timeout": { kind: "time", byDefault: ms(0) },
  "multiple-active": {
    kind: "oneOf",
    values: ["stop_start", "stop_only", "block", "stop_unexpected"],
    byDefault: "stop_start",
  },
  "restart-type": { kind: "oneOf", values: ["ignore", "restart"], byDefault: "ignore" },
  priority: score,
  "allow-migrate": no,
  ordered: no,
  collocated: yes,
  notify: no,
  interleave: no,
  "globally-unique": no,
  /** -1: as many as there are nodes. */
  "clone-max": { kind: "count", min: -1, max: 10_000, byDefault: -1 },
  "clone-node-max": { kind: "count", min: 0, max: 10_000, byDefault: 1 },
  "master-max": { kind: "count", min: 0, max: 10_000, byDefault: 1, formerly: ["promoted-max"] },
  "master-node-max": { kind: "count", min: 0, max: 10_000, byDefault: 1, formerly: ["promoted-node-max"] },
  promotable: no,
} as const satisfies CibOptionRows;

type OptionValue<R extends CibOption> = R extends { kind: "boolean" }
  ? boolean
  : R extends { kind: "score" | "count" }
    ? number
    : R extends { kind: "time" }
      ? Milliseconds
      : R extends { kind: "oneOf"; values: readonly (infer Value)[] }
        ? Value
        : string;

export type OptionValues<Rows extends CibOptionRows> = { readonly [Name in keyof Rows]: OptionValue<Rows[Name]> };
export type CrmValues = OptionValues<typeof crmOptions>;
export type MetaValues = OptionValues<typeof metaOptions>;

/** The present name of a written one; undefined where no row has it. */
export function presentName<Rows extends CibOptionRows>(
  rows: Rows,
  written: string,
): (keyof Rows & string) | undefined {
  if (Object.hasOwn(rows, written)) return written;
  const dashed = written.replaceAll("_", "-");
  if (Object.hasOwn(rows, dashed)) return dashed;
  for (const [name, row] of Object.entries(rows)) {
    if (row.formerly?.includes(written) === true || row.formerly?.includes(dashed) === true) return name;
  }
  return undefined;
}
