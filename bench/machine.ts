/** What the numbers depend on besides the programs: the machine, its kernel and the versions of everything involved. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly programs: readonly string[];
  readonly congestionControl: string;
  readonly loadAtStart: number;
}

const versions = [
  ["fio", "--version"],
  ["qemu-storage-daemon", "--version"],
  ["nbdkit", "--version"],
] as const;

function versionOf([program, option]: readonly [string, string]): string {
  const { stdout } = spawnSync(program, [option], { encoding: "utf8" });
  return stdout?.split("\n", 1)[0] || `no ${program}`;
}

export function describeMachine(): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    processors: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    programs: versions.map(versionOf),
    congestionControl: readFileSync("/proc/sys/net/ipv4/tcp_congestion_control", "utf8").trim(),
    loadAtStart: loadavg()[0] ?? 0,
  };
}

/** The file system's type as stat(1) names it. */
export const fileSystemOf = (folder: string): string =>
  spawnSync("stat", ["-f", "-c", "%T", folder], { encoding: "utf8" }).stdout.trim();

export const machineText = (machine: Machine): string =>
  [
    `machine: ${machine.processors} x ${machine.processor}, ${machine.memoryGiB} GiB, Linux ${machine.kernel}`,
    `programs: Node ${machine.node}, ${machine.programs.join(", ")}`,
    `network: loopback, TCP ${machine.congestionControl}; load at start: ${machine.loadAtStart.toFixed(1)}`,
  ].join("\n");
