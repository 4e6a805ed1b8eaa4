/**
 * Lines of `drbdsetup events2` and of 8.4's `events` from one status to the next (drbd-84 §10.8; the rules for names and for what
 * a StandAlone connection shows are those of drbd-utils 9.22 with the kernel's 8.4.11). Pure.
 */
import type { ResourceStatus, VolumeStatus } from "../core/status.ts";
import { connectionShown, replicationShown, resyncSuspended } from "./status-text.ts";

/** `key:value` pairs. */
type Pairs = readonly (readonly [key: string, value: string | number])[];

interface EventObject {
  readonly kind: "resource" | "connection" | "device" | "peer-device";
  /** Which one it is: what every line of it begins with. */
  readonly keys: Pairs;
  readonly info: Pairs;
  readonly statistics: Pairs;
}

const words = (pairs: Pairs): string => pairs.map(([key, value]) => ` ${key}:${value}`).join("");
const yesNo = (value: boolean): string => (value ? "yes" : "no");
const writeOrderings = { f: "flush", d: "drain", n: "none" } as const;

/** The connection has a name only while it has a net configuration. */
const connectionKeys = (status: ResourceStatus, named: boolean): Pairs => [
  ["name", status.name],
  ["peer-node-id", 0],
  ...(named ? [["conn-name", "peer"] as const] : []),
];

function resourceOf(status: ResourceStatus): EventObject {
  return {
    kind: "resource",
    keys: [["name", status.name]],
    info: [
      ["role", status.role],
      ["suspended", yesNo(status.suspended)],
    ],
    statistics: [["write-ordering", writeOrderings[status.writeOrdering]]],
  };
}

function connectionOf(status: ResourceStatus, named: boolean): EventObject {
  return {
    kind: "connection",
    keys: connectionKeys(status, named),
    info: [
      ["connection", connectionShown(status.connection)],
      ["role", status.peerRole],
    ],
    statistics: [["congested", "no"]],
  };
}

function deviceOf({ name }: ResourceStatus, volume: VolumeStatus): EventObject {
  const { counters } = volume;
  return {
    kind: "device",
    keys: [
      ["name", name],
      ["volume", volume.volume],
      ["minor", volume.minor],
    ],
    info: [["disk", volume.disk]],
    statistics: [
      ["size", volume.size / 1024],
      ["read", counters.dr],
      ["written", counters.dw],
      ["al-writes", counters.al],
      ["bm-writes", counters.bm],
      ["upper-pending", counters.ap],
      ["lower-pending", counters.lo],
      ["al-suspended", yesNo(volume.alSuspended)],
      ["blocked", "no"],
    ],
  };
}

function peerDeviceOf(status: ResourceStatus, named: boolean, volume: VolumeStatus): EventObject {
  const { counters } = volume;
  return {
    kind: "peer-device",
    keys: [...connectionKeys(status, named), ["volume", volume.volume]],
    info: [
      ["replication", replicationShown(volume.replication)],
      ["peer-disk", volume.peerDisk],
      ["resync-suspended", resyncSuspended(volume)],
    ],
    statistics: [
      ["received", counters.nr],
      ["sent", counters.ns],
      ["out-of-sync", counters.oos],
      ["pending", counters.pe],
      ["unacked", counters.ua],
    ],
  };
}

/** In the order in which drbdsetup lists them. */
const objectsOf = (status: ResourceStatus, named: boolean): readonly EventObject[] => [
  resourceOf(status),
  connectionOf(status, named),
  ...status.volumes.map((volume) => deviceOf(status, volume)),
  ...status.volumes.map((volume) => peerDeviceOf(status, named, volume)),
];

const line = (event: string, { kind, keys }: EventObject, ...rest: readonly Pairs[]): string =>
  `${event} ${kind}${words(keys)}${rest.map(words).join("")}`;

const isStandAlone = ({ connection }: ResourceStatus): boolean => connection === "StandAlone";

/** The lines that say what there is; `exists -` ends the list of all resources and is the caller's. */
export const existing = (status: ResourceStatus, statistics: boolean): readonly string[] =>
  objectsOf(status, !isStandAlone(status)).map((object) =>
    line("exists", object, object.info, statistics ? object.statistics : []),
  );

/** Pairs that are different now. Of statistics the numbers are told with every change, words only if they changed. */
const changed = (before: Pairs, after: Pairs): Pairs => after.filter(([, value], n) => before[n]?.[1] !== value);
const told = (before: Pairs, after: Pairs): Pairs =>
  after.filter(([, value], n) => typeof value === "number" || before[n]?.[1] !== value);

function changesOf(before: readonly EventObject[], after: readonly EventObject[], statistics: boolean): string[] {
  const old = new Map(before.map((object) => [object.kind + words(object.keys), object]));
  return after.flatMap((object) => {
    const was = old.get(object.kind + words(object.keys));
    const info = was === undefined ? [] : changed(was.info, object.info);
    if (was === undefined || info.length === 0) return [];
    return [line("change", object, info, statistics ? told(was.statistics, object.statistics) : [])];
  });
}

/** As it is before anything of it is known: what a connection is created with. */
const unconnected = (status: ResourceStatus): ResourceStatus => ({
  ...status,
  connection: "StandAlone",
  peerRole: "Unknown",
  volumes: status.volumes.map((volume) => ({
    ...volume,
    replication: "StandAlone",
    peerDisk: "DUnknown",
    pausedByUser: false,
    pausedByPeer: false,
    pausedByDependency: false,
  })),
});

const ofConnection = ({ kind }: EventObject): boolean => kind === "connection" || kind === "peer-device";
const ofDisks = (object: EventObject): boolean => !ofConnection(object);

const created = (objects: readonly EventObject[], statistics: boolean): readonly string[] =>
  objects.map((object) => line("create", object, object.info, statistics ? object.statistics : []));
const destroyed = (objects: readonly EventObject[]): readonly string[] =>
  objects.toReversed().map((object) => line("destroy", object));

/**
 * What became different; values that stayed the same are left out, and counters alone are no change. Undefined stands for a
 * resource whose engine does not run. A connection and its peer devices come when it leaves StandAlone and go when it returns.
 */
export function changes(
  before: ResourceStatus | undefined,
  after: ResourceStatus | undefined,
  statistics: boolean,
): readonly string[] {
  if (after === undefined) {
    if (before === undefined) return [];
    const end = isStandAlone(before) ? [] : changes(before, unconnected(before), statistics);
    return [...end, ...destroyed(objectsOf(before, true).filter(ofDisks))];
  }
  if (before === undefined) {
    const start = unconnected(after);
    return [...created(objectsOf(start, true).filter(ofDisks), statistics), ...changes(start, after, statistics)];
  }
  const comes = isStandAlone(before) && !isStandAlone(after);
  const goes = !isStandAlone(before) && isStandAlone(after);
  const without = isStandAlone(before) && isStandAlone(after);
  const old = objectsOf(comes ? unconnected(before) : before, true);
  const now = objectsOf(after, true);
  return [
    ...(comes ? created(old.filter(ofConnection), statistics) : []),
    ...changesOf(old, without ? now.filter(ofDisks) : now, statistics),
    ...(goes ? destroyed(now.filter(ofConnection)) : []),
  ];
}

/** A handler's call (`waitStatus` undefined) or its answer; `volume` undefined for those of the whole resource. */
export function helperLine(
  status: ResourceStatus,
  helper: string,
  volume: number | undefined,
  waitStatus: number | undefined,
): string {
  const minor = status.volumes.find((one) => one.volume === volume)?.minor;
  const device: Pairs = volume === undefined || minor === undefined ? [] : Object.entries({ volume, minor });
  const answer = waitStatus === undefined ? "" : ` status:${waitStatus}`;
  const event = waitStatus === undefined ? "call" : "response";
  return `${event} helper${words(connectionKeys(status, true))}${words(device)} helper:${helper}${answer}`;
}

/** `2024-01-31T11:00:00.123456+01:00`, in the local time zone. */
export function timestamp(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day}T${time}.${String(date.getMilliseconds()).padStart(3, "0")}000${zone}`;
}

/** The part of a legacy event that changes: `{ cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate r--- }`. */
export function legacyState(status: ResourceStatus, volume: VolumeStatus): string {
  const flag = (set: boolean, letter: string): string => (set ? letter : "-");
  const flags = [
    status.suspended ? "s" : "r",
    flag(volume.pausedByDependency, "a"),
    flag(volume.pausedByPeer, "p"),
    flag(volume.pausedByUser, "u"),
  ].join("");
  const roles = `${status.role}/${status.peerRole}`;
  return `{ cs:${volume.replication} ro:${roles} ds:${volume.disk}/${volume.peerDisk} ${flags} }`;
}

const legacyObject = (status: ResourceStatus, volume: VolumeStatus): string =>
  `${volume.minor},${status.name}[${volume.volume}]`;

/** `7 ST 0,r0[0] { cs:... }`. */
export const legacyLine = (sequence: number, status: ResourceStatus, volume: VolumeStatus): string =>
  `${sequence} ST ${legacyObject(status, volume)} ${legacyState(status, volume)}`;

/** For each volume whose state changed the state before and after, and the state in force. `next` numbers the changes. */
export function legacyChanges(before: ResourceStatus, after: ResourceStatus, next: () => number): readonly string[] {
  return after.volumes.flatMap((volume) => {
    const was = before.volumes.find((one) => one.volume === volume.volume);
    if (was === undefined) return [legacyLine(next(), after, volume)];
    const [from, to] = [legacyState(before, was), legacyState(after, volume)];
    if (from === to) return [];
    const [number, object] = [next(), legacyObject(after, volume)];
    return [`${number} ST-prev ${object} ${from}`, `${number} ST-new ${object} ${to}`, `${number} ST ${object} ${to}`];
  });
}

/** `21 UH 0,r0[0] before-resync-source`, and `UH-post` with the wait status in hexadecimal; `-` stands for a handler of the resource. */
export function legacyHelper(
  sequence: number,
  status: ResourceStatus,
  helper: string,
  volume: number | undefined,
  waitStatus: number | undefined,
): string {
  const found = status.volumes.find((one) => one.volume === volume);
  const object = found === undefined ? `- ${status.name}` : legacyObject(status, found);
  return waitStatus === undefined
    ? `${sequence} UH ${object} ${helper}`
    : `${sequence} UH-post ${object} ${helper} 0x${waitStatus.toString(16).padStart(4, "0")}`;
}
