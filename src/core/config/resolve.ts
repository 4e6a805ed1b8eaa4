/**
 * From the syntax tree to the effective configuration of one node (drbd-84 §10.2-10.4). Everything that DRBD's kernel
 * or drbdsetup would refuse later is refused here, with the place in the file.
 */
import { ms } from "../units.ts";
import { resolveAddress } from "./address.ts";
import { checkValues } from "./cross-checks.ts";
import type {
  Address,
  Backing,
  GlobalConfig,
  HostConfig,
  MetaDisk,
  ResourceConfig,
  VolumeConfig,
} from "./effective.ts";
import { checkForNode, judgeResyncAfter, type NodeIdentity, placeOf } from "./node.ts";
import { diskOptions, globalOptions, handlerOptions, netOptions, resourceOptions, startupOptions } from "./options.ts";
import { ConfigError, type ConfigWarning, type Position } from "./source.ts";
import {
  type ConfigTree,
  emptySections,
  type HostNode,
  type OptionEntry,
  type ResourceNode,
  type VolumeNode,
} from "./tree.ts";
import { type Findings, resolveOptions, strongest } from "./values.ts";

export interface EffectiveConfig {
  readonly global: GlobalConfig;
  /** Resources with a host section for this node, in file order; stacked ones among them. */
  readonly resources: readonly ResourceConfig[];
  /** Names of the others: drbdadm calls them not defined for this host (exit 1). */
  readonly ignored: readonly string[];
  readonly warnings: readonly ConfigWarning[];
}
export type ResolveResult = EffectiveConfig | { readonly errors: readonly ConfigError[] };

export interface ResolveChoices {
  /** Node name of the peer, needed only where a resource has more than two host sections (`drbdadm --peer`). */
  readonly peer?: string;
}

export const MAX_MINOR = 1048575;
export const MAX_VOLUME = 65535;

/** All errors of all resources at once; none of the resources is usable then, as with drbdadm. */
export function resolve(tree: ConfigTree, node: NodeIdentity, choices: ResolveChoices = {}): ResolveResult {
  const findings: Findings = { errors: checkForNode(tree, node), warnings: [] };
  const resolver = new Resolver(tree, node, choices.peer, findings);
  const resources: ResourceConfig[] = [];
  const ignored: string[] = [];
  for (const resource of tree.resources) {
    const local = placeOf(resource, node).local;
    const config = local === undefined ? undefined : resolver.resource(resource, local);
    if (local === undefined) ignored.push(resource.name);
    else if (config !== undefined) resources.push(config);
  }
  checkSharing(resources, findings);
  const global = resolveOptions(globalOptions, [tree.global], "last", findings);
  // A value in `common` is judged once for every volume that inherits it.
  const byText = new Map(findings.errors.map((error) => [error.message, error]));
  if (byText.size > 0) return { errors: [...byText.values()] };
  return { global, resources, ignored, warnings: findings.warnings };
}

const noBacking: Backing = { minor: 0, device: "", disk: "", metaDisk: { kind: "internal" } };

class Resolver {
  readonly #tree: ConfigTree;
  readonly #node: NodeIdentity;
  readonly #peer: string | undefined;
  readonly #findings: Findings;

  constructor(tree: ConfigTree, node: NodeIdentity, peer: string | undefined, findings: Findings) {
    this.#tree = tree;
    this.#node = node;
    this.#peer = peer;
    this.#findings = findings;
  }

  resource(resource: ResourceNode, local: HostNode): ResourceConfig | undefined {
    const remote = this.#choosePeer(resource, local);
    if (remote === undefined) return undefined;
    const common = this.#tree.common?.sections ?? emptySections();
    const { sections, name, at } = resource;
    const options = resolveOptions(resourceOptions, [sections.options, common.options], "last", this.#findings);
    const netEntries = this.#discardNode([sections.net, common.net], resource, local);
    const net = resolveOptions(netOptions, netEntries, "last", this.#findings);
    const startup = resolveOptions(startupOptions, [sections.startup, common.startup], "last", this.#findings);
    const handlers = resolveOptions(handlerOptions, [sections.handlers, common.handlers], "first", this.#findings);
    const localHost = this.#host(local, undefined);
    const remoteHost = this.#host(remote, local);
    if (localHost.address.family !== remoteHost.address.family) {
      this.#invalid(`the hosts of '${name}' have addresses of different families`, remote.at, local.at);
    }
    if (local.volumes.length === 0) {
      const hint = "statements of the resource that hosts shall inherit stand before the host sections";
      this.#invalid(`no volume is defined for '${name}' on this node (${hint})`, local.at);
    }
    const volumes = local.volumes.map((volume) => this.#volume(resource, local, remote, volume));
    const stackedOn = local.kind === "stacked" ? local.lower : "";
    const config = {
      name,
      at,
      local: localHost,
      remote: remoteHost,
      stackedOn,
      volumes,
      options,
      net,
      startup,
      handlers,
    };
    checkValues(resource, config, this.#findings);
    return config;
  }

  #invalid(text: string, at: Position, first?: Position): undefined {
    const detail = first === undefined ? { at } : { at, first };
    this.#findings.errors.push(new ConfigError("invalid", text, detail));
  }

  #choosePeer(resource: ResourceNode, local: HostNode): HostNode | undefined {
    const { peers } = placeOf(resource, this.#node);
    const [only, another] = peers;
    if (only === undefined)
      return this.#invalid(`the host section of the peer is missing in '${resource.name}'`, local.at);
    if (another === undefined) return only;
    const named = peers.filter((host) => host.names.some((name) => name.text === this.#peer));
    if (named.length === 1) return named[0];
    const names = peers.flatMap((host) => host.names.map((name) => name.text)).join(", ");
    return this.#invalid(`'${resource.name}' has several peers: choose one of ${names}`, only.at);
  }

  /** The peer of a host with a proxy is that proxy: its inside address. */
  #host(host: HostNode, proxied: HostNode | undefined): HostConfig {
    const names = host.names.map((name) => name.text);
    if (host.alternateAddress !== undefined) {
      const text = "'alternate-link-address' has no effect: there is one link";
      this.#findings.warnings.push({ at: host.alternateAddress.at, text });
    }
    if (host.options.length > 0) {
      const text = "'options' in a host section has no effect, as with drbdadm: write it in the resource";
      this.#findings.warnings.push({ at: host.options[0]?.at ?? host.at, text });
    }
    const address = proxied?.proxy?.inside ?? host.address;
    let found: Address = { family: "ipv4", address: "0.0.0.0", port: 1 };
    if (address !== undefined) {
      const resolved = resolveAddress(address);
      if ("refusal" in resolved) this.#invalid(resolved.refusal, address.at);
      else found = resolved;
    }
    return { names, address: found };
  }

  #volume(resource: ResourceNode, local: HostNode, remote: HostNode, volume: VolumeNode): VolumeConfig {
    const number = volume.volume;
    if (number > MAX_VOLUME) this.#invalid(`volume ${number} is out of range; allowed: 0..${MAX_VOLUME}`, volume.at);
    const ofResource = resource.volumes.find((other) => other.volume === number)?.options ?? [];
    const common = this.#tree.common?.sections.disk ?? [];
    // What drbdadm does: a volume of the resource is weaker than the resource's and even the common section.
    const levels = [volume.options, resource.sections.disk, common, ofResource].map((entries) => this.#known(entries));
    const written = resolveOptions(diskOptions, levels, "first", this.#findings);
    const after = strongest("resync-after", levels, "first");
    const rate = strongest("resync-rate", levels, "first");
    const fixedRate = rate?.via === "syncer" && !controllerOptions.some((name) => written.written.has(name));
    const values = fixedRate ? { ...written.values, "c-plan-ahead": noPlan } : written.values;
    const peerVolume = remote.volumes.find((other) => other.volume === number);
    return {
      volume: number,
      local: this.#backing(local, volume),
      remote: peerVolume === undefined ? noBacking : this.#backing(remote, peerVolume),
      disk: { values, written: written.written },
      fixedRate,
      resyncAfter: after === undefined ? -1 : this.#resyncAfter(after),
    };
  }

  /** Without `resync-after` of what is not configured on this node: dropped with a warning, as drbdadm does. */
  #known(entries: readonly OptionEntry[]): readonly OptionEntry[] {
    return entries.filter((entry) => {
      if (entry.name !== "resync-after") return true;
      if (judgeResyncAfter(this.#tree, entry, this.#node).state !== "unknown") return true;
      const text = `resync-after '${entry.values[0]}' is not a volume of this node and has no effect`;
      const { warnings } = this.#findings;
      if (warnings.every((warning) => warning.at !== entry.at)) warnings.push({ at: entry.at, text });
      return false;
    });
  }

  #resyncAfter(entry: OptionEntry): number {
    const judged = judgeResyncAfter(this.#tree, entry, this.#node);
    if (judged.state === "ambiguous") {
      const text = `resync-after '${entry.values[0]}' names a resource with several volumes: write RESOURCE/VOLUME`;
      this.#invalid(text, entry.at);
    }
    return judged.minor;
  }

  #backing(host: HostNode, volume: VolumeNode): Backing {
    const { device, disk, metaDisk } = volume;
    const minor = device?.minor ?? 0;
    if (minor > MAX_MINOR)
      this.#invalid(`minor ${minor} is out of range; allowed: 0..${MAX_MINOR}`, device?.at ?? volume.at);
    // An inherited name may carry another number than the minor written for this host: the minor is meant.
    const named = device?.name.startsWith("/dev/drbd_") === true ? device.name : `/dev/drbd${minor}`;
    if (host.kind !== "stacked")
      return { minor, device: named, disk: disk?.text ?? "", metaDisk: resolveMetaDisk(metaDisk) };
    const lower = this.#tree.resources.find((other) => other.name === host.lower);
    const below = lower?.hosts
      .find((each) => placeOf(lower, this.#node).local === each || lower.hosts[0] === each)
      ?.volumes.find((each) => each.volume === volume.volume);
    return { minor, device: named, disk: `/dev/drbd${below?.device?.minor ?? 0}`, metaDisk: { kind: "internal" } };
  }

  /** `discard-node-NAME` names one of the two hosts and becomes local or remote. */
  #discardNode(
    levels: readonly (readonly OptionEntry[])[],
    resource: ResourceNode,
    local: HostNode,
  ): readonly (readonly OptionEntry[])[] {
    const prefix = "discard-node-";
    const names = resource.hosts.flatMap((host) => host.names.map((name) => name.text));
    return levels.map((entries) =>
      entries.map((entry) => {
        const value = entry.values[0] ?? "";
        if (entry.name !== "after-sb-0pri" || !value.startsWith(prefix)) return entry;
        const name = value.slice(prefix.length);
        if (!names.includes(name)) {
          const detail = { at: entry.at, found: name, allowed: names };
          const text = `after-sb-0pri names '${name}', which is not a host of '${resource.name}'`;
          this.#findings.errors.push(new ConfigError("invalid", text, detail));
        }
        const isLocal = local.names.some((each) => each.text === name);
        return { ...entry, values: [isLocal ? "discard-local" : "discard-remote"] };
      }),
    );
  }
}

const controllerOptions = ["c-plan-ahead", "c-delay-target", "c-fill-target", "c-max-rate", "c-min-rate"] as const;
const noPlan = ms(0);

function resolveMetaDisk(node: VolumeNode["metaDisk"]): MetaDisk {
  if (node === undefined || node.path === "internal") return { kind: "internal" };
  if (node.index === "") return { kind: "flexible", path: node.path };
  return { kind: "indexed", path: node.path, index: Number(node.index) };
}

/** One disk serves one purpose: data of one volume, one flexible meta-disk, or any number of indexed ones. */
function checkSharing(resources: readonly ResourceConfig[], findings: Findings): void {
  const uses = new Map<string, { use: string; index: number; at: Position }>();
  const take = (path: string, use: string, index: number, at: Position): void => {
    const before = uses.get(path);
    if (before === undefined) uses.set(path, { use, index, at });
    else if (before.index === -1 || index === -1 || before.index === index) {
      const text = `'${path}' is used twice on this node: as ${before.use} and as ${use}`;
      findings.errors.push(new ConfigError("invalid", text, { at, first: before.at }));
    }
  };
  for (const { name, at, volumes } of resources) {
    for (const { volume, local } of volumes) {
      take(local.disk, `disk of ${name}/${volume}`, -1, at);
      if (local.metaDisk.kind === "flexible") take(local.metaDisk.path, `meta-disk of ${name}/${volume}`, -1, at);
      if (local.metaDisk.kind === "indexed") {
        take(local.metaDisk.path, `meta-disk ${local.metaDisk.index} of ${name}/${volume}`, local.metaDisk.index, at);
      }
    }
  }
}
