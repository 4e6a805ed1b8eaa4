import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./command.ts";
import { loopsGone } from "./loop-device.ts";

/** A process that cannot be mistaken for a later one with the same pid. */
interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks from boot to its start. */
  readonly start: string;
}

/** What a lab leaves behind when its owner dies without cleaning up. */
export interface Leftovers {
  readonly owner: ProcessIdentity;
  /** The processes whose end ends the lab: the namespaces' keepers. */
  readonly keepers: readonly ProcessIdentity[];
  /** Directory with disks, logs and overlays. */
  readonly directory: string;
}

/** On a tmpfs of the machine: a reboot ends labs and forgets them. */
const registry = "/run/futago-lab";

/** Undefined when there is no such process (a zombie has ended too). */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name in parentheses may contain anything, so count from its last parenthesis.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const start = fields[19];
    return fields[0] === "Z" || start === undefined ? undefined : { pid, start };
  } catch {
    return undefined;
  }
}

export function isAlive(known: ProcessIdentity): boolean {
  return identify(known.pid)?.start === known.start;
}

/** SIGKILL, unless the process ended and its pid is another's by now. */
export function killIfSame(target: ProcessIdentity): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, "SIGKILL");
  } catch {
    // It ended between the look and the signal.
  }
}

export function record(name: string, directory: string, keeperPids: readonly number[]): void {
  const owner = identify(process.pid);
  if (owner === undefined) throw new Error("no /proc of this process");
  const keepers = keeperPids.map(identify).filter((keeper) => keeper !== undefined);
  const state: Leftovers = { owner, keepers, directory };
  mkdirSync(registry, { recursive: true, mode: 0o700 });
  writeFileSync(join(registry, `${name}.json`), JSON.stringify(state));
}

export function forget(name: string): void {
  rmSync(join(registry, `${name}.json`), { force: true });
}

/** Removes every lab whose owner is gone. Returns their names. */
export async function removeStaleLabs(): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const name of stateFiles()) {
    const state = readState(name);
    if (state === undefined || isAlive(state.owner)) continue;
    for (const keeper of state.keepers) killIfSame(keeper);
    await until(`processes of stale lab ${name} ended`, () => !state.keepers.some(isAlive));
    await loopsGone(state.directory);
    rmSync(state.directory, { recursive: true, force: true });
    forget(name);
    removed.push(name);
  }
  return removed;
}

function stateFiles(): readonly string[] {
  try {
    return readdirSync(registry)
      .filter((file) => file.endsWith(".json"))
      .map((file) => file.slice(0, -".json".length));
  } catch {
    return [];
  }
}

/** Undefined when another lab of this moment is just writing or removing it. */
function readState(name: string): Leftovers | undefined {
  try {
    return JSON.parse(readFileSync(join(registry, `${name}.json`), "utf8")) as Leftovers;
  } catch {
    return undefined;
  }
}
