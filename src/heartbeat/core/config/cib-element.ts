/** Reads the attributes and nvpair sets of one element of cib.xml, with the refusals they need. */
import type { ConfigErrorDetail, Position } from "../../../core/config/source.ts";
import type { Milliseconds } from "../../../core/units.ts";
import { ms } from "../../../core/units.ts";
import type { NvPair, NvSet, Role } from "./cib.ts";
import type { Findings } from "./findings.ts";
import { roleAliases, scoreForms } from "./nv-sets.ts";
import { booleanWords, cibTimeForms, parseBoolean, parseCibTime, parseScore } from "./quantities.ts";
import type { XmlElement } from "./xml.ts";

const roles: readonly Role[] = ["Started", "Stopped", "Master", "Slave"];

/** Attributes that mean nothing here and are no mistake. */
const harmless = ["description", "crm-debug-origin", "generated", "$id", "__crm_diff_marker__"];

export class CibElement {
  readonly #findings: Findings;
  readonly #element: XmlElement;
  readonly #read = new Set<string>(harmless);

  constructor(findings: Findings, element: XmlElement) {
    this.#findings = findings;
    this.#element = element;
    for (const { text, at } of element.text) {
      findings.warn(`text '${shortened(text)}' in <${element.name}> is ignored`, at);
    }
  }

  get at(): Position {
    return this.#element.at;
  }

  get name(): string {
    return this.#element.name;
  }

  get children(): readonly XmlElement[] {
    return this.#element.children;
  }

  /** The value under the first of `names` that is written; undefined where none is. */
  text(...names: readonly string[]): string | undefined {
    for (const name of names) this.#read.add(name);
    for (const name of names) {
      const attribute = this.#element.attributes.get(name);
      if (attribute !== undefined) return attribute.value;
    }
    return undefined;
  }

  /** Empty after a refusal. */
  required(...names: readonly string[]): string {
    const found = this.text(...names);
    if (found === undefined || found === "") {
      this.#findings.refuse(`<${this.name}> without '${names[0]}'`, { at: this.at });
    }
    return found ?? "";
  }

  #place(names: readonly string[]): Position {
    for (const name of names) {
      const attribute = this.#element.attributes.get(name);
      if (attribute !== undefined) return attribute.at;
    }
    return this.at;
  }

  #refuse(names: readonly string[], found: string, what: string, allowed: readonly string[]): undefined {
    const detail: ConfigErrorDetail = { at: this.#place(names), found, allowed };
    return this.#findings.refuse(`${names[0]} '${found}' ${what}`, detail);
  }

  boolean(byDefault: boolean, ...names: readonly string[]): boolean {
    const found = this.text(...names);
    if (found === undefined) return byDefault;
    return parseBoolean(found) ?? this.#refuse(names, found, "is not a boolean", booleanWords) ?? byDefault;
  }

  score(byDefault: number, ...names: readonly string[]): number {
    const found = this.text(...names);
    if (found === undefined) return byDefault;
    return parseScore(found) ?? this.#refuse(names, found, "is not a score", scoreForms) ?? byDefault;
  }

  time(...names: readonly string[]): Milliseconds {
    const found = this.text(...names);
    if (found === undefined) return ms(0);
    return parseCibTime(found) ?? this.#refuse(names, found, "is not a duration", cibTimeForms) ?? ms(0);
  }

  oneOf<Value extends string>(values: readonly Value[], ...names: readonly string[]): Value | undefined {
    const found = this.text(...names);
    if (found === undefined || found === "") return undefined;
    const word = values.find((each) => each.toLowerCase() === found.toLowerCase());
    return word ?? this.#refuse(names, found, "is not one of its values", values);
  }

  role(...names: readonly string[]): Role | undefined {
    const found = this.text(...names);
    if (found === undefined || found === "" || found === "#default") return undefined;
    const alias = roleAliases.get(found.toLowerCase()) ?? found;
    const role = roles.find((each) => each.toLowerCase() === alias.toLowerCase());
    return role ?? this.#refuse(names, found, "is no role", roles);
  }

  /** Once all attributes that mean something are read: tells of the others. */
  checkAttributes(): void {
    for (const [name, { at }] of this.#element.attributes) {
      if (this.#read.has(name)) continue;
      const known = [...this.#read].filter((each) => !harmless.includes(each));
      this.#findings.unknown(`attribute '${name}' of <${this.name}> has no effect`, at, name, known);
    }
  }

  /** An element that may stand here in cib.xml and is not followed here. */
  refuseChild(child: XmlElement, known: readonly string[], unsupported: readonly string[] = []): void {
    const { name, at } = child;
    const what = unsupported.includes(name) ? "is not supported" : "does not belong here";
    this.#findings.refuse(`<${name}> in <${this.name}> ${what}`, { at, found: name, allowed: known });
  }

  /** This element as a set: nvpairs directly (Pacemaker) or inside `<attributes>` (heartbeat 2). */
  nvSet(): NvSet {
    const id = this.required("id");
    const score = this.score(
      this.name === "cluster_property_set" && id === "cib-bootstrap-options" ? 1_000_000 : 0,
      "score",
    );
    this.checkAttributes();
    const pairs: NvPair[] = [];
    for (const child of this.children) {
      if (child.name === "attributes") {
        const wrapper = new CibElement(this.#findings, child);
        wrapper.text("id");
        wrapper.checkAttributes();
        for (const inner of child.children) wrapper.#pair(inner, pairs);
      } else this.#pair(child, pairs);
    }
    return { id, score, pairs };
  }

  #pair(child: XmlElement, pairs: NvPair[]): void {
    if (child.name !== "nvpair") return this.refuseChild(child, ["nvpair", "attributes"], ["rule"]);
    const element = new CibElement(this.#findings, child);
    const name = element.required("name");
    const id = element.text("id") ?? "";
    const value = element.text("value") ?? "";
    element.checkAttributes();
    for (const inner of child.children) element.refuseChild(inner, []);
    if (name.includes("\0") || name === "") return;
    if (pairs.some((pair) => pair.name === name)) {
      this.#findings.warn(`'${name}' is written twice in one set: the first counts`, element.at);
    }
    pairs.push({ id, name, value, at: element.at });
  }
}

const shortened = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);
