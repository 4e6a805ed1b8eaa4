/** fio as the load generator: one job, its numbers. */
import { spawn } from "node:child_process";

/** Latencies in microseconds; `operations` without the flushes. */
export interface Measured {
  readonly operations: number;
  readonly iops: number;
  readonly megabytesPerSecond: number;
  readonly p50: number;
  readonly p99: number;
}

interface FioDirection {
  readonly total_ios: number;
  readonly iops: number;
  readonly bw_bytes: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

interface FioOutput {
  readonly jobs: readonly { readonly error: number; readonly read: FioDirection; readonly write: FioDirection }[];
}

/** fio's output may begin with notes. Throws if it is not that of one job without error. */
export function parseFio(output: string, direction: "read" | "write"): Measured {
  const parsed = JSON.parse(output.slice(Math.max(output.indexOf("{"), 0))) as FioOutput;
  const [job] = parsed.jobs;
  if (job === undefined || parsed.jobs.length !== 1) throw new Error(`fio ran ${parsed.jobs.length} jobs, expected 1`);
  if (job.error !== 0) throw new Error(`fio: error ${job.error}`);
  const { total_ios, iops, bw_bytes, clat_ns } = job[direction];
  if (total_ios === 0) throw new Error("fio completed no operation");
  const latency = (percent: string): number => (clat_ns.percentile?.[percent] ?? Number.NaN) / 1000;
  return {
    operations: total_ios,
    iops,
    megabytesPerSecond: bw_bytes / 1e6,
    p50: latency("50.000000"),
    p99: latency("99.000000"),
  };
}

/** Runs fio against an NBD URI; its output. Throws if it fails or takes longer than `limit` ms. */
export async function runFio(uri: string, args: readonly string[], limit: number): Promise<string> {
  const argv = ["--name=bench", "--ioengine=nbd", `--uri=${uri}`, "--thread", "--output-format=json", ...args];
  const child = spawn("fio", argv, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const timer = setTimeout(() => child.kill("SIGKILL"), limit);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    if (code !== 0) throw new Error(`fio ended with ${code ?? "a signal"}:\n${errors}${output.slice(0, 500)}`);
    return output;
  } finally {
    clearTimeout(timer);
  }
}
