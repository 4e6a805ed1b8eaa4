/** Groups of haresources and of cib.xml as the same thing: addresses, volumes and programs in an order. */
import type { Position } from "../../../core/config/source.ts";
import { parsePrefix, parseServiceAddress, type ServiceAddress } from "../config/addresses.ts";
import type { Cib, Primitive, Resource } from "../config/cib.ts";
import type { HaResource, HaResources } from "../config/haresources.ts";

export interface ServiceItem {
  /** Of cib.xml the id; of haresources the word as written. */
  readonly name: string;
  readonly type: string;
  readonly at: Position;
  readonly address: ServiceAddress | undefined;
  /** `fstype` empty: left to mount. */
  readonly filesystem: { readonly device: string; readonly directory: string; readonly fstype: string } | undefined;
  /** Name of the resource that it promotes. */
  readonly drbd: string | undefined;
  readonly isApache: boolean;
  /** Undefined for haresources, which has no monitoring. */
  readonly primitive: Primitive | undefined;
}

export interface Service {
  /** `haresources`: the line; of cib.xml the id of the group or primitive. */
  readonly name: string;
  /** Preferred node in lower case; empty where it is not a fixed one. */
  readonly node: string;
  /** In the order of their start, where they have one. */
  readonly items: readonly ServiceItem[];
  readonly at: Position;
}

const apacheTypes = ["apache", "apache2", "httpd"];

export function servicesOfHaResources(source: HaResources): Service[] {
  return source.groups.map(({ node, resources, at }) => ({
    name: `${node} ${resources[0]?.written ?? ""}`,
    node,
    items: resources.map(itemOfWord),
    at,
  }));
}

function itemOfWord({ script, args, written, at }: HaResource): ServiceItem {
  const [first = "", second = "", third = ""] = args;
  const isAddress = script === "IPaddr" || script === "IPaddr2";
  return {
    name: written,
    type: script,
    at,
    address: isAddress ? parseServiceAddress(first) : undefined,
    filesystem: script === "Filesystem" ? { device: first, directory: second, fstype: third } : undefined,
    drbd: script === "drbddisk" ? first : undefined,
    isApache: apacheTypes.includes(script),
    primitive: undefined,
  };
}

export function servicesOfCib(cib: Cib): Service[] {
  return cib.resources.map((resource) => ({
    name: resource.id,
    node: preferredNode(cib, resource.id),
    items: itemsOf(resource),
    at: resource.at,
  }));
}

function itemsOf(resource: Resource): ServiceItem[] {
  if (resource.kind === "primitive") return [itemOfPrimitive(resource)];
  return resource.kind === "group" ? resource.members.map(itemOfPrimitive) : itemsOf(resource.resource);
}

function itemOfPrimitive(primitive: Primitive): ServiceItem {
  const { type, id, at, parameters } = primitive;
  const value = (...names: readonly string[]): string => {
    for (const name of names) {
      const pair = parameters.pairs.get(name);
      if (pair !== undefined) return pair.value;
    }
    return "";
  };
  const isAddress = type.toLowerCase() === "ipaddr" || type.toLowerCase() === "ipaddr2";
  const filesystem = { device: value("device", "1"), directory: value("directory", "2"), fstype: value("fstype", "3") };
  return {
    name: id,
    type,
    at,
    address: isAddress ? addressOf(value) : undefined,
    filesystem: type === "Filesystem" ? filesystem : undefined,
    drbd: type === "drbddisk" ? value("1") : type === "drbd" ? value("drbd_resource") : undefined,
    isApache: apacheTypes.includes(type),
    primitive,
  };
}

function addressOf(value: (...names: readonly string[]) => string): ServiceAddress | undefined {
  const whole = value("1");
  if (whole !== "") return parseServiceAddress(whole);
  const ip = value("ip");
  if (ip === "") return undefined;
  const prefix = parsePrefix(value("cidr_netmask", "netmask")) ?? -1;
  return { ip, prefix, nic: value("nic"), label: value("iflabel"), broadcast: value("broadcast") };
}

/** The node of the highest positive location score, where it is named by `#uname eq`. */
function preferredNode(cib: Cib, id: string): string {
  let best = 0;
  let node = "";
  for (const constraint of cib.constraints) {
    if (constraint.kind !== "location" || constraint.resource !== id) continue;
    const scores: (readonly [number, string])[] = [[constraint.score, constraint.node]];
    for (const { score = 0, expressions } of constraint.rules) {
      const [only, another] = expressions;
      const isName = another === undefined && only?.attribute === "#uname" && only.operation === "eq";
      if (isName) scores.push([score, only.value]);
    }
    for (const [score, name] of scores) {
      if (name === "" || score <= best) continue;
      best = score;
      node = name;
    }
  }
  return node;
}
