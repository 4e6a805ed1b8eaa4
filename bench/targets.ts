/** The programs that are compared, how each is started, and what an acknowledged write means there. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openFutago } from "./futago.ts";
import { executeAndAwait } from "./qmp.ts";
import { awaitPort, awaitSocket, type Server, startServer } from "./server.ts";
import { createVolume, dropCache } from "./volume.ts";

/** What a target may use: nobody else does. */
export interface Place {
  /** Sockets, logs, configuration. */
  readonly folder: string;
  /** On the medium. */
  readonly volumes: string;
  readonly bytes: number;
  readonly direct: boolean;
  readonly port: number;
  /** The first three numbers of a loopback network. */
  readonly network: string;
  /** Options for the Node of an engine, for profiles. */
  readonly nodeFlags: (role: Server["role"]) => readonly string[];
}

/** A target that serves. `bytes` is what the volume holds. */
export interface OpenTarget {
  readonly uri: string;
  readonly bytes: number;
  readonly servers: readonly Server[];
  readonly note?: string;
  /** Throws unless the replicas are equal; only while nothing is written. */
  compare?(): Promise<number>;
  close?(): void;
}

export interface Target {
  readonly title: string;
  readonly acknowledged: string;
  readonly flush: string;
  /** Programs without which it cannot run. */
  readonly needs: readonly string[];
  open(place: Place): Promise<OpenTarget>;
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const compiled = here("../dist/src");
const JOB_READY_MS = 120_000;

/** Compiles the shim and returns where it is. Throws what the compiler says. */
function nodelayShim(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const shim = join(folder, "nodelay.so");
  const args = ["-O2", "-Wall", "-shared", "-fPIC", "-o", shim, here("nodelay.c"), "-ldl"];
  const { status, stderr, error } = spawnSync("cc", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`cc ${args.join(" ")}: ${error?.message ?? stderr}`);
  return shim;
}

/** A file of the place, filled and out of the page cache where it will be accessed directly. */
function volumeOf(place: Place, name: string): string {
  const path = join(place.volumes, `${name}.img`);
  createVolume(path, place.bytes);
  if (place.direct) dropCache(path);
  return path;
}

/** QEMU: O_DIRECT goes with io_uring, the page cache with the thread pool, its default. */
function qemuFile(place: Place, node: string): string {
  const how = place.direct ? "cache.direct=on,aio=io_uring" : "cache.direct=off,aio=threads";
  return `driver=file,node-name=${node},filename=${volumeOf(place, node)},${how}`;
}

const qemuSocket = (place: Place): string => join(place.folder, "nbd");
const qemuServer = (place: Place, node: string): string[] => [
  ...["--nbd-server", `addr.type=unix,addr.path=${qemuSocket(place)},max-connections=0`],
  ...["--export", `type=nbd,id=e0,node-name=${node},name=vol,writable=on`],
];
const qemuUri = (place: Place): string => `nbd+unix:///vol?socket=${qemuSocket(place)}`;

function startQemu(place: Place, role: Server["role"], args: string[], env: Record<string, string> = {}): Server {
  return startServer(role, role, place.folder, ["qemu-storage-daemon", ...args], env);
}

/** The replica's NBD server on TCP, with the shim. */
async function startReplica(place: Place): Promise<Server> {
  const address = `addr.type=inet,addr.host=127.0.0.1,addr.port=${place.port},max-connections=0`;
  const args = ["--blockdev", qemuFile(place, "replica"), "--nbd-server", address];
  const server = startQemu(
    place,
    "secondary",
    [...args, "--export", "type=nbd,id=e0,node-name=replica,name=replica,writable=on"],
    { LD_PRELOAD: nodelayShim(place.folder) },
  );
  await awaitPort(server, place.port);
  return server;
}

const remoteNode = (place: Place): string =>
  `driver=nbd,node-name=remote,server.type=inet,server.host=127.0.0.1,server.port=${place.port},export=replica`;

async function openQemuFile(place: Place): Promise<OpenTarget> {
  const server = startQemu(place, "primary", ["--blockdev", qemuFile(place, "local"), ...qemuServer(place, "local")]);
  await awaitSocket(server, qemuSocket(place));
  return { uri: qemuUri(place), bytes: place.bytes, servers: [server] };
}

async function openQuorum(place: Place): Promise<OpenTarget> {
  const replica = await startReplica(place);
  const both = "children.0=local,children.1=remote,vote-threshold=2,read-pattern=fifo";
  const server = startQemu(place, "primary", [
    ...["--blockdev", qemuFile(place, "local"), "--blockdev", remoteNode(place)],
    ...["--blockdev", `driver=quorum,node-name=both,${both}`, ...qemuServer(place, "both")],
  ]);
  await awaitSocket(server, qemuSocket(place));
  return { uri: qemuUri(place), bytes: place.bytes, servers: [server, replica] };
}

async function openMirror(place: Place): Promise<OpenTarget> {
  const replica = await startReplica(place);
  const monitor = join(place.folder, "qmp");
  const server = startQemu(place, "primary", [
    ...["--chardev", `socket,id=c0,path=${monitor},server=on,wait=off`, "--monitor", "chardev=c0"],
    ...["--blockdev", qemuFile(place, "local"), "--blockdev", remoteNode(place), ...qemuServer(place, "local")],
  ]);
  await awaitSocket(server, monitor);
  await awaitSocket(server, qemuSocket(place));
  const mirror = { "job-id": "mirror", device: "local", target: "remote", sync: "full" };
  const args = { ...mirror, "copy-mode": "write-blocking", "filter-node-name": "mirror-top" };
  await executeAndAwait(monitor, { execute: "blockdev-mirror", arguments: args }, "BLOCK_JOB_READY", JOB_READY_MS);
  return { uri: qemuUri(place), bytes: place.bytes, servers: [server, replica] };
}

async function openNbdkit(place: Place): Promise<OpenTarget> {
  const server = startServer("primary", "nbdkit", place.folder, [
    ...["nbdkit", "-f", "-U", qemuSocket(place), "file", volumeOf(place, "local")],
  ]);
  await awaitSocket(server, qemuSocket(place));
  return { uri: `nbd+unix:///?socket=${qemuSocket(place)}`, bytes: place.bytes, servers: [server] };
}

const onBoth = "in the page cache (tmpfs) or on the device (direct) of both nodes";
const onOne = "in the page cache (tmpfs) or on the device (direct) of one node: no replica";

const inOrder = `${onBoth}; the replica keeps the order of what was acknowledged`;

/** Each way to run Futago, of whatever build. */
const variants = {
  futago: {
    title: "Futago, io_uring",
    acknowledged: `${inOrder}, with a flush of its disk at the barriers in between (25 ms at most)`,
    environment: {},
    disk: "",
  },
  "futago-no-disk-flushes": {
    title: "Futago, io_uring, `disk-flushes no`: as little as the others promise",
    acknowledged: `${inOrder}, as far as its disk keeps it`,
    environment: {},
    disk: "disk-flushes no;",
  },
  "futago-fallback": {
    title: "Futago, Node's own sockets and thread pool",
    acknowledged: `${inOrder}, with a flush of its disk at the barriers in between (25 ms at most)`,
    environment: { FUTAGO_BACKEND: "fallback" },
    disk: "",
  },
} as const;

const isVariant = (name: string): name is keyof typeof variants => Object.hasOwn(variants, name);

function futago(name: keyof typeof variants, programs: string, build = ""): Target {
  const { title, acknowledged, environment, disk } = variants[name];
  return {
    title: build === "" ? title : `${title} (${build})`,
    acknowledged,
    flush: disk === "" ? "both disks" : "the primary's disk, and the replica as a barrier",
    needs: ["setpriv", "cmp"],
    open: (place) => openFutago(place, { programs, environment, disk }),
  };
}

export const targets = {
  futago: futago("futago", compiled),
  "futago-no-disk-flushes": futago("futago-no-disk-flushes", compiled),
  "futago-fallback": futago("futago-fallback", compiled),
  a4b: {
    title: "QEMU storage daemon, quorum of a file and an NBD replica (TCP_NODELAY)",
    acknowledged: `${onBoth}; no order between unacknowledged writes, no barriers, no activity log`,
    flush: "both disks",
    needs: ["qemu-storage-daemon", "setpriv", "cc"],
    open: openQuorum,
  },
  a4c: {
    title: "QEMU storage daemon, blockdev-mirror write-blocking (TCP_NODELAY)",
    acknowledged: `${onBoth}; no order between unacknowledged writes`,
    flush: "the primary's disk only",
    needs: ["qemu-storage-daemon", "setpriv", "cc"],
    open: openMirror,
  },
  a4a: {
    title: "QEMU storage daemon, a file",
    acknowledged: onOne,
    flush: "the disk",
    needs: ["qemu-storage-daemon", "setpriv"],
    open: openQemuFile,
  },
  a3u: {
    title: "nbdkit file",
    acknowledged: "in the page cache of one node, on every medium (it has no O_DIRECT): no replica",
    flush: "the disk",
    needs: ["nbdkit", "setpriv"],
    open: openNbdkit,
  },
} as const satisfies Record<string, Target>;

/** Also `VARIANT@DIR`: another build of Futago to compare with, DIR being its compiled programs as in dist/src. */
export function targetOf(name: string): Target | undefined {
  const [variant = "", folder] = name.split("@", 2);
  if (folder !== undefined) return isVariant(variant) ? futago(variant, folder, folder) : undefined;
  return Object.hasOwn(targets, name) ? targets[name as keyof typeof targets] : undefined;
}

/** Programs that a target needs and this machine lacks. */
export const missingPrograms = (target: Target): readonly string[] =>
  target.needs.filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
