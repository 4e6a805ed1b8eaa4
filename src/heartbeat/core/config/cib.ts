/**
 * The cluster's configuration as cib.xml holds it, one model for the form of heartbeat 2 (nvpairs inside
 * `<attributes>`, heartbeat §18.2) and that of Pacemaker. `parseCib` makes it, `writeCib` writes it in either form,
 * `haResourcesToCib` makes it from haresources.
 */
import type { Position } from "../../../core/config/source.ts";
import type { Milliseconds } from "../../../core/units.ts";
import type { CrmValues, MetaValues } from "./cib-options.ts";

export type CibForm = "heartbeat-2" | "pacemaker";

export interface NvPair {
  readonly id: string;
  readonly name: string;
  readonly value: string;
  readonly at: Position;
}

/** A set of nvpairs as written. Of several sets the one with the higher score counts first, then the one before. */
export interface NvSet {
  readonly id: string;
  readonly score: number;
  readonly pairs: readonly NvPair[];
}

/** `values`: every option has one, written or not; names of Pacemaker. `written`: the pair that counts. */
export interface CibOptions<Values> {
  readonly values: Values;
  readonly written: ReadonlyMap<keyof Values & string, NvPair>;
  readonly sets: readonly NvSet[];
}

/** Parameters of an agent or attributes of a node: the pair that counts for each name. */
export interface Parameters {
  readonly sets: readonly NvSet[];
  readonly pairs: ReadonlyMap<string, NvPair>;
}

export type ResourceClass = "ocf" | "lsb" | "systemd" | "service" | "heartbeat" | "stonith";
export type Role = "Started" | "Stopped" | "Master" | "Slave";
export type OnFail = "ignore" | "block" | "stop" | "restart" | "fence" | "standby" | "demote";

export interface Operation {
  readonly id: string;
  /** `start`, `stop`, `monitor`, `promote`, `demote`, `notify`, or what the agent knows. */
  readonly name: string;
  /** 0: not repeated. */
  readonly interval: Milliseconds;
  /** 0: not written, the cluster's default counts. */
  readonly timeout: Milliseconds;
  readonly startDelay: Milliseconds;
  readonly enabled: boolean;
  readonly role: Role;
  /** undefined: the default of the operation (`fence` for a stop with STONITH, `block` without, else `restart`). */
  readonly onFail: OnFail | undefined;
  /** `prereq` of heartbeat 2, `requires` of Pacemaker. */
  readonly requires: "nothing" | "quorum" | "fencing" | "unfencing" | undefined;
  readonly parameters: Parameters;
  readonly at: Position;
}

export interface Primitive {
  readonly kind: "primitive";
  readonly id: string;
  readonly class: ResourceClass;
  /** Empty where none is written; counts only for ocf. */
  readonly provider: string;
  readonly type: string;
  readonly parameters: Parameters;
  readonly meta: CibOptions<MetaValues>;
  readonly operations: readonly Operation[];
  readonly at: Position;
}

/** Members are started in this order on one node and stopped in reverse, unless one of the two is switched off. */
export interface Group {
  readonly kind: "group";
  readonly id: string;
  readonly ordered: boolean;
  readonly collocated: boolean;
  readonly members: readonly Primitive[];
  readonly parameters: Parameters;
  readonly meta: CibOptions<MetaValues>;
  readonly at: Position;
}

/** `clone`, `master` and `master_slave`. */
export interface Clone {
  readonly kind: "clone";
  readonly id: string;
  readonly isPromotable: boolean;
  readonly resource: Primitive | Group;
  readonly parameters: Parameters;
  readonly meta: CibOptions<MetaValues>;
  readonly at: Position;
}

export type Resource = Primitive | Group | Clone;

export type ExpressionOperation = "lt" | "gt" | "lte" | "gte" | "eq" | "ne" | "defined" | "not_defined";

export interface Expression {
  readonly id: string;
  /** Of a node: `#uname`, `#id`, `#is_dc`, or one of its attributes, such as pingd's. */
  readonly attribute: string;
  readonly operation: ExpressionOperation;
  readonly value: string;
  readonly type: "string" | "number" | "version";
}

export interface Rule {
  readonly id: string;
  /** undefined where the value of a node attribute is the score. */
  readonly score: number | undefined;
  readonly scoreAttribute: string;
  readonly role: Role | undefined;
  readonly any: boolean;
  readonly expressions: readonly Expression[];
  readonly rules: readonly Rule[];
}

/** Either a score for one node, or rules. */
export interface LocationConstraint {
  readonly kind: "location";
  readonly id: string;
  readonly resource: string;
  /** Empty where rules say it. */
  readonly node: string;
  readonly score: number;
  readonly rules: readonly Rule[];
  readonly at: Position;
}

export type OrderAction = "start" | "stop" | "promote" | "demote";

/** `before` comes first, whichever way it was written. */
export interface OrderConstraint {
  readonly kind: "order";
  readonly id: string;
  readonly before: string;
  readonly beforeAction: OrderAction;
  readonly after: string;
  readonly afterAction: OrderAction;
  /** `Optional` (a score of 0): only where both change at once. */
  readonly order: "Mandatory" | "Optional" | "Serialize";
  readonly symmetrical: boolean;
  readonly at: Position;
}

/** `resource` runs where `with` runs. */
export interface ColocationConstraint {
  readonly kind: "colocation";
  readonly id: string;
  readonly resource: string;
  readonly role: Role | undefined;
  readonly with: string;
  readonly withRole: Role | undefined;
  readonly score: number;
  readonly at: Position;
}

export type Constraint = LocationConstraint | OrderConstraint | ColocationConstraint;

export interface CibNode {
  /** Of heartbeat the UUID, of Corosync a number. */
  readonly id: string;
  /** In lower case. */
  readonly uname: string;
  readonly type: "normal" | "member" | "ping" | "remote";
  readonly parameters: Parameters;
  readonly at: Position;
}

export interface Cib {
  readonly file: string;
  readonly form: CibForm;
  /** The version: compared in this order. */
  readonly adminEpoch: number;
  readonly epoch: number;
  readonly numUpdates: number;
  /** Other attributes of `<cib>`, written back as they are. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly options: CibOptions<CrmValues>;
  readonly nodes: readonly CibNode[];
  readonly resources: readonly Resource[];
  readonly constraints: readonly Constraint[];
  /** `rsc_defaults` and `op_defaults` of Pacemaker. */
  readonly resourceDefaults: CibOptions<MetaValues>;
  readonly operationDefaults: Parameters;
}

/** Every primitive, those inside groups and clones too, in file order. */
export function primitivesOf(resources: readonly Resource[]): Primitive[] {
  return resources.flatMap((resource) => {
    if (resource.kind === "primitive") return [resource];
    return resource.kind === "group" ? resource.members : primitivesOf([resource.resource]);
  });
}
