/** The operator's configuration as a command needs it: found, parsed, and resolved for this node. */
import { resolve as resolvePath } from "node:path";
import type { ResourceConfig } from "../core/config/effective.ts";
import { type NodeIdentity, placeOf } from "../core/config/node.ts";
import { parseConfig } from "../core/config/parse-config.ts";
import { resolve } from "../core/config/resolve.ts";
import { showPosition } from "../core/config/source.ts";
import type { ConfigTree } from "../core/config/tree.ts";
import { filesBelow, nodeIdentity, readText } from "../node/config-files.ts";
import type { Session } from "./context.ts";
import type { ExitName } from "./exit-codes.ts";
import type { KnownResource } from "./targets.ts";

/** The first of these that can be read is the configuration (drbd-84 §10.1). */
const standardFiles = [
  "/etc/drbd-84.conf",
  "/etc/drbd-83.conf",
  "/etc/drbd-82.conf",
  "/etc/drbd-08.conf",
  "/etc/drbd.conf",
] as const;

export interface Configuration {
  /** Absolute, or `-` for standard input. */
  readonly file: string;
  readonly tree: ConfigTree;
  readonly node: NodeIdentity;
  /** Resources that have a host section for this node. */
  readonly resources: readonly ResourceConfig[];
  /** What the targets of a command line may name. */
  readonly known: readonly KnownResource[];
  readonly warnings: readonly string[];
}

export interface ConfigurationRefusal {
  readonly exit: ExitName;
  readonly text: string;
}

/**
 * Reads `-c FILE`, `-c -`, or the first standard file. `verifyAddress`: the verb will use the network, so the local address
 * must be this machine's, as drbdadm checks for the same verbs.
 */
export function loadConfiguration(session: Session, verifyAddress: boolean): Configuration | ConfigurationRefusal {
  const wanted = session.given["config-file"];
  const file = wanted === undefined ? firstStandard() : wanted === "-" ? "-" : resolvePath(session.cwd, wanted);
  const text = readText(file === "-" ? "/dev/stdin" : file);
  if (text === undefined) return { exit: "execution", text: `Can not open '${wanted ?? file}'.` };
  const parsed = parseConfig(filesBelow(file, text), file);
  if ("errors" in parsed) return refusal(parsed.errors);
  const { tree } = parsed;
  const node = nodeIdentity(session.paths.node, tree, verifyAddress && !session.given["dry-run"]);
  const { peer } = session.given;
  const resolved = resolve(tree, node, peer === undefined ? {} : { peer });
  if ("errors" in resolved) return refusal(resolved.errors);
  const warnings = [...parsed.warnings, ...resolved.warnings];
  return {
    file,
    tree,
    node,
    resources: resolved.resources,
    known: tree.resources.map(({ name }) => knownResource(name, resolved.resources, isImplicit(tree, node, name))),
    warnings: warnings.map(({ at, text }) => `${showPosition(at)}: ${text}`),
  };
}

const refusal = (errors: readonly Error[]): ConfigurationRefusal => ({
  exit: "configuration",
  text: errors.map((error) => error.message).join("\n"),
});

/** Whether the statements of the only volume stand directly in this node's host section. */
export function isImplicit(tree: ConfigTree, node: NodeIdentity, name: string): boolean {
  const resource = tree.resources.find((candidate) => candidate.name === name);
  const host = resource === undefined ? undefined : placeOf(resource, node).local;
  return host?.volumes[0]?.implicit ?? false;
}

function knownResource(name: string, resources: readonly ResourceConfig[], implicit: boolean): KnownResource {
  const here = resources.find((resource) => resource.name === name);
  const volumes = (here?.volumes ?? []).map(({ volume, local }) => ({ volume, minor: local.minor }));
  return { name, ignored: here === undefined, stacked: here !== undefined && here.stackedOn !== "", implicit, volumes };
}

function firstStandard(): string {
  return standardFiles.find((path) => readText(path) !== undefined) ?? "/etc/drbd.conf";
}

/** The effective configuration of a resource that is known not to be ignored. */
export function resourceOf(configuration: Configuration, name: string): ResourceConfig {
  const found = configuration.resources.find((resource) => resource.name === name);
  if (found === undefined) throw new Error(`resource ${name} is not configured on this node`);
  return found;
}
