/** A network namespace of its own for the benchmark: nobody else's addresses, ports, or congestion control. */
import { spawn, spawnSync } from "node:child_process";

const INSIDE = "FUTAGO_BENCH_NAMESPACE";

/** Root only: others measure on the machine's own loopback. */
export const wantsNamespace = (): boolean => process.getuid?.() === 0 && process.env[INSIDE] === undefined;

/** Runs this program again in a namespace; its exit code. Signals to end are passed on. */
export function runInNamespace(): Promise<number> {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn("unshare", ["--net", "--", ...again], {
    stdio: "inherit",
    env: { ...process.env, [INSIDE]: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

/** Inside: the loopback device, and TCP's congestion control that every namespace may choose. */
export function furnishNamespace(): void {
  if (process.env[INSIDE] === undefined) return;
  const commands = [
    ["ip", "link", "set", "lo", "up"],
    ["sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"],
  ];
  for (const [program = "", ...args] of commands) {
    const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr}`);
  }
}
