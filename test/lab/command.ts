import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export interface CommandOptions {
  /** Milliseconds until the command and its process group are killed; default 30 000. */
  readonly timeout?: number;
  /** What the command reads on stdin; default: nothing (end of file at once). */
  readonly input?: string | Uint8Array;
  /** Added to the small fixed environment; nothing else of ours is inherited. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface CommandResult {
  /** Exit code; null when a signal ended the command. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The time ran out and the process group was killed. */
  readonly timedOut: boolean;
}

/** A running command: what it printed so far, a way to signal it and its end. */
export interface RunningCommand {
  /** The child of this process: for a command in a host that is its `nsenter`. */
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Settles when the command has ended and both of its streams are closed; rejects only if it could not start. */
  readonly exited: Promise<CommandResult>;
  /** Waits until stdout and stderr together match; throws with both when the time is up or the command ends without. */
  readonly prints: (pattern: RegExp, timeout?: number) => Promise<RegExpMatchArray>;
  /** Signals the command alone, so that its own exit code is the one reported. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** SIGKILL to the whole process group. */
  readonly kill: () => void;
}

const defaultTimeout = 30_000;

/** Coverage is the one thing of our environment that a child needs; the rest would make tests depend on the shell. */
function childEnvironment(extra: Readonly<Record<string, string>>): Record<string, string> {
  const env: Record<string, string> = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: "/root",
    LANG: "C.UTF-8",
  };
  const coverage = process.env["NODE_V8_COVERAGE"];
  if (coverage !== undefined) env["NODE_V8_COVERAGE"] = coverage;
  return { ...env, ...extra };
}

/** Direct children of a process, as pids of our own PID namespace. */
export function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return text === "" ? [] : text.split(" ").map(Number);
  } catch {
    return [];
  }
}

function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already: what the signal was for has happened.
  }
}

/**
 * Starts a command in a process group of its own. `wrapped` says that the command proper is the child of what we start
 * (`nsenter --pid` forks). Without a timeout it runs until it ends, is killed, or its host loses power.
 */
export function startCommand(argv: readonly string[], options: CommandOptions = {}, wrapped = false): RunningCommand {
  const [file, ...args] = argv;
  if (file === undefined) throw new Error("a command needs at least a program");
  const child = spawn(file, args, {
    cwd: "/",
    detached: true,
    env: childEnvironment(options.env ?? {}),
    stdio: ["pipe", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  let timedOut = false;
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  // A command that does not read its input closes the pipe early; its exit code tells whether that was an error.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input);

  const running = (): boolean => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const kill = (): void => {
    if (child.pid !== undefined && running()) signalQuietly(-child.pid, "SIGKILL");
  };
  const timer =
    options.timeout === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          kill();
          // A daemon that left the group may hold the pipes open; the result must not wait for it.
          child.stdout.destroy();
          child.stderr.destroy();
        }, options.timeout);

  const exited = new Promise<CommandResult>((resolve, reject) => {
    child.once("error", (cause) => {
      clearTimeout(timer);
      reject(new Error(`cannot start ${argv.join(" ")}`, { cause }));
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout: out, stderr: err, timedOut });
    });
  });
  // Whoever awaits it sees the rejection; a spawned command that nobody awaits must not end the process.
  exited.catch(() => {});

  return {
    child,
    stdout: () => out,
    stderr: () => err,
    exited,
    kill,
    signal: (signal) => {
      if (child.pid === undefined || !running()) return;
      const targets = wrapped ? childrenOf(child.pid) : [child.pid];
      for (const pid of targets) signalQuietly(pid, signal);
    },
    prints: async (pattern, timeout = 10_000) => {
      const deadline = performance.now() + timeout;
      for (;;) {
        const ended = !running();
        const match = (out + err).match(pattern);
        if (match !== null) return match;
        if (ended || performance.now() > deadline) {
          throw new Error(
            `${argv.join(" ")}: no ${pattern} ${ended ? "before it ended" : `in ${timeout} ms`}\n${out}${err}`,
          );
        }
        await sleep(10);
      }
    },
  };
}

/** Runs a command to its end, bounded by `timeout`. A non-zero exit is a result, not an error. */
export async function runCommand(
  argv: readonly string[],
  options: CommandOptions = {},
  wrapped = false,
): Promise<CommandResult> {
  return startCommand(argv, { ...options, timeout: options.timeout ?? defaultTimeout }, wrapped).exited;
}

/** Runs a tool of this machine that has to succeed; throws with what it printed when it does not. Returns stdout. */
export async function mustRun(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await runCommand(argv, options);
  if (result.code !== 0) {
    const end = result.timedOut ? "timed out" : `ended with ${result.code ?? result.signal}`;
    throw new Error(`${argv.join(" ")} ${end}: ${result.stderr}${result.stdout}`);
  }
  return result.stdout;
}

/** Polls until `holds` returns true; throws after `timeout` milliseconds, naming what was waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeout = 10_000): Promise<void> {
  const deadline = performance.now() + timeout;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not reached in ${timeout} ms: ${what}`);
    await sleep(20);
  }
}
