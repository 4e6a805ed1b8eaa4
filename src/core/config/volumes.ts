/**
 * What a host section inherits, and the checks that volumes and addresses must pass together (drbd-84 §10.1, §10.2).
 */
import type { Notes, Parser } from "./parser.ts";
import { ConfigError, type Position } from "./source.ts";
import type { HostNode, ResourceNode, VolumeNode } from "./tree.ts";

/** The volume that statements outside any `volume N { }` describe: number 0, made when first needed. */
export function implicitVolume(volumes: VolumeNode[], at: Position): VolumeNode {
  const existing = volumes.find((volume) => volume.implicit);
  if (existing !== undefined) return existing;
  const volume = emptyVolume(0, true, at);
  volumes.push(volume);
  return volume;
}

const emptyVolume = (volume: number, implicit: boolean, at: Position): VolumeNode => ({
  volume,
  implicit,
  at,
  device: undefined,
  disk: undefined,
  metaDisk: undefined,
  options: [],
});

/** Called when a host section ends: it inherits the volumes of the resource written so far. */
export function checkHost(parser: Parser, resource: ResourceNode, host: HostNode): void {
  if (host.kind !== "stacked") inherit(resource.volumes, host);
  host.volumes.sort((a, b) => a.volume - b.volume);
  const where = `in this host section of '${resource.name}'`;
  if (host.address === undefined) parser.invalid(`the statement 'address' is missing ${where}`, { at: host.at });
  else {
    const { address, port, at } = host.address;
    parser.once(`address ${address}:${port}`, `address ${address}:${port}`, at);
  }
  for (const volume of host.volumes) checkComplete(parser, host, volume, where);
  if (host.volumes.some((v) => v.implicit) && host.volumes.some((v) => !v.implicit)) {
    parser.invalid("statements of a single volume and 'volume' sections cannot be mixed", { at: host.at });
  }
  for (const name of host.names) {
    for (const volume of host.volumes) checkUse(parser, name.text, volume);
  }
}

/** A host volume takes the device, disk and meta-disk it lacks from the resource's volume of the same number. */
function inherit(volumes: readonly VolumeNode[], host: HostNode): void {
  for (const from of volumes) {
    let into = host.volumes.find((volume) => volume.volume === from.volume && volume.implicit === from.implicit);
    if (into === undefined) {
      into = emptyVolume(from.volume, from.implicit, host.at);
      host.volumes.push(into);
    }
    // `device minor 6;` keeps the name of the resource's `device /dev/drbd5;`, as in drbdadm; `resolve` does not
    // follow that.
    if (into.device === undefined) into.device = from.device;
    else if (into.device.name === "") into.device = { ...into.device, name: from.device?.name ?? "" };
    into.disk ??= from.disk;
    into.metaDisk ??= from.metaDisk;
  }
}

function checkComplete(parser: Parser, host: HostNode, volume: VolumeNode, where: string): void {
  const missing: string[] = [];
  if (volume.device === undefined) missing.push("device");
  if (host.kind !== "stacked" && volume.disk === undefined) missing.push("disk");
  if (host.kind !== "stacked" && volume.metaDisk === undefined) missing.push("meta-disk");
  for (const statement of missing) {
    parser.invalid(`the statement '${statement}' of volume ${volume.volume} is missing ${where}`, { at: host.at });
  }
}

/** On one node a minor, a device name and a place for metadata serve one volume. */
function checkUse(parser: Parser, node: string, volume: VolumeNode): void {
  const { device, metaDisk } = volume;
  if (device !== undefined) {
    parser.once(`minor ${device.minor} on ${node}`, `minor ${device.minor} on '${node}'`, device.at);
    if (device.name !== "") {
      parser.once(`device ${device.name} on ${node}`, `device ${device.name} on '${node}'`, device.at);
    }
  }
  if (metaDisk !== undefined && metaDisk.path !== "internal") {
    const place = `${metaDisk.path}[${metaDisk.index === "" ? "flexible" : metaDisk.index}]`;
    parser.once(`meta-disk ${place} on ${node}`, `meta-disk ${place} on '${node}'`, metaDisk.at);
  }
}

/** Every host of a resource has the same volumes, written in the same form. */
export function checkVolumes(parser: Parser, resource: ResourceNode): void {
  const [first, ...others] = resource.hosts;
  if (first === undefined) return;
  for (const host of others) {
    for (const volume of first.volumes) compare(parser, volume, host);
    for (const volume of host.volumes) {
      if (!first.volumes.some((other) => other.volume === volume.volume)) {
        parser.invalid(`volume ${volume.volume} is missing in this host section`, { at: first.at, first: volume.at });
      }
    }
  }
}

function compare(parser: Parser, volume: VolumeNode, host: HostNode): void {
  const other = host.volumes.find((candidate) => candidate.volume === volume.volume);
  if (other === undefined) {
    parser.invalid(`volume ${volume.volume} is missing in this host section`, { at: host.at, first: volume.at });
  } else if (other.implicit !== volume.implicit) {
    const text = `volume ${volume.volume} stands in a 'volume' section on one host and not on the other`;
    parser.invalid(text, { at: other.at, first: volume.at });
  }
}

/** A stacked section belongs to the nodes of the resource below, and has its volumes. */
export function checkStacked(record: Notes, resources: readonly ResourceNode[]): void {
  for (const resource of resources) {
    for (const host of resource.hosts) {
      if (host.kind !== "stacked") continue;
      const lower = resources.find((other) => other.name === host.lower);
      if (lower === undefined) {
        const detail = { at: host.at, found: host.lower, allowed: resources.map((other) => other.name) };
        record.errors.push(new ConfigError("invalid", `resource '${host.lower}' is not defined`, detail));
        continue;
      }
      host.names = lower.hosts.flatMap((below) => below.names);
      checkLowerVolumes(record, host, lower);
    }
  }
}

function checkLowerVolumes(record: Notes, host: HostNode, lower: ResourceNode): void {
  for (const volume of host.volumes) {
    const below = lower.hosts[0]?.volumes.find((candidate) => candidate.volume === volume.volume);
    if (below !== undefined && below.implicit === volume.implicit) continue;
    const text = `volume ${volume.volume} has no counterpart of the same form in resource '${lower.name}'`;
    record.errors.push(new ConfigError("invalid", text, { at: volume.at, first: lower.at }));
  }
}
