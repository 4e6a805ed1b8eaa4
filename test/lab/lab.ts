import { mkdirSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LabHost } from "./host.ts";
import { forget, identify, isAlive, killIfSame, record, removeStaleLabs } from "./leftovers.ts";
import { loopsBelow, loopsGone } from "./loop-device.ts";
import { type HostName, hostNames } from "./topology.ts";
import { Wires } from "./wires.ts";

export interface LabOptions {
  /** For people: part of the lab's directory. Labs of one name can coexist. */
  readonly name: string;
  /** Size of the volume of each server; the file is sparse. */
  readonly diskBytes: number;
  /** `/etc/drbd.conf` of both servers, byte for byte. */
  readonly drbdConf: string;
  /** Existing directory that takes the lab's own; disks lie there, so not on a tmpfs when O_DIRECT matters. */
  readonly scratch: string;
  /** Hosts to power on at once; default all. */
  readonly boot?: readonly HostName[];
}

/** Two servers, a client PC and their cables, for as long as this process lives or until `close`. */
export interface Lab {
  /** Unique on this machine. */
  readonly name: string;
  readonly path: string;
  readonly host: (name: HostName) => LabHost;
  /** Ends everything inside and removes what is outside; may be called twice. */
  readonly close: () => Promise<void>;
}

/** Directories a host replaces by its own: what lies there cannot be reached from inside. */
const hiddenDirectories = ["/dev", "/etc", "/run", "/root", "/usr/local", "/var/lib", "/var/log", "/proc", "/sys"];

let opened = 0;

/** Opens a lab after removing those that crashed runs left behind. Throws, with nothing left over, when it cannot. */
export async function openLab(options: LabOptions): Promise<Lab> {
  await removeStaleLabs();
  const name = `${options.name}-${process.pid}-${++opened}`;
  const path = join(resolve(options.scratch), name);
  if (!/^[\w./-]+$/.test(path)) throw new Error(`mount options do not take this path: ${path}`);
  const hidden = hiddenDirectories.find((directory) => path.startsWith(`${directory}/`));
  if (hidden !== undefined) throw new Error(`scratch must not be in ${hidden}: the hosts have their own`);
  if (!statSync(options.scratch).isDirectory()) throw new Error(`scratch is no directory: ${options.scratch}`);
  mkdirSync(path, { mode: 0o755 });
  const parts = new LabParts(name, path);
  try {
    await parts.open(options);
  } catch (cause) {
    await parts.close();
    throw cause;
  }
  return { name, path, host: (which) => parts.host(which), close: () => parts.close() };
}

class LabParts {
  private readonly name: string;
  private readonly path: string;
  private readonly hosts = new Map<HostName, LabHost>();
  private wires: Wires | undefined;
  private closing: Promise<void> | undefined;

  constructor(name: string, path: string) {
    this.name = name;
    this.path = path;
  }

  async open(options: LabOptions): Promise<void> {
    openLabs.add(this);
    watchOwnEnd();
    this.note();
    const wires = await Wires.open();
    this.wires = wires;
    this.note();
    for (const name of hostNames) {
      const path = join(this.path, name);
      this.hosts.set(name, new LabHost(name, path, options.diskBytes, options.drbdConf, wires, () => this.note()));
    }
    const booted = await Promise.allSettled((options.boot ?? hostNames).map((name) => this.host(name).boot()));
    const failed = booted.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  host(name: HostName): LabHost {
    const host = this.hosts.get(name);
    if (host === undefined) throw new Error(`the lab is not open: no ${name}`);
    return host;
  }

  close(): Promise<void> {
    this.closing ??= this.tearDown();
    return this.closing;
  }

  /** What can be done without waiting for the event loop: end the processes, wait for them, remove the files. */
  closeNow(): void {
    const pids = this.keeperPids();
    const keepers = pids.map(identify).filter((keeper) => keeper !== undefined);
    for (const host of this.hosts.values()) host.killNow();
    for (const keeper of keepers) killIfSame(keeper);
    const deadline = performance.now() + 5_000;
    const pause = new Int32Array(new SharedArrayBuffer(4));
    while (performance.now() < deadline && (keepers.some(isAlive) || loopsBelow(this.path).length > 0)) {
      Atomics.wait(pause, 0, 0, 10);
    }
    // What is left over now is for the next lab, which reads the state file.
    if (loopsBelow(this.path).length > 0) return;
    rmSync(this.path, { recursive: true, force: true, maxRetries: 3 });
    forget(this.name);
  }

  private async tearDown(): Promise<void> {
    await Promise.all([...this.hosts.values()].map((host) => host.powerCut()));
    await this.wires?.close();
    await loopsGone(this.path);
    await removeDirectory(this.path);
    forget(this.name);
    openLabs.delete(this);
  }

  private note(): void {
    record(this.name, this.path, this.keeperPids());
  }

  private keeperPids(): readonly number[] {
    const pids = [...this.hosts.values()].filter((host) => host.isPowered).map((host) => host.pid1);
    return this.wires === undefined ? pids : [...pids, this.wires.keeperPid];
  }
}

/** The kernel unmounts a dead namespace's overlays a moment after its last process: until then their files are busy. */
async function removeDirectory(path: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      rmSync(path, { recursive: true, force: true });
      return;
    } catch (cause) {
      if (attempt === 50) throw cause;
      await sleep(20);
    }
  }
}

const openLabs = new Set<LabParts>();
let watching = false;

/** Exit, uncaught errors and the usual signals close what is open; SIGKILL is the kernel's (`--pdeathsig`). */
function watchOwnEnd(): void {
  if (watching) return;
  watching = true;
  const closeAll = (): void => {
    for (const lab of openLabs) lab.closeNow();
    openLabs.clear();
  };
  process.on("exit", closeAll);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      closeAll();
      // Others may want the signal too; alone, we end by it as if we had never listened.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    });
  }
}
