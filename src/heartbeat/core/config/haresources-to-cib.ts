/**
 * What haresources2cib makes of haresources (heartbeat §18.3): the same ids and order, with netmask and interface of an
 * address under their own names, which the original exchanged. Used at the first start in cib mode too.
 */
import type { ConfigError, ConfigWarning, Position } from "../../../core/config/source.ts";
import { ms, seconds } from "../../../core/units.ts";
import { parseServiceAddress, type ServiceAddress } from "./addresses.ts";
import { agentRow, slow } from "./agents.ts";
import type {
  Cib,
  Clone,
  Constraint,
  Group,
  LocationConstraint,
  NvSet,
  Operation,
  OrderAction,
  Primitive,
  Resource,
} from "./cib.ts";
import { crmOptions, metaOptions } from "./cib-options.ts";
import { Findings } from "./findings.ts";
import type { StonithHost } from "./ha-cf.ts";
import type { HaConstraint, HaResource, HaResourceGroup, HaResources } from "./haresources.ts";
import { noParameters, nvSet, optionsOf, parametersOf } from "./nv-sets.ts";
import { judgeId } from "./parse-cib-resources.ts";
import { parseScore } from "./quantities.ts";
import type { Word } from "./words.ts";

export interface ConversionChoices {
  /** Number of nodes of ha.cf: a clone runs on each. */
  readonly nodeCount: number;
  readonly stonithHosts: readonly StonithHost[];
  /** Whether a script `type` is in /etc/ha.d/resource.d, in /etc/init.d, or a unit of systemd. */
  readonly hasScript: (place: "heartbeat" | "lsb" | "systemd", type: string) => boolean;
  /** Names of the parameters of a STONITH plugin in order (`stonith -n -t TYPE`); undefined: no such plugin. */
  readonly stonithParameters: (type: string) => readonly string[] | undefined;
  /** Without: agents of the table are looked up as scripts (`--no-ocf`). */
  readonly withOcf?: boolean;
  /** Without: no monitor operations (`--no-monitor`). */
  readonly withMonitor?: boolean;
}

export type ConversionResult =
  | { readonly cib: Cib; readonly warnings: readonly ConfigWarning[] }
  | { readonly errors: readonly ConfigError[] };

/** The cluster's options in the file it writes, in this order. */
const writtenOptions = [
  ["symmetric-cluster", "true"],
  ["no-quorum-policy", "stop"],
  ["default-resource-stickiness", "0"],
  ["default-resource-failure-stickiness", "0"],
  ["stonith-enabled", "false"],
  ["stonith-action", "reboot"],
  ["startup-fencing", "true"],
  ["stop-orphan-resources", "true"],
  ["stop-orphan-actions", "true"],
  ["remove-after-stop", "false"],
  ["short-resource-names", "true"],
  ["transition-idle-timeout", "5min"],
  ["default-action-timeout", "20s"],
  ["is-managed-default", "true"],
  ["cluster-delay", "60s"],
  ["pe-error-series-max", "-1"],
  ["pe-warn-series-max", "-1"],
  ["pe-input-series-max", "-1"],
] as const;

/** Groups that cannot be told apart, unknown plugins and bad constraints are refused. */
export function haResourcesToCib(source: HaResources, choices: ConversionChoices): ConversionResult {
  const findings = new Findings();
  const start: Position = { file: source.file, line: 1, column: 1 };
  const converter = new Converter(choices, findings);
  for (const group of source.groups) converter.group(group);
  for (const constraint of source.constraints) converter.constraint(constraint);
  for (const host of choices.stonithHosts) converter.stonith(host);
  const { resources, constraints } = converter;
  const options = writtenOptions.map(([name, value]) =>
    name === "stonith-enabled" && choices.stonithHosts.length > 0
      ? ([name, "true"] as const)
      : ([name, value] as const),
  );
  const set: NvSet = { ...nvSet("cib-bootstrap-options", options, start), score: 1_000_000 };
  const cib: Cib = {
    file: source.file,
    form: "heartbeat-2",
    adminEpoch: 0,
    epoch: 0,
    numUpdates: 0,
    attributes: new Map(),
    options: optionsOf(crmOptions, [set], "option", "heartbeat-2", findings),
    nodes: [],
    resources,
    constraints,
    resourceDefaults: optionsOf(metaOptions, [], "default", "heartbeat-2", findings),
    operationDefaults: noParameters,
  };
  if (findings.errors.length > 0) return { errors: findings.errors };
  return { cib, warnings: findings.warnings };
}

class Converter {
  readonly resources: Resource[] = [];
  readonly constraints: Constraint[] = [];
  readonly #choices: ConversionChoices;
  readonly #findings: Findings;
  readonly #ids = new Map<string, Position>();
  /** Number of the next single resource, and of the next group: the original counts them apart. */
  #single = 1;
  #group = 1;

  constructor(choices: ConversionChoices, findings: Findings) {
    this.#choices = choices;
    this.#findings = findings;
  }

  group({ node, resources, label, at }: HaResourceGroup): void {
    const [first] = resources;
    if (first === undefined) return;
    if (label.startsWith("clone:")) {
      this.resources.push(this.#clone(label.slice("clone:".length), this.#group, first, at));
      this.#group += 10;
      this.#single += 1;
    } else if (resources.length === 1) {
      const primitive = this.#primitive(first, this.#single, label);
      this.resources.push(primitive);
      this.constraints.push(this.#location(primitive.id, node, at));
      this.#single += 1;
    } else {
      const id = this.#take(label === "" ? `group_${this.#group}` : label, at);
      const members = resources.map((each, index) => this.#primitive(each, this.#group + index, ""));
      const group = { kind: "group", id, ordered: true, collocated: true, members } as const;
      this.resources.push({ ...group, parameters: noParameters, meta: this.#noMeta(), at } satisfies Group);
      this.constraints.push(this.#location(id, node, at));
      this.#group += 10;
      this.#single += resources.length + 1;
    }
  }

  /** An id may be used once: the original would write a file that the cluster refuses. */
  #take(id: string, at: Position): string {
    const first = this.#ids.get(id);
    const wrong = judgeId(id, "heartbeat-2");
    if (wrong !== undefined) this.#findings.refuse(wrong, { at, found: id });
    if (first === undefined) this.#ids.set(id, at);
    else {
      const text = `the id '${id}' would be used twice: name one of the two with '#NAME' at the end of its line`;
      this.#findings.refuse(text, { at, first });
    }
    return id;
  }

  #noMeta(): Primitive["meta"] {
    return optionsOf(metaOptions, [], "meta attribute", "heartbeat-2", this.#findings);
  }

  #primitive(resource: HaResource, index: number, label: string): Primitive {
    const { script: type, args, at } = resource;
    const address = type.startsWith("IPaddr") ? parseServiceAddress(args[0] ?? "") : undefined;
    const generated = type === "IPaddr" && address !== undefined ? address.ip.replaceAll(".", "_") : `${index}`;
    const id = this.#take(label === "" ? `${type}_${generated}` : label, at);
    const row = this.#choices.withOcf === false ? undefined : agentRow(type);
    const pairs =
      row === undefined
        ? byNumber(args)
        : address === undefined
          ? byPosition(args, row.parameters)
          : ofAddress(address);
    const { interval, timeout } = row ?? slow;
    const monitor = this.#operation(`${id}_mon`, "monitor", interval, timeout, undefined, at);
    const sets: NvSet[] =
      pairs.length === 0
        ? []
        : [
            {
              id: `${id}_inst_attr`,
              score: 0,
              pairs: pairs.map(([place, name, value]) => ({ id: `${id}_attr_${place}`, name, value, at })),
            },
          ];
    return {
      kind: "primitive",
      id,
      class: row === undefined ? this.#class(type, at) : "ocf",
      provider: "heartbeat",
      type,
      parameters: parametersOf(sets),
      meta: this.#noMeta(),
      operations: this.#choices.withMonitor === false ? [] : [monitor],
      at,
    };
  }

  #operation(
    id: string,
    name: string,
    interval: Operation["interval"],
    timeout: Operation["timeout"],
    requires: Operation["requires"],
    at: Position,
  ): Operation {
    const rest = { startDelay: ms(0), enabled: true, role: "Started", onFail: undefined } as const;
    return { id, name, interval, timeout, requires, ...rest, parameters: noParameters, at };
  }

  /** The original writes `UNKNOWN` for a script it does not find, and the cluster refuses the file. */
  #class(type: string, at: Position): Primitive["class"] {
    const { hasScript } = this.#choices;
    // Built in: it promotes the volume itself.
    if (type === "drbddisk" || hasScript("heartbeat", type)) return "heartbeat";
    if (hasScript("lsb", type)) return "lsb";
    if (hasScript("systemd", type)) return "systemd";
    this.#findings.warn(`'${type}' is found nowhere on this node and is written as class lsb`, at);
    return "lsb";
  }

  #clone(label: string, index: number, first: HaResource, at: Position): Clone {
    const id = this.#take(label === "" ? `clone_${index}` : label, at);
    return this.#cloneOf(id, this.#primitive(first, index, ""), at);
  }

  #cloneOf(id: string, resource: Primitive, at: Position): Clone {
    const { nodeCount } = this.#choices;
    const pairs = [
      { id: `${id}_attr_1`, name: "clone_max", value: `${nodeCount}`, at },
      { id: `${id}_attr_2`, name: "clone_node_max", value: "1", at },
    ];
    const sets = [{ id: `${id}_inst_attr`, score: 0, pairs }];
    const meta = optionsOf(metaOptions, sets, "meta attribute", "heartbeat-2", this.#findings);
    return { kind: "clone", id, isPromotable: false, resource, parameters: noParameters, meta, at };
  }

  #location(resource: string, node: string, at: Position): LocationConstraint {
    const id = `rsc_location_${resource}`;
    // Spelt as the original spells it.
    const rule = `prefered_location_${resource}`;
    const expression = { attribute: "#uname", operation: "eq", value: node, type: "string" } as const;
    const rules = [
      {
        ...{ id: rule, score: 100, scoreAttribute: "", role: undefined, any: false, rules: [] },
        expressions: [{ id: `${rule}_expr`, ...expression }],
      },
    ];
    return { kind: "location", id, resource, node: "", score: 0, rules, at };
  }

  constraint({ kind, words, at }: HaConstraint): void {
    const [one, two, three, four] = words;
    if (one === undefined || two === undefined || three === undefined) return;
    if (kind === "rsc_order") {
      if (four !== undefined) this.#order(one, two, three, four, at);
      return;
    }
    this.#known(one);
    this.#known(two);
    const score = parseScore(three.text);
    if (score === undefined) return this.#findings.refuse(`'${three.text}' is not a score`, { at: three.at });
    const id = `rsc_colocation_${one.text}_${two.text}`;
    const roles = { role: undefined, withRole: undefined };
    this.constraints.push({ kind: "colocation", id, resource: one.text, with: two.text, ...roles, score, at });
  }

  #order(from: Word, action: Word, type: Word, to: Word, at: Position): void {
    this.#known(from);
    this.#known(to);
    if (!isOrderAction(action.text)) {
      const detail = { at: action.at, found: action.text, allowed: orderActions };
      return this.#findings.refuse(`'${action.text}' is no action`, detail);
    }
    if (type.text !== "before" && type.text !== "after") {
      const detail = { at: type.at, found: type.text, allowed: ["before", "after"] };
      return this.#findings.refuse(`'${type.text}' is no order`, detail);
    }
    const sides =
      type.text === "before" ? { before: from.text, after: to.text } : { before: to.text, after: from.text };
    const actions = { beforeAction: action.text, afterAction: action.text };
    const id = `rsc_order_${from.text}_${to.text}`;
    this.constraints.push({ kind: "order", id, ...sides, ...actions, order: "Mandatory", symmetrical: true, at });
  }

  #known({ text, at }: Word): void {
    if (this.#ids.has(text)) return;
    this.#findings.refuse(`'${text}' is not a resource`, { at, found: text, allowed: [...this.#ids.keys()] });
  }

  stonith({ host, type, parameters, at }: StonithHost): void {
    const names = this.#choices.stonithParameters(type);
    const values = parameters.split(/[ \t]+/).filter((each) => each !== "");
    if (names === undefined || values.length > names.length) {
      const text = names === undefined ? "is unknown" : `takes ${names.length} parameters, not ${values.length}`;
      return this.#findings.refuse(`STONITH plugin '${type}' ${text}`, { at });
    }
    const index = this.#single++;
    const id = this.#take(`stonith_${index}`, at);
    const pairs = values.map((value, place) => ({
      id: `${id}_attr_${place + 2}`,
      name: names[place] ?? "",
      value,
      at,
    }));
    const sets = pairs.length === 0 ? [] : [{ id: `${id}_inst_attr`, score: 0, pairs }];
    const primitive: Primitive = {
      ...{ kind: "primitive", id, class: "stonith", provider: "heartbeat", type },
      ...{ parameters: parametersOf(sets), meta: this.#noMeta(), at },
      operations:
        this.#choices.withMonitor === false
          ? []
          : [
              this.#operation(`${id}_mon`, "monitor", seconds(5), seconds(20), "nothing", at),
              this.#operation(`${id}_start`, "start", ms(0), seconds(20), "nothing", at),
            ],
    };
    if (host === "*") this.resources.push(this.#cloneOf(this.#take(`clone_${index}`, at), primitive, at));
    else {
      this.resources.push(primitive);
      this.constraints.push(this.#location(id, host, at));
    }
  }
}

const orderActions: readonly OrderAction[] = ["start", "stop", "promote", "demote"];
const isOrderAction = (text: string): text is OrderAction => orderActions.some((each) => each === text);

/** Place in the id, name, value. */
type Placed = readonly [number, string, string];

const byNumber = (args: readonly string[]): Placed[] => args.map((value, index) => [index + 1, `${index + 1}`, value]);

/** Words beyond the last known parameter belong to it. */
function byPosition(args: readonly string[], names: readonly string[]): Placed[] {
  return names.flatMap((name, index): Placed[] => {
    const value = index === names.length - 1 ? args.slice(index).join(" ") : (args[index] ?? "");
    return value === "" ? [] : [[index, name, value]];
  });
}

function ofAddress({ ip, nic, prefix, broadcast, label }: ServiceAddress): Placed[] {
  const values = [ip, nic, prefix < 0 ? "" : `${prefix}`, broadcast, label];
  return byPosition(values, ["ip", "nic", "cidr_netmask", "broadcast", "iflabel"]);
}
