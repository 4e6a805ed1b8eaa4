/** Reads the section `<constraints>` of cib.xml: location, order, colocation (heartbeat §18.2). */
import type {
  ColocationConstraint,
  Constraint,
  Expression,
  LocationConstraint,
  OrderAction,
  OrderConstraint,
  Rule,
} from "./cib.ts";
import { CibElement } from "./cib-element.ts";
import type { Findings } from "./findings.ts";
import { INFINITY } from "./quantities.ts";

const constraintElements = ["rsc_location", "rsc_order", "rsc_colocation"];
const orderActions: readonly OrderAction[] = ["start", "stop", "promote", "demote"];
const operations = ["lt", "gt", "lte", "gte", "eq", "ne", "defined", "not_defined"] as const;
const expressionTypes = ["string", "number", "integer", "version"] as const;

/** Constraints that name what is not among `ids` are refused. */
export function parseConstraints(
  section: CibElement | undefined,
  ids: readonly string[],
  findings: Findings,
): Constraint[] {
  const reader = new ConstraintReader(ids, findings);
  return (section?.children ?? []).flatMap((child): Constraint[] => {
    const element = new CibElement(findings, child);
    if (child.name === "rsc_location") return [reader.location(element)];
    if (child.name === "rsc_order") return [reader.order(element)];
    if (child.name === "rsc_colocation") return [reader.colocation(element)];
    section?.refuseChild(child, constraintElements, ["rsc_ticket"]);
    return [];
  });
}

class ConstraintReader {
  readonly #ids: readonly string[];
  readonly #findings: Findings;
  readonly #used = new Map<string, CibElement>();

  constructor(ids: readonly string[], findings: Findings) {
    this.#ids = ids;
    this.#findings = findings;
  }

  location(element: CibElement): LocationConstraint {
    const id = this.#id(element);
    const resource = this.#resource(element, "rsc");
    const node = element.text("node")?.toLowerCase() ?? "";
    const score = element.score(0, "score");
    element.checkAttributes();
    const rules = element.children.flatMap((child) => {
      if (child.name === "rule") return [this.#rule(new CibElement(this.#findings, child))];
      element.refuseChild(child, ["rule"], ["lifetime", "resource_set"]);
      return [];
    });
    if (node === "" && rules.length === 0) {
      this.#findings.warn(`'${id}' names neither a node nor a rule and has no effect`, element.at);
    }
    return { kind: "location", id, resource, node, score, rules, at: element.at };
  }

  #rule(element: CibElement): Rule {
    const id = element.text("id") ?? "";
    const scoreAttribute = element.text("score-attribute", "score_attribute") ?? "";
    const score = element.score(0, "score");
    const role = element.role("role");
    const any = element.oneOf(["and", "or"], "boolean-op", "boolean_op") === "or";
    element.checkAttributes();
    const expressions: Expression[] = [];
    const rules: Rule[] = [];
    for (const child of element.children) {
      const inner = new CibElement(this.#findings, child);
      if (child.name === "expression") expressions.push(this.#expression(inner));
      else if (child.name === "rule") rules.push(this.#rule(inner));
      else element.refuseChild(child, ["expression", "rule"], ["date_expression", "rsc_expression", "op_expression"]);
    }
    return { id, score: scoreAttribute === "" ? score : undefined, scoreAttribute, role, any, expressions, rules };
  }

  #expression(element: CibElement): Expression {
    const id = element.text("id") ?? "";
    const attribute = element.required("attribute");
    const operation = element.oneOf(operations, "operation") ?? "eq";
    if (element.text("operation") === undefined) element.required("operation");
    const written = element.text("value") ?? "";
    const type = element.oneOf(expressionTypes, "type") ?? "string";
    element.checkAttributes();
    // Node names are lower case everywhere.
    const value = attribute === "#uname" ? written.toLowerCase() : written;
    return { id, attribute, operation, value, type: type === "integer" ? "number" : type };
  }

  order(element: CibElement): OrderConstraint {
    return element.text("first") === undefined && element.text("from") !== undefined
      ? this.#orderOfHeartbeat(element)
      : this.#orderOfPacemaker(element);
  }

  /** `action from type to_action to`: "start A after start B". */
  #orderOfHeartbeat(element: CibElement): OrderConstraint {
    const id = this.#id(element);
    const from = this.#resource(element, "from");
    const to = this.#resource(element, "to");
    const action = element.oneOf(orderActions, "action") ?? "start";
    const toAction = element.oneOf(orderActions, "to_action") ?? action;
    const isBefore = element.oneOf(["before", "after"], "type") === "before";
    const score = element.score(INFINITY, "score");
    const symmetrical = element.boolean(true, "symmetrical");
    this.#end(element);
    const sides = isBefore
      ? { before: from, beforeAction: action, after: to, afterAction: toAction }
      : { before: to, beforeAction: toAction, after: from, afterAction: action };
    return { kind: "order", id, ...sides, order: score === 0 ? "Optional" : "Mandatory", symmetrical, at: element.at };
  }

  #orderOfPacemaker(element: CibElement): OrderConstraint {
    const id = this.#id(element);
    const before = this.#resource(element, "first");
    const after = this.#resource(element, "then");
    const beforeAction = element.oneOf(orderActions, "first-action") ?? "start";
    const afterAction = element.oneOf(orderActions, "then-action") ?? beforeAction;
    const kind = element.oneOf(["Mandatory", "Optional", "Serialize"], "kind");
    const score = element.score(INFINITY, "score");
    const order = kind ?? (score === 0 ? "Optional" : "Mandatory");
    const symmetrical = element.boolean(order !== "Serialize", "symmetrical");
    this.#end(element);
    return { kind: "order", id, before, beforeAction, after, afterAction, order, symmetrical, at: element.at };
  }

  colocation(element: CibElement): ColocationConstraint {
    const id = this.#id(element);
    const resource = this.#resource(element, "rsc", "from");
    const other = this.#resource(element, "with-rsc", "to");
    const role = element.role("rsc-role", "from_role");
    const withRole = element.role("with-rsc-role", "to_role");
    const score = element.score(INFINITY, "score");
    if (element.boolean(false, "symmetrical")) {
      this.#findings.warn(`'${id}': a symmetrical colocation is followed in the written direction only`, element.at);
    }
    this.#end(element);
    return { kind: "colocation", id, resource, role, with: other, withRole, score, at: element.at };
  }

  #end(element: CibElement): void {
    element.checkAttributes();
    for (const child of element.children) element.refuseChild(child, [], ["lifetime", "resource_set"]);
  }

  #id(element: CibElement): string {
    const id = element.required("id");
    const first = this.#used.get(id);
    if (first === undefined) this.#used.set(id, element);
    else if (id !== "") this.#findings.refuse(`the id '${id}' is used twice`, { at: element.at, first: first.at });
    return id;
  }

  #resource(element: CibElement, ...names: readonly string[]): string {
    const set = element.children.find((child) => child.name === "resource_set");
    if (set !== undefined) return "";
    const id = element.required(...names);
    if (id !== "" && !this.#ids.includes(id)) {
      const detail = { at: element.at, found: id, allowed: this.#ids };
      this.#findings.refuse(`'${id}' is not a resource`, detail);
    }
    return id;
  }
}
