/**
 * The two addons, typed. They are built by `scripts/build-native.mjs` into `native/build/Release`; an addon that is missing
 * or was built for another Node is reported as text, because `sys` is needed and `ring` is not.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** native/ring/ring.cc. Throws if the arena cannot be mapped. */
export interface NativeRing {
  readonly arena: ArrayBuffer;
  readonly ops: ArrayBuffer;
  readonly completions: ArrayBuffer;
  /** Why there is no ring, e.g. `io_uring_setup: EPERM`; empty when there is one. */
  readonly unavailable: string;
  start(wake: (completions: number) => void): void;
  /** Submits the first `count` rows of `ops`; with `harvest`, returns how many rows of `completions` are filled. */
  enter(count: number, harvest: boolean): number;
  giveBack(at: number, length: number): void;
  close(): void;
}

export interface NativeEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** native/sys. Every function returns a negative errno on failure. */
export interface NativeSys {
  closeFd(fd: number): number;
  dropCache(fd: number): number;
  /** Pages of the view, which must be page aligned, go back to the system and read as zeroes afterwards. */
  giveBack(pages: Uint8Array): number;
  allocate(fd: number, mode: number, at: number, length: number, done: (result: number) => void): void;
  allocateNow(fd: number, mode: number, at: number, length: number): number;
  directAlignment(fd: number): number;
  listenTcp(address: string, port: number, backlog: number): number;
  tcpSocket(localAddress: string): number;
  socketAddress(address: string, port: number, target: Uint8Array): number;
  listenUnix(path: string, backlog: number): number;
  probeUnix(path: string): number;
  noDelay(fd: number): number;
  shutdownSocket(fd: number, how: 0 | 1 | 2): number;
  localEndpoint(fd: number): NativeEndpoint | number;
  remoteEndpoint(fd: number): NativeEndpoint | number;
  peerCredentials(fd: number): PeerCredentials | number;
}

const require = createRequire(import.meta.url);

/** The sources run from `src/node`, the build from `dist/src/node`: the addons are above either. */
function addonPath(name: string): string | undefined {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const path = join(folder, "native", "build", "Release", `${name}.node`);
    if (existsSync(path)) return path;
    const above = dirname(folder);
    if (above === folder) return undefined;
    folder = above;
  }
}

function load(name: string): unknown {
  const path = addonPath(name);
  if (path === undefined) throw new Error(`native/build/Release/${name}.node is missing: run npm rebuild`);
  return require(path);
}

let sys: NativeSys | undefined;

/** Throws if the addon was not built: nothing works without it. */
export function loadSys(): NativeSys {
  sys ??= load("sys") as NativeSys;
  return sys;
}

/** A ring over an arena of `bytes`, or the reason why there is none. */
export function createRing(bytes: number, entries: number): NativeRing | string {
  try {
    const { Ring } = load("ring") as { Ring: new (bytes: number, entries: number) => NativeRing };
    const ring = new Ring(bytes, entries);
    return ring.unavailable === "" ? ring : ring.unavailable;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
