/** Starts the engine process of a resource and waits for its end. The engine itself is `src/engine/main.ts`. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ResourcePaths } from "../engine/run-paths.ts";
import { ControlClient, ControlError } from "./control-client.ts";

/** Loading, locks and io_uring take well under a second; a busy machine may need more. */
const START_MS = 30_000;
const END_MS = 30_000;
const POLL_MS = 20;
/** Below /run, thus in memory: one old log is kept. */
const LOG_BYTES = 1024 * 1024;
const TAIL_LINES = 10;

/** Why there is no engine, with the last lines it wrote. */
export interface EngineFailure {
  readonly failure: string;
}

/** A connection to the running engine, or undefined if none listens. Other `ControlError`s are thrown. */
export async function reachEngine(paths: ResourcePaths): Promise<ControlClient | undefined> {
  try {
    return await ControlClient.connect(paths.control);
  } catch (error) {
    if (error instanceof ControlError && error.code === "unreachable") return undefined;
    throw error;
  }
}

/**
 * Starts `command` in a session of its own, its output going to `paths.log` and its process id to `paths.pid`, and waits until
 * the control socket answers or the process has ended.
 */
export async function startEngine(
  command: readonly string[],
  paths: ResourcePaths,
  env: Readonly<Record<string, string | undefined>>,
): Promise<ControlClient | EngineFailure> {
  const [program, ...args] = command;
  if (program === undefined) return { failure: "no engine program" };
  mkdirSync(paths.run, { recursive: true, mode: 0o700 });
  const logStart = rotateLog(paths.log);
  const log = openSync(paths.log, "a", 0o600);
  let child: ChildProcess;
  try {
    // "/": an engine that lives for months must not keep a file system from being unmounted.
    child = spawn(program, args, { detached: true, stdio: ["ignore", log, log], cwd: "/", env: { ...env } });
  } finally {
    closeSync(log);
  }
  const end = ending(child);
  if (child.pid !== undefined) writePid(paths, child.pid);
  const client = await awaitAnswer(paths, end);
  child.unref();
  if (client !== undefined) return client;
  const reason = end.text ?? `the engine does not answer on ${paths.control} after ${START_MS / 1000} s`;
  return { failure: [reason, ...tail(paths.log, logStart)].join("\n") };
}

/** Filled when the child has ended. */
interface Ending {
  text: string | undefined;
}

function ending(child: ChildProcess): Ending {
  const end: Ending = { text: undefined };
  child.once("error", (error) => {
    end.text = `the engine could not be started: ${error.message}`;
  });
  child.once("exit", (code, signal) => {
    end.text = `the engine ended ${code === null ? `by ${signal}` : `with exit code ${code}`}`;
  });
  return end;
}

async function awaitAnswer(paths: ResourcePaths, end: Ending): Promise<ControlClient | undefined> {
  for (const from = performance.now(); performance.now() - from < START_MS; ) {
    // Asked before the socket is tried: an engine started by somebody else at the same moment serves as well.
    const ended = end.text !== undefined;
    const client = await reachEngine(paths);
    if (client !== undefined || ended) return client;
    await delay(POLL_MS);
  }
  return undefined;
}

export function writePid(paths: ResourcePaths, pid: number): void {
  writeFileSync(paths.pid, `${pid}\n`, { mode: 0o600 });
}

/** Byte at which this start's output begins. */
function rotateLog(path: string): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= LOG_BYTES) return size;
  renameSync(path, `${path}.1`);
  return 0;
}

function tail(path: string, from: number): string[] {
  const text = readFileSync(path).subarray(from).toString("utf8").trimEnd();
  const lines = text === "" ? [] : text.split("\n").slice(-TAIL_LINES);
  return lines.length === 0
    ? [`it wrote nothing to ${path}`]
    : [`last lines of ${path}:`, ...lines.map((line) => `  ${line}`)];
}

/** Waits until the process is gone and its socket refuses; true if that happened in time. Removes the pid file. */
export async function awaitEnd(paths: ResourcePaths, pid: number): Promise<boolean> {
  for (const from = performance.now(); performance.now() - from < END_MS; await delay(POLL_MS)) {
    if (isAlive(pid)) continue;
    rmSync(paths.pid, { force: true });
    return true;
  }
  return false;
}

/** False for a zombie too: it holds no disk, and where no init reaps it it would never go. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}
