/** Reads the section `<resources>` of cib.xml: primitives, groups, clones, operations (heartbeat §18.2). */
import type {
  CibForm,
  CibOptions,
  Clone,
  Group,
  NvPair,
  NvSet,
  OnFail,
  Operation,
  Parameters,
  Primitive,
  Resource,
  ResourceClass,
} from "./cib.ts";
import { CibElement } from "./cib-element.ts";
import { type MetaValues, metaOptions, presentName } from "./cib-options.ts";
import type { Findings } from "./findings.ts";
import { optionsOf, parametersOf } from "./nv-sets.ts";
import type { XmlElement } from "./xml.ts";

export const resourceClasses: readonly ResourceClass[] = ["ocf", "lsb", "systemd", "service", "heartbeat", "stonith"];
const onFails: readonly OnFail[] = ["ignore", "block", "stop", "restart", "fence", "standby", "demote"];
const requirements = ["nothing", "quorum", "fencing", "unfencing"] as const;
const cloneElements = ["clone", "master", "master_slave"];
const resourceElements = ["primitive", "group", ...cloneElements];
const unsupported = ["template", "bundle"];

/** The LRM's limit on ids. */
const MAX_ID = 64;

/** What is wrong with an id; undefined: nothing. Pacemaker's are those of XML and start with a letter. */
export function judgeId(id: string, form: CibForm): string | undefined {
  if (id.length > MAX_ID) return `an id longer than ${MAX_ID} characters`;
  if (form === "pacemaker" && !/^[A-Za-z_]/.test(id)) return `'${id}' is no id: it starts with a letter`;
  return /^\w[\w.:-]*$/.test(id) ? undefined : `'${id}' is no id: letters, digits and _ - . : only`;
}

/** Meta attributes that heartbeat 2 has as attributes of the element. */
const elementMeta = [
  ...["is_managed", "restart_type", "multiple_active", "resource_stickiness"],
  ...["notify", "globally_unique", "interleave"],
];

export function parseResources(section: CibElement | undefined, form: CibForm, findings: Findings): Resource[] {
  const reader = new ResourceReader(form, findings);
  return (section?.children ?? []).flatMap((child): Resource[] => {
    const element = new CibElement(findings, child);
    if (child.name === "primitive") return [reader.primitive(element)];
    if (child.name === "group") return [reader.group(element)];
    if (cloneElements.includes(child.name)) {
      const clone = reader.clone(element);
      return clone === undefined ? [] : [clone];
    }
    section?.refuseChild(child, resourceElements, unsupported);
    return [];
  });
}

/** The children of a resource by kind. */
interface Parts {
  readonly parameters: NvSet[];
  readonly meta: NvSet[];
  readonly operations: CibElement[];
  readonly resources: XmlElement[];
}

class ResourceReader {
  readonly #form: CibForm;
  readonly #findings: Findings;
  readonly #ids = new Map<string, CibElement>();

  constructor(form: CibForm, findings: Findings) {
    this.#form = form;
    this.#findings = findings;
  }

  primitive(element: CibElement): Primitive {
    const id = this.#id(element);
    const { at } = element;
    const type = element.required("type");
    const written = element.required("class");
    const found = resourceClasses.find((each) => each === written);
    if (found === undefined && written !== "") {
      this.#findings.refuse(`class '${written}' is unknown`, { at, found: written, allowed: resourceClasses });
    }
    const provider = element.text("provider") ?? "";
    if (found === "ocf" && provider === "") {
      this.#findings.refuse(`'${id}' of class ocf without a provider`, { at, allowed: ["heartbeat"] });
    }
    for (const [name, value] of Object.entries({ type, provider })) {
      // They become parts of a path. Some STONITH plugins live in folders: `external/ssh`.
      const isName = (found === "stonith" ? /^(?:[\w-]+\/)?[\w@:+-][\w.@:+-]*$/ : /^[\w@:+-][\w.@:+-]*$/).test(value);
      if (value !== "" && !isName) {
        this.#findings.refuse(`${name} '${value}' is not the name of a program`, { at, found: value });
      }
    }
    const own = this.#elementMeta(element, id);
    element.checkAttributes();
    const parts = this.#parts(element, ["operations", "instance_attributes", "meta_attributes"]);
    const { parameters, meta } = this.#values(parts, own);
    const operations = parts.operations.flatMap((each) => this.#operations(each));
    return { kind: "primitive", id, class: found ?? "ocf", provider, type, parameters, meta, operations, at };
  }

  group(element: CibElement): Group {
    const id = this.#id(element);
    const ordered = element.boolean(true, "ordered");
    const collocated = element.boolean(true, "collocated");
    const own = this.#elementMeta(element, id);
    element.checkAttributes();
    const parts = this.#parts(element, ["primitive", "instance_attributes", "meta_attributes"]);
    const members = parts.resources.map((child) => this.primitive(new CibElement(this.#findings, child)));
    if (members.length === 0) this.#findings.refuse(`group '${id}' is empty`, { at: element.at });
    const { parameters, meta } = this.#values(parts, own);
    return {
      kind: "group",
      id,
      ordered: meta.written.has("ordered") ? meta.values.ordered : ordered,
      collocated: meta.written.has("collocated") ? meta.values.collocated : collocated,
      members,
      parameters,
      meta,
      at: element.at,
    };
  }

  clone(element: CibElement): Clone | undefined {
    const id = this.#id(element);
    const own = this.#elementMeta(element, id);
    element.text("ordered");
    element.checkAttributes();
    const parts = this.#parts(element, ["primitive", "group", "instance_attributes", "meta_attributes"]);
    const [child, another] = parts.resources;
    if (child === undefined || another !== undefined) {
      return this.#findings.refuse(`clone '${id}' must hold exactly one resource`, { at: another?.at ?? element.at });
    }
    const inner = new CibElement(this.#findings, child);
    const resource = child.name === "group" ? this.group(inner) : this.primitive(inner);
    const { parameters, meta } = this.#values(parts, own);
    const isPromotable = element.name !== "clone" || meta.values.promotable;
    return { kind: "clone", id, isPromotable, resource, parameters, meta, at: element.at };
  }

  #id(element: CibElement): string {
    const id = element.required("id");
    const first = this.#ids.get(id);
    if (first !== undefined && id !== "") {
      this.#findings.refuse(`the id '${id}' is used twice`, { at: element.at, first: first.at });
    } else this.#ids.set(id, element);
    const wrong = judgeId(id, this.#form);
    if (wrong !== undefined && id !== "") this.#findings.refuse(wrong, { at: element.at, found: id });
    return id;
  }

  /** What heartbeat 2 writes on the element, as the set it would be in Pacemaker's form. */
  #elementMeta(element: CibElement, id: string): NvSet[] {
    const set = `${id}-meta`;
    const pairs: NvPair[] = elementMeta.flatMap((name) => {
      const value = element.text(name);
      return value === undefined ? [] : [{ id: `${set}-${name}`, name, value, at: element.at }];
    });
    return pairs.length === 0 ? [] : [{ id: set, score: 0, pairs }];
  }

  #parts(element: CibElement, known: readonly string[]): Parts {
    const parts: Parts = { parameters: [], meta: [], operations: [], resources: [] };
    for (const child of element.children) {
      if (child.name === "utilization") this.#findings.warn("<utilization> has no effect here", child.at);
      else if (!known.includes(child.name)) element.refuseChild(child, known, ["template"]);
      else if (child.name === "instance_attributes")
        parts.parameters.push(new CibElement(this.#findings, child).nvSet());
      else if (child.name === "meta_attributes") parts.meta.push(new CibElement(this.#findings, child).nvSet());
      else if (child.name === "operations") parts.operations.push(new CibElement(this.#findings, child));
      else parts.resources.push(child);
    }
    return parts;
  }

  /** heartbeat 2 knows meta attributes among the parameters, with `_` in their names. */
  #values(
    parts: Parts,
    own: readonly NvSet[],
  ): { readonly parameters: Parameters; readonly meta: CibOptions<MetaValues> } {
    const isMeta = ({ name }: NvPair): boolean =>
      this.#form === "heartbeat-2" && name.includes("_") && presentName(metaOptions, name) !== undefined;
    const moved: NvSet[] = [];
    const kept: NvSet[] = [];
    for (const set of parts.parameters) {
      const pairs = set.pairs.filter(isMeta);
      const others = set.pairs.filter((pair) => !isMeta(pair));
      if (pairs.length > 0) moved.push({ ...set, id: others.length > 0 ? `${set.id}-meta` : set.id, pairs });
      if (pairs.length === 0 || others.length > 0) kept.push({ ...set, pairs: others });
    }
    const sets = [...parts.meta, ...moved, ...own];
    const meta = optionsOf(metaOptions, sets, "meta attribute", this.#form, this.#findings);
    return { parameters: parametersOf(kept), meta };
  }

  #operations(element: CibElement): Operation[] {
    element.text("id");
    element.checkAttributes();
    const operations: Operation[] = [];
    for (const child of element.children) {
      if (child.name !== "op") {
        element.refuseChild(child, ["op"]);
        continue;
      }
      const operation = this.#operation(new CibElement(this.#findings, child));
      const first = operations.find(
        ({ name, interval, role }) =>
          name === operation.name && interval === operation.interval && role === operation.role,
      );
      if (first === undefined) operations.push(operation);
      else {
        const text = `operation '${operation.name}' with this interval is written twice`;
        this.#findings.refuse(text, { at: operation.at, first: first.at });
      }
    }
    return operations;
  }

  #operation(element: CibElement): Operation {
    const id = element.text("id") ?? "";
    const name = element.required("name");
    const interval = element.time("interval");
    const timeout = element.time("timeout");
    const startDelay = element.time("start-delay", "start_delay");
    const disabled = element.boolean(false, "disabled");
    const enabled = element.boolean(!disabled, "enabled");
    const role = element.role("role") ?? "Started";
    const onFail = element.oneOf(onFails, "on-fail", "on_fail");
    const requires = element.oneOf(requirements, "requires", "prereq");
    for (const harmless of ["record-pending", "interval-origin"]) element.text(harmless);
    element.checkAttributes();
    const sets: NvSet[] = [];
    for (const child of element.children) {
      const isSet = child.name === "instance_attributes" || child.name === "meta_attributes";
      if (isSet) sets.push(new CibElement(this.#findings, child).nvSet());
      else element.refuseChild(child, ["instance_attributes", "meta_attributes"]);
    }
    const parameters = parametersOf(sets);
    return { id, name, interval, timeout, startDelay, enabled, role, onFail, requires, parameters, at: element.at };
  }
}
