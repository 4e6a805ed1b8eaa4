/** Writes cib.xml from the model, in the form of heartbeat 2 or in Pacemaker's (heartbeat §18.2). */
import type { Milliseconds } from "../../../core/units.ts";
import type {
  Cib,
  CibForm,
  CibNode,
  Clone,
  ColocationConstraint,
  Constraint,
  Group,
  LocationConstraint,
  NvSet,
  Operation,
  OrderConstraint,
  Primitive,
  Resource,
  Rule,
} from "./cib.ts";
import { metaOptions, presentName } from "./cib-options.ts";
import { showScore } from "./quantities.ts";
import { node, writeXml, type XmlNode } from "./xml.ts";

/**
 * The file's text. Reading it gives the same model, but for places. In the other form than that of `cib` the schema
 * named in the file is that form's, and names of meta attributes change between `-` and `_`.
 */
export function writeCib(cib: Cib, form: CibForm = cib.form): string {
  return writeXml(new CibWriter(form).cib(cib));
}

const maybe = (text: string): string | undefined => (text === "" ? undefined : text);

/** In seconds where it is a whole number of them. */
const showTime = (time: Milliseconds): string => (time % 1000 === 0 ? `${time / 1000}s` : `${time}ms`);

class CibWriter {
  readonly #form: CibForm;

  constructor(form: CibForm) {
    this.#form = form;
  }

  get #isPacemaker(): boolean {
    return this.#form === "pacemaker";
  }

  cib(cib: Cib): XmlNode {
    const attributes: Record<string, string> = {};
    for (const [name, value] of cib.attributes) {
      if (name !== "validate-with" || cib.form === this.#form) attributes[name] = value;
    }
    if (this.#isPacemaker && cib.form !== this.#form) attributes["validate-with"] = "pacemaker-1.2";
    attributes["admin_epoch"] = `${cib.adminEpoch}`;
    attributes["epoch"] = `${cib.epoch}`;
    attributes["num_updates"] = `${cib.numUpdates}`;
    const sections = [
      node("crm_config", {}, this.#sets("cluster_property_set", cib.options.sets)),
      node(
        "nodes",
        {},
        cib.nodes.map((each) => this.#node(each)),
      ),
      node(
        "resources",
        {},
        cib.resources.map((each) => this.#resource(each)),
      ),
      node(
        "constraints",
        {},
        cib.constraints.map((each) => this.#constraint(each)),
      ),
    ];
    // heartbeat 2 has no such sections; nothing is lost by writing them.
    const resourceDefaults = this.#sets("meta_attributes", cib.resourceDefaults.sets);
    if (resourceDefaults.length > 0) sections.push(node("rsc_defaults", {}, resourceDefaults));
    const operationDefaults = this.#sets("meta_attributes", cib.operationDefaults.sets);
    if (operationDefaults.length > 0) sections.push(node("op_defaults", {}, operationDefaults));
    return node("cib", attributes, [node("configuration", {}, sections), node("status")]);
  }

  #sets(name: string, sets: readonly NvSet[]): XmlNode[] {
    const implied = name === "cluster_property_set" ? "cib-bootstrap-options" : "";
    return sets.map((set) => {
      const pairs = set.pairs.map((pair) =>
        node("nvpair", { id: maybe(pair.id), name: this.#nameOf(name, pair.name), value: pair.value }),
      );
      const score = set.score === 0 || set.id === implied ? undefined : showScore(set.score);
      return node(name, { id: set.id, score }, this.#isPacemaker ? pairs : [node("attributes", {}, pairs)]);
    });
  }

  /** Meta attributes have `_` in one form and `-` in the other. */
  #nameOf(set: string, name: string): string {
    const present = set === "meta_attributes" ? presentName(metaOptions, name) : undefined;
    if (present === undefined) return name;
    return this.#isPacemaker ? name.replaceAll("_", "-") : name.replaceAll("-", "_");
  }

  #node({ id, uname, type, parameters }: CibNode): XmlNode {
    const written = this.#isPacemaker && type === "normal" ? undefined : type;
    return node("node", { id, uname, type: written }, this.#sets("instance_attributes", parameters.sets));
  }

  #resource(resource: Resource): XmlNode {
    switch (resource.kind) {
      case "primitive":
        return this.#primitive(resource);
      case "group":
        return this.#group(resource);
      case "clone":
        return this.#clone(resource);
      default:
        return resource satisfies never;
    }
  }

  #primitive({ id, class: found, provider, type, operations, parameters, meta }: Primitive): XmlNode {
    const isNeeded = !this.#isPacemaker || found === "ocf";
    const attributes = { id, class: found, type, provider: isNeeded ? maybe(provider) : undefined };
    const children: XmlNode[] = [];
    if (operations.length > 0)
      children.push(
        node(
          "operations",
          {},
          operations.map((each) => this.#operation(each)),
        ),
      );
    children.push(...this.#sets("meta_attributes", meta.sets), ...this.#sets("instance_attributes", parameters.sets));
    return node("primitive", attributes, children);
  }

  #group({ id, ordered, collocated, members, parameters, meta }: Group): XmlNode {
    const isSaid = (name: "ordered" | "collocated"): boolean => meta.written.has(name);
    // Pacemaker has no such attributes: there they are meta attributes.
    const attributes: Record<string, string | undefined> = { id };
    const said: [string, string][] = [];
    for (const [name, value] of Object.entries({ ordered, collocated }) as ["ordered" | "collocated", boolean][]) {
      if (value || isSaid(name)) continue;
      if (this.#isPacemaker) said.push([name, "false"]);
      else attributes[name] = "false";
    }
    const added = said.map(([name, value]) => node("nvpair", { id: `${id}-said-${name}`, name, value }));
    return node("group", attributes, [
      ...(added.length > 0 ? [node("meta_attributes", { id: `${id}-said` }, added)] : []),
      ...this.#sets("meta_attributes", meta.sets),
      ...this.#sets("instance_attributes", parameters.sets),
      ...members.map((member) => this.#primitive(member)),
    ]);
  }

  #clone({ id, isPromotable, resource, parameters, meta }: Clone): XmlNode {
    const promotable = this.#isPacemaker ? "master" : "master_slave";
    return node(isPromotable && !meta.written.has("promotable") ? promotable : "clone", { id }, [
      ...this.#sets("meta_attributes", meta.sets),
      ...this.#sets("instance_attributes", parameters.sets),
      this.#resource(resource),
    ]);
  }

  #operation(operation: Operation): XmlNode {
    const { id, name, interval, timeout, startDelay, enabled, role, onFail, requires, parameters } = operation;
    const dash = this.#isPacemaker ? "-" : "_";
    const attributes: Record<string, string | undefined> = {
      id: maybe(id),
      name,
      interval: showTime(interval),
      timeout: timeout > 0 ? showTime(timeout) : undefined,
      [`start${dash}delay`]: startDelay > 0 ? showTime(startDelay) : undefined,
      [this.#isPacemaker ? "enabled" : "disabled"]: enabled ? undefined : `${!this.#isPacemaker}`,
      role: role === "Started" ? undefined : role,
      [`on${dash}fail`]: onFail,
      [this.#isPacemaker ? "requires" : "prereq"]: requires,
    };
    return node("op", attributes, this.#sets("instance_attributes", parameters.sets));
  }

  #constraint(constraint: Constraint): XmlNode {
    switch (constraint.kind) {
      case "location":
        return this.#location(constraint);
      case "order":
        return this.#order(constraint);
      case "colocation":
        return this.#colocation(constraint);
      default:
        return constraint satisfies never;
    }
  }

  #location({ id, resource, node: host, score, rules }: LocationConstraint): XmlNode {
    const written = host === "" && score === 0 ? undefined : showScore(score);
    const attributes = { id, rsc: resource, node: maybe(host), score: written };
    return node(
      "rsc_location",
      attributes,
      rules.map((rule) => this.#rule(rule)),
    );
  }

  #rule({ id, score, scoreAttribute, role, any, expressions, rules }: Rule): XmlNode {
    const dash = this.#isPacemaker ? "-" : "_";
    const attributes = {
      id: maybe(id),
      role,
      score: score === undefined ? undefined : showScore(score),
      [`score${dash}attribute`]: maybe(scoreAttribute),
      [`boolean${dash}op`]: any ? "or" : undefined,
    };
    const tests = expressions.map((each) =>
      node("expression", {
        id: maybe(each.id),
        attribute: each.attribute,
        operation: each.operation,
        value: each.operation.endsWith("defined") ? maybe(each.value) : each.value,
        type: each.type === "string" ? undefined : each.type,
      }),
    );
    return node("rule", attributes, [...tests, ...rules.map((inner) => this.#rule(inner))]);
  }

  #order({ id, before, beforeAction, after, afterAction, order, symmetrical }: OrderConstraint): XmlNode {
    const isOptional = order !== "Mandatory";
    if (this.#isPacemaker) {
      return node("rsc_order", {
        ...{ id, first: before, "first-action": beforeAction },
        // biome-ignore lint/suspicious/noThenProperty: the attribute's name in cib.xml.
        ...{ then: after, "then-action": afterAction },
        ...{ kind: isOptional ? order : undefined, symmetrical: `${symmetrical}` },
      });
    }
    return node("rsc_order", {
      ...{ id, from: before, action: beforeAction, type: "before", to: after, to_action: afterAction },
      ...{ score: isOptional ? "0" : undefined, symmetrical: `${symmetrical}` },
    });
  }

  #colocation({ id, resource, role, with: other, withRole, score }: ColocationConstraint): XmlNode {
    const written = showScore(score);
    return this.#isPacemaker
      ? node("rsc_colocation", {
          ...{ id, rsc: resource, "rsc-role": role, "with-rsc": other, "with-rsc-role": withRole, score: written },
        })
      : node("rsc_colocation", { id, from: resource, from_role: role, to: other, to_role: withRole, score: written });
  }
}
