/** The processes of a target: started, watched, stopped by their ids. They die with the benchmark, however that ends. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Server {
  /** `primary` serves NBD, `secondary` holds the replica. */
  readonly role: "primary" | "secondary";
  readonly child: ChildProcess;
  readonly log: string;
}

/** What a process has used so far: seconds of CPU and number of context switches, all threads. */
export interface Usage {
  readonly user: number;
  readonly system: number;
  readonly switches: number;
}

const START_MS = 20_000;
const STOP_MS = 10_000;
const POLL_MS = 10;
/** _SC_CLK_TCK: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** `title` names the log in `folder`. */
export function startServer(
  role: Server["role"],
  title: string,
  folder: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Server {
  mkdirSync(folder, { recursive: true });
  const log = join(folder, `${title}.log`);
  const fd = openSync(log, "a");
  try {
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...argv], {
      env: { ...process.env, ...env },
      stdio: ["ignore", fd, fd],
    });
    return { role, child, log };
  } finally {
    closeSync(fd);
  }
}

const hasEnded = ({ child }: Server): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null;

const tail = ({ log }: Server): string =>
  existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n").slice(-10).join("\n") : "";

/** Polls until `holds`; throws with the end of the log when the time is up or the process ends. */
export async function awaitServer(
  server: Server,
  what: string,
  holds: () => Promise<boolean> | boolean,
): Promise<void> {
  for (const from = performance.now(); !(await holds()); await sleep(POLL_MS)) {
    if (hasEnded(server)) throw new Error(`${what}: the process ended:\n${tail(server)}`);
    if (performance.now() - from > START_MS) throw new Error(`${what}: not within ${START_MS} ms:\n${tail(server)}`);
  }
}

/** The socket file is there. Not tried: some servers take one connection only. */
export const awaitSocket = (server: Server, path: string): Promise<void> =>
  awaitServer(server, `waiting for ${path}`, () => existsSync(path));

export const awaitPort = (server: Server, port: number, address = "127.0.0.1"): Promise<void> =>
  awaitServer(
    server,
    `waiting for port ${port}`,
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, address);
        socket.once("connect", () => socket.end(() => resolve(true)));
        socket.once("error", () => resolve(false));
      }),
  );

export async function stopServers(servers: readonly Server[]): Promise<void> {
  for (const server of servers) {
    if (hasEnded(server)) continue;
    const ended = new Promise((resolve) => server.child.once("exit", resolve));
    server.child.kill("SIGTERM");
    const timer = setTimeout(() => server.child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(timer);
  }
}

/** From /proc/PID/stat and, for the switches, /proc/PID/task/TID/status (proc(5)). */
export function usageOf({ child }: Server): Usage {
  const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  let switches = 0;
  for (const thread of readdirSync(`/proc/${child.pid}/task`)) {
    const status = readFileSync(`/proc/${child.pid}/task/${thread}/status`, "utf8");
    for (const [, count] of status.matchAll(/voluntary_ctxt_switches:\s+(\d+)/g)) switches += Number(count);
  }
  return {
    user: Number(fields[11]) / TICKS_PER_SECOND,
    system: Number(fields[12]) / TICKS_PER_SECOND,
    switches,
  };
}
