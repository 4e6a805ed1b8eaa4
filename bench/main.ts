/**
 * `npm run bench`: what mirroring costs, Futago's and that of others, on one machine.
 *
 * Goals: ratios that hold on another day. Every round runs every target on every job, so that a ratio compares neighbours in time; CPU per
 * operation counts for more than operations per second, because the load generator shares the machine. Peers are run as
 * well as they can be. A target whose replicas differ afterwards has no numbers.
 *
 * Not goals: absolute speed (a shared virtual machine's changes threefold from run to run), a real network (loopback has neither
 * latency nor loss), many clients, filesystems, resync. What makes a number void: a load of other processes that changes within a
 * round, `--profile`, one round only.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureCompiled } from "../test/engine/compiled.ts";
import { parseFio, runFio } from "./fio.ts";
import { type JobName, jobs } from "./jobs.ts";
import { describeMachine, fileSystemOf, machineText } from "./machine.ts";
import { furnishNamespace, runInNamespace, wantsNamespace } from "./namespace.ts";
import { type Options, parseOptions, usage } from "./options.ts";
import { cpuPerOperation, type Run, summaryOf, switchesPerOperation, tableOf } from "./report.ts";
import { stopServers, usageOf } from "./server.ts";
import { type OpenTarget, type Place, targetOf } from "./targets.ts";
import { type MediumName, media } from "./volume.ts";

const references = ["a4b", "a4c", "a3u"];
const MiB = 1024 * 1024;
const FIRST_PORT = 20_000;
/** Verified writes before anything is measured: they also warm caches, activity log and compilers. */
const WARM_UP_BYTES = 48 * MiB;
const results = fileURLToPath(new URL("results", import.meta.url));
const folderName = `futago-bench-${process.pid}`;
const folderPattern = /^futago-bench-(\d+)$/;

/** Left behind by benchmarks that were killed. */
function removeLeftovers(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = folderPattern.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(parent, name), { recursive: true, force: true });
  }
}

/** Folders of this process, removed when it ends. */
function makeFolder(parent: string): string {
  removeLeftovers(parent);
  const folder = join(parent, folderName);
  mkdirSync(folder, { recursive: true });
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function placeFor(options: Options, medium: MediumName, target: string, scratch: string): Place {
  const number = options.media.indexOf(medium) * options.targets.length + options.targets.indexOf(target);
  const parent = medium === "tmpfs" ? "/dev/shm" : (options.disk ?? tmpdir());
  const { profile } = options;
  return {
    folder: join(scratch, String(number)),
    volumes: join(parent, folderName, `${medium}-${number}`),
    bytes: options.bytes,
    direct: media[medium].direct,
    port: FIRST_PORT + (process.pid % 500) * 20 + number,
    network: `127.${64 + (process.pid % 64)}.${number}`,
    nodeFlags: (role) =>
      profile === undefined
        ? []
        : [
            "--cpu-prof",
            `--cpu-prof-dir=${profile}`,
            `--cpu-prof-name=${medium}-${target.replace(/\W+/g, "_")}-${role}.cpuprofile`,
          ],
  };
}

const flagged = (flags: Readonly<Record<string, string | number>>): string[] =>
  Object.entries(flags).map(([name, value]) => `--${name}=${value}`);

/** Writes with checksums and reads them back. */
async function warmUp(target: OpenTarget): Promise<void> {
  const size = Math.floor(target.bytes / MiB) * MiB;
  const bytes = Math.min(WARM_UP_BYTES, size / 4);
  const work = { rw: "randwrite", bs: "4k", iodepth: 16, size, io_size: bytes, verify: "crc32c" };
  await runFio(target.uri, ["--randrepeat=0", ...flagged(work)], 120_000);
}

async function measure(
  target: OpenTarget,
  job: JobName,
  seconds: number,
): Promise<Omit<Run, "round" | "medium" | "target">> {
  const { fio, direction } = jobs[job];
  const size = Math.floor(target.bytes / MiB) * MiB;
  const common = flagged({ size, runtime: `${Math.round(seconds * 1000)}ms`, randrepeat: 0 });
  const before = target.servers.map(usageOf);
  const output = await runFio(
    target.uri,
    ["--time_based", "--norandommap", ...common, ...fio],
    seconds * 1000 + 60_000,
  );
  const after = target.servers.map(usageOf);
  const measured = parseFio(output, direction);
  const servers = target.servers.map(({ role }, n) => {
    const per = (key: "user" | "system" | "switches", scale: number): number =>
      (((after[n]?.[key] ?? 0) - (before[n]?.[key] ?? 0)) * scale) / measured.operations;
    return { role, user: per("user", 1e6), system: per("system", 1e6), switches: per("switches", 1) };
  });
  return { job, ...measured, servers };
}

const runText = (run: Run): string =>
  [
    `${run.medium} ${run.job.padEnd(6)} ${run.target.padEnd(16)} ${run.iops.toFixed(0).padStart(7)} IOPS`,
    `${run.megabytesPerSecond.toFixed(1).padStart(7)} MB/s  p50 ${run.p50.toFixed(0)} us  p99 ${run.p99.toFixed(0)} us`,
    `servers ${cpuPerOperation(run).toFixed(1)} us/op, ${switchesPerOperation(run).toFixed(2)} cs/op`,
  ].join("  ");

/** All rounds on one medium. The targets stay open, idle ones waiting in the kernel. */
async function runMedium(options: Options, medium: MediumName, scratch: string, runs: Run[]): Promise<void> {
  const open = new Map<string, OpenTarget>();
  try {
    for (const name of options.targets) {
      const target = targetOf(name);
      if (target === undefined) throw new Error(`no target ${name}`);
      const opened = await target.open(placeFor(options, medium, name, scratch));
      open.set(name, opened);
      await warmUp(opened);
      console.log(`${medium}: ${name} is open${opened.note === undefined ? "" : ` (${opened.note})`}`);
    }
    for (let round = 0; round < options.rounds; round++) {
      for (const job of options.jobs) {
        for (const [target, opened] of open) {
          const run = { round, medium, target, ...(await measure(opened, job, options.seconds)) };
          runs.push(run);
          console.log(runText(run));
        }
      }
    }
    for (const [name, { compare }] of open) {
      const bytes = await compare?.();
      if (bytes !== undefined) console.log(`${medium}: ${name}: all ${bytes} bytes are the same on both nodes`);
    }
  } finally {
    for (const { servers, close } of open.values()) {
      await stopServers(servers);
      close?.();
    }
  }
}

function printHead(options: Options, machine: ReturnType<typeof describeMachine>): void {
  console.log(machineText(machine));
  const { rounds, seconds, bytes } = options;
  console.log(`parameters: ${rounds} rounds, ${seconds} s per run, volumes of ${bytes / MiB} MiB, fio --ioengine=nbd`);
  for (const medium of options.media) {
    const parent = medium === "tmpfs" ? "/dev/shm" : (options.disk ?? tmpdir());
    console.log(`medium ${medium}: ${media[medium].title}; ${parent} is ${fileSystemOf(parent)}`);
  }
  console.log("\n| target | what | an acknowledged write is | FLUSH reaches |\n| --- | --- | --- | --- |");
  for (const name of options.targets) {
    const target = targetOf(name);
    if (target !== undefined) console.log(`| ${name} | ${target.title} | ${target.acknowledged} | ${target.flush} |`);
  }
  for (const reason of options.skipped) console.log(`not measured: ${reason}`);
  console.log("");
}

function printTables(options: Options, runs: readonly Run[]): void {
  console.log("\nMedians over the rounds; ratios within each round: least - **median** - greatest, CPU as median.");
  for (const name of options.targets.filter((target) => target.startsWith("futago"))) {
    console.log(`\n${summaryOf(runs, name, references)}`);
  }
  for (const medium of options.media) {
    for (const job of options.jobs) {
      const own = runs.filter((run) => run.medium === medium && run.job === job);
      console.log(`\n### ${medium}: ${jobs[job].title} (${job})\n\n${tableOf(own, references)}`);
    }
  }
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (wantsNamespace()) {
    process.exitCode = await runInNamespace();
    return;
  }
  furnishNamespace();
  if (options.targets.some((name) => name.startsWith("futago") && !name.includes("@"))) ensureCompiled();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
  const scratch = makeFolder(tmpdir());
  if (options.media.includes("tmpfs")) makeFolder("/dev/shm");
  if (options.disk !== undefined) makeFolder(options.disk);
  const machine = describeMachine();
  printHead(options, machine);
  const runs: Run[] = [];
  for (const medium of options.media) await runMedium(options, medium, scratch, runs);
  printTables(options, runs);
  const json = options.json ?? join(results, `${new Date().toISOString().replace(/:/g, "-")}.json`);
  mkdirSync(dirname(json), { recursive: true });
  const { rounds, seconds, bytes } = options;
  writeFileSync(json, `${JSON.stringify({ machine, parameters: { rounds, seconds, bytes }, runs }, null, 1)}\n`);
  console.log(`\nresults: ${json}`);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  if (error instanceof Error && /^--|Unknown option|Unexpected argument/.test(error.message)) console.error(usage);
  process.exitCode = 1;
}
