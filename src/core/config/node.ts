/** Which parts of a configuration concern this node: its own and the peer's host section (drbd-84 §10.2). */
import { ConfigError } from "./source.ts";
import type { AddressNode, ConfigTree, HostNode, OptionEntry, ResourceNode } from "./tree.ts";

/** This machine, as far as a configuration can tell. */
export interface NodeIdentity {
  /** `uname -n`, or what replaces it. */
  readonly name: string;
  /** Whether an address of this machine's interfaces is `address` (IPv6 without brackets). */
  hasAddress(address: string): boolean;
}

/**
 * `ignored`: no host section is this node's. `stacked`: this node's section lies on top of another resource.
 * `peers` are the other host sections; exactly one, unless the resource names more than two.
 */
export interface Place {
  readonly local: HostNode | undefined;
  readonly peers: readonly HostNode[];
  readonly stacked: boolean;
}

export function placeOf(resource: ResourceNode, node: NodeIdentity): Place {
  const local = resource.hosts.find((host) => isHere(host, node));
  const peers = resource.hosts.filter((host) => host !== local);
  return { local, peers, stacked: local?.kind === "stacked" };
}

const isHere = (host: HostNode, node: NodeIdentity): boolean =>
  host.kind === "floating"
    ? host.address !== undefined && node.hasAddress(host.address.address)
    : host.names.some((name) => name.text === node.name);

export const isWritten = (entries: readonly OptionEntry[], name: string): boolean =>
  entries.some((entry) => entry.name === name);

/**
 * The checks that drbdadm makes of resources that concern this node, before any command: the local address, the names
 * of `become-primary-on`, proxies on both sides, and that only one host section is this node's.
 */
export function checkForNode(tree: ConfigTree, node: NodeIdentity): ConfigError[] {
  const errors: ConfigError[] = [];
  const verify = !isWritten(tree.global, "disable-ip-verification");
  for (const resource of tree.resources) {
    const place = placeOf(resource, node);
    const [first, second] = resource.hosts.filter((host) => isHere(host, node));
    if (first !== undefined && second !== undefined) {
      const text = `two host sections of '${resource.name}' are this node's`;
      errors.push(new ConfigError("invalid", text, { at: second.at, first: first.at }));
    }
    const { local } = place;
    if (local === undefined) continue;
    if (verify && local.address !== undefined && !isOurs(local.address, node)) {
      const text = `address ${local.address.address} is not an address of this node`;
      errors.push(new ConfigError("invalid", text, { at: local.address.at }));
    }
    checkBecomePrimary(tree, resource, errors);
    const [peer, another] = place.peers;
    if (peer !== undefined && another === undefined && (peer.proxy === undefined) !== (local.proxy === undefined)) {
      const text = "either both host sections have a proxy section, or none";
      errors.push(new ConfigError("invalid", text, { at: (peer.proxy ?? local.proxy ?? local).at }));
    }
  }
  return errors;
}

/** drbdadm verifies IP addresses only. */
const isOurs = ({ family, address }: AddressNode, node: NodeIdentity): boolean =>
  family === "ssocks" || family === "sdp" || node.hasAddress(address);

function checkBecomePrimary(tree: ConfigTree, resource: ResourceNode, errors: ConfigError[]): void {
  const { startup } = resource.sections;
  const entry =
    startup.findLast((each) => each.name === "become-primary-on") ??
    tree.common?.sections.startup.findLast((each) => each.name === "become-primary-on");
  if (entry === undefined) return;
  const names = resource.hosts.flatMap((host) => host.names.map((name) => name.text));
  for (const value of entry.values) {
    if (value === "both" || names.includes(value)) continue;
    const text = `become-primary-on names '${value}', which is not a host of '${resource.name}'`;
    errors.push(new ConfigError("invalid", text, { at: entry.at, found: value, allowed: [...names, "both"] }));
  }
  if (entry.values[0] === "both" && !twoPrimariesAllowed(tree, resource)) {
    const text = "become-primary-on is 'both', but allow-two-primaries is not set";
    errors.push(new ConfigError("invalid", text, { at: entry.at }));
  }
}

function twoPrimariesAllowed(tree: ConfigTree, resource: ResourceNode): boolean {
  const isIt = (entry: OptionEntry) => entry.name === "allow-two-primaries";
  const entry = resource.sections.net.findLast(isIt) ?? tree.common?.sections.net.findLast(isIt);
  return entry?.values[0] === "yes";
}

export interface ResyncAfter {
  readonly entry: OptionEntry;
  /** `unknown` (not defined, or of no concern to this node) is dropped with a warning, as drbdadm does. */
  readonly state: "known" | "unknown" | "ambiguous";
  /** Minor number on this node; -1 unless known. */
  readonly minor: number;
}

export function judgeResyncAfter(tree: ConfigTree, entry: OptionEntry, node: NodeIdentity): ResyncAfter {
  const target = entry.values[0] ?? "";
  const slash = target.lastIndexOf("/");
  const whole = tree.resources.find((resource) => resource.name === target);
  const byVolume = /\/\d+$/.test(target)
    ? tree.resources.find((resource) => resource.name === target.slice(0, slash))
    : undefined;
  const resource = whole ?? byVolume;
  const volumes = resource === undefined ? undefined : placeOf(resource, node).local?.volumes;
  if (volumes === undefined) return { entry, state: "unknown", minor: -1 };
  if (whole !== undefined && volumes.length > 1) return { entry, state: "ambiguous", minor: -1 };
  const number = whole !== undefined ? volumes[0]?.volume : Number(target.slice(slash + 1));
  const minor = volumes.find((volume) => volume.volume === number)?.device?.minor;
  return minor === undefined ? { entry, state: "unknown", minor: -1 } : { entry, state: "known", minor };
}
