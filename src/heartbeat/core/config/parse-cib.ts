/**
 * Reads cib.xml in the form of heartbeat 2 and in Pacemaker's (heartbeat §18.2). What would change a decision and is
 * not followed here (rules inside attribute sets, dates, templates, bundles, resource sets) is refused with its place.
 */
import type { ConfigError, ConfigWarning } from "../../../core/config/source.ts";
import type { Cib, CibForm, CibNode, NvSet, Parameters, Resource } from "./cib.ts";
import { CibElement } from "./cib-element.ts";
import { crmOptions, metaOptions } from "./cib-options.ts";
import { Findings } from "./findings.ts";
import { optionsOf, parametersOf } from "./nv-sets.ts";
import { parseConstraints } from "./parse-cib-constraints.ts";
import { parseResources } from "./parse-cib-resources.ts";
import { parseCount } from "./quantities.ts";
import { readXml, type XmlElement } from "./xml.ts";

export type CibResult =
  | { readonly cib: Cib; readonly warnings: readonly ConfigWarning[] }
  | { readonly errors: readonly ConfigError[] };

/** All contradictions at once; of text that is no XML the first. */
export function parseCib(text: string, file: string): CibResult {
  const xml = readXml(text, file);
  if ("errors" in xml) return xml;
  const findings = new Findings();
  const cib = readCib(new CibElement(findings, xml.root), xml.root, file, findings);
  if (findings.errors.length > 0 || cib === undefined) return { errors: findings.errors };
  return { cib, warnings: findings.warnings };
}

const sections = ["crm_config", "nodes", "resources", "constraints", "rsc_defaults", "op_defaults"];
/** Sections of Pacemaker that say nothing about where resources run. */
const passedOver = ["acls", "alerts", "tags"];

function readCib(root: CibElement, element: XmlElement, file: string, findings: Findings): Cib | undefined {
  if (root.name !== "cib") {
    return findings.refuse(`<${root.name}> is not a cluster's configuration`, {
      at: root.at,
      found: root.name,
      allowed: ["cib"],
    });
  }
  const form = formOf(element);
  const configuration = root.children.find((child) => child.name === "configuration");
  if (configuration === undefined) return findings.refuse("<cib> without <configuration>", { at: root.at });
  for (const child of root.children) {
    // The state of the moment, which heartbeat drops at start too.
    if (child !== configuration && child.name !== "status") root.refuseChild(child, ["configuration", "status"]);
  }
  const found = new Map<string, CibElement>();
  const whole = new CibElement(findings, configuration);
  for (const child of configuration.children) {
    if (passedOver.includes(child.name)) {
      findings.warn(`<${child.name}> has no effect here and is left out when the file is written`, child.at);
    } else if (!sections.includes(child.name)) whole.refuseChild(child, sections, ["fencing-topology"]);
    else if (found.has(child.name)) findings.refuse(`<${child.name}> is written twice`, { at: child.at });
    else found.set(child.name, new CibElement(findings, child));
  }
  const sets = (name: string, set: string): NvSet[] => nvSets(found.get(name), set, findings);
  const resources = parseResources(found.get("resources"), form, findings);
  return {
    file,
    form,
    ...readVersion(root, element, findings),
    options: optionsOf(crmOptions, sets("crm_config", "cluster_property_set"), "option", form, findings),
    nodes: readNodes(found.get("nodes"), findings),
    resources,
    constraints: parseConstraints(found.get("constraints"), idsOf(resources), findings),
    resourceDefaults: optionsOf(metaOptions, sets("rsc_defaults", "meta_attributes"), "default", form, findings),
    operationDefaults: parametersOf(sets("op_defaults", "meta_attributes")),
  };
}

/** Ids that constraints may name. */
const idsOf = (resources: readonly Resource[]): string[] =>
  resources.flatMap((resource) => {
    if (resource.kind === "primitive") return [resource.id];
    return [resource.id, ...idsOf(resource.kind === "group" ? resource.members : [resource.resource])];
  });

function nvSets(section: CibElement | undefined, name: string, findings: Findings): NvSet[] {
  const found: NvSet[] = [];
  for (const child of section?.children ?? []) {
    if (child.name === name) found.push(new CibElement(findings, child).nvSet());
    else section?.refuseChild(child, [name]);
  }
  return found;
}

/** `validate-with` decides where it names one; else whether any set has the level that Pacemaker dropped. */
function formOf(root: XmlElement): CibForm {
  const schema = root.attributes.get("validate-with")?.value;
  if (schema?.startsWith("pacemaker-") === true) return "pacemaker";
  if (schema === "transitional-0.6") return "heartbeat-2";
  const holds = (element: XmlElement, name: string): boolean =>
    element.name === name || element.children.some((child) => holds(child, name));
  return holds(root, "attributes") || !holds(root, "nvpair") ? "heartbeat-2" : "pacemaker";
}

const versionAttributes = ["admin_epoch", "epoch", "num_updates"] as const;

function readVersion(
  root: CibElement,
  element: XmlElement,
  findings: Findings,
): Pick<Cib, "adminEpoch" | "epoch" | "numUpdates" | "attributes"> {
  const [adminEpoch, epoch, numUpdates] = versionAttributes.map((name) => {
    const found = root.text(name);
    if (found === undefined || found === "") return 0;
    const value = parseCount(found, 0, Number.MAX_SAFE_INTEGER);
    if (value !== undefined) return value;
    const at = element.attributes.get(name)?.at ?? root.at;
    findings.refuse(`${name} '${found}' is not a number`, { at, found });
    return 0;
  });
  const attributes = new Map<string, string>();
  for (const [name, { value }] of element.attributes) {
    if (!versionAttributes.some((each) => each === name)) attributes.set(name, value);
  }
  return { adminEpoch: adminEpoch ?? 0, epoch: epoch ?? 0, numUpdates: numUpdates ?? 0, attributes };
}

const nodeTypes = ["normal", "member", "ping", "remote"] as const;

function readNodes(section: CibElement | undefined, findings: Findings): CibNode[] {
  const nodes: CibNode[] = [];
  for (const child of section?.children ?? []) {
    if (child.name !== "node") {
      section?.refuseChild(child, ["node"]);
      continue;
    }
    const element = new CibElement(findings, child);
    const id = element.required("id");
    const uname = element.required("uname").toLowerCase();
    const type = element.oneOf(nodeTypes, "type") ?? "normal";
    element.checkAttributes();
    const first = nodes.find((node) => node.uname === uname || node.id === id);
    if (first !== undefined) {
      findings.refuse(`node '${uname}' (${id}) is written twice`, { at: element.at, first: first.at });
    } else nodes.push({ id, uname, type, parameters: readNodeParameters(element, findings), at: element.at });
  }
  return nodes;
}

function readNodeParameters(element: CibElement, findings: Findings): Parameters {
  const sets: NvSet[] = [];
  for (const child of element.children) {
    if (child.name === "instance_attributes") sets.push(new CibElement(findings, child).nvSet());
    else if (child.name === "utilization") findings.warn("<utilization> has no effect here", child.at);
    else element.refuseChild(child, ["instance_attributes"]);
  }
  return parametersOf(sets);
}
