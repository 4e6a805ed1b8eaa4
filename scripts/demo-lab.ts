/** The demo as root: two machines made of namespaces, a filesystem, a power cut. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { futagoProgram } from "../test/engine/compiled.ts";
import type { LabHost } from "../test/lab/host.ts";
import { openLab } from "../test/lab/lab.ts";
import { nbdAttach, nbdMount } from "../test/lab/nbd-mount.ts";
import { check, progressOf, say, show, step } from "./demo-screen.ts";

const MiB = 1024 * 1024;
const diskBytes = 128 * MiB;
const socket = "/run/futago/r0/nbd";
const mountPoint = "/mnt/data";
const drbdConf = readFileSync(new URL("../test/vectors/config/report-drbd.conf", import.meta.url), "utf8");
/** `done` needs 13 s at 10 MiB/s; a busy machine gets more. */
const syncLimit = 40_000;

/** What is on the filesystem, as `sha256sum` tells it. */
const sumsOf = (host: LabHost): Promise<string> =>
  host.mustRun(["sh", "-c", `cd ${mountPoint} && find . -type f -print0 | sort -z | xargs -0 sha256sum`]);

async function futago(host: LabHost, words: string): Promise<string> {
  const output = await host.mustRun(["futago", ...words.split(" ")]);
  show(host.name, `futago ${words}`, output);
  return output;
}

const statusOf = (host: LabHost): Promise<string> => host.mustRun(["futago", "status", "r0"]);

async function install(host: LabHost): Promise<void> {
  const script = `#!/bin/sh\nexec "${process.execPath}" "${futagoProgram}" "$@"\n`;
  host.writeFile("/usr/local/bin/futago", script, 0o755);
  await host.boot();
}

/** Writes files of random bytes and one that people can read; all of it is on the volume when this returns. */
async function writeFiles(host: LabHost, folder: string, count: number): Promise<void> {
  const script = `mkdir ${mountPoint}/${folder} && cd ${mountPoint}/${folder} &&
    echo "written on ${host.name}" >readme.txt &&
    for n in $(seq ${count}); do head -c 1500000 /dev/urandom >file$n.bin; done && sync -f .`;
  await host.mustRun(["sh", "-c", script]);
  show(host.name, `mkdir ${mountPoint}/${folder}; ... ${count} files of 1.5 MB ...; sync`, "");
}

/** Prints the progress lines of the real status until both disks are UpToDate. */
async function watchResync(host: LabHost): Promise<string> {
  let shown = "";
  const end = performance.now() + syncLimit;
  for (;;) {
    const status = await statusOf(host);
    if (/^ *disk:UpToDate/m.test(status) && status.includes("peer-disk:UpToDate")) return status;
    const lines = progressOf(status);
    if (lines.length > 0 && lines[0] !== shown) for (const line of lines) console.log(`   | ${line}`);
    shown = lines[0] ?? shown;
    if (performance.now() > end) throw new Error(`no end of the resync in ${syncLimit / 1000} s:\n${status}`);
    await sleep(1500);
  }
}

async function bringUp(a: LabHost, b: LabHost): Promise<void> {
  step("Two machines, each with an empty 128 MiB disk /dev/VolGroup00/lvol0");
  say("They are namespaces of this machine: own network, processes, /dev, /etc. /etc/drbd.conf on both, unchanged:");
  for (const line of drbdConf.trimEnd().split("\n")) say(`  ${line}`);
  await Promise.all([a, b].map(install));

  step("Metadata on both disks, then both engines up");
  for (const host of [a, b]) await futago(host, "create-md r0");
  for (const host of [a, b]) await futago(host, "up r0");
  await futago(a, "wait-connect r0");
  await futago(a, "status r0");
}

async function firstSync(a: LabHost): Promise<string> {
  step("host01 becomes Primary: its disk is the good one, the other is filled from it at 10 MiB/s (`rate 10M`)");
  await futago(a, "primary --force r0");
  say("Meanwhile the volume is in use: ext4 through nbdfuse and a loop device.");
  const { device } = await nbdAttach(a, { socket, exportName: "r0" });
  // A discard of the whole device is mirrored too, and would leave nothing to synchronise.
  const makeAndMount = `mkfs.ext4 -q -E nodiscard ${device} && mkdir ${mountPoint} && mount ${device} ${mountPoint}`;
  show(a.name, makeAndMount, await a.mustRun(["sh", "-c", makeAndMount]));
  await writeFiles(a, "during-the-first-sync", 4);
  const status = await watchResync(a);
  show(a.name, "futago status r0", status);
  await writeFiles(a, "mirrored", 3);
  const sums = await sumsOf(a);
  show(a.name, "find -type f | xargs sha256sum", sums);
  return sums;
}

async function failover(a: LabHost, b: LabHost, sums: string): Promise<string> {
  step("Power cut at host01: no process of it is left, no packet says goodbye");
  await a.powerCut();
  say("host02 takes over. Asked to become Primary it first finds out that its peer has gone.");
  await futago(b, "primary r0");
  await futago(b, "status r0");

  step("The filesystem on host02: journal replayed, checked, mounted");
  const attached = await nbdAttach(b, { socket, exportName: "r0" });
  const replay = await b.run(["e2fsck", "-p", attached.device]);
  show(b.name, `e2fsck -p ${attached.device}`, replay.stdout + replay.stderr);
  check(
    replay.code === 0,
    "the journal is replayed and nothing had to be repaired",
    `e2fsck ended with ${replay.code}`,
  );
  const checked = await b.run(["e2fsck", "-fn", attached.device]);
  show(b.name, `e2fsck -fn ${attached.device}`, checked.stdout);
  check(checked.code === 0, "the filesystem is clean", `e2fsck ended with ${checked.code}`);
  await attached.detach();
  const mounted = await nbdMount(b, { socket, exportName: "r0", mountPoint });
  const found = await sumsOf(b);
  check(found === sums, `all ${lines(sums)} files are there, their checksums equal`, `\n${found}`);

  step("Work goes on there, without host01");
  await writeFiles(b, "while-host01-was-dead", 2);
  const after = await sumsOf(b);
  await mounted.unmount();
  return after;
}

const lines = (text: string): number => text.trimEnd().split("\n").length;

/** What the engine's log says about the last resync: its size in KiB, and why so much. */
async function lastResync(host: LabHost): Promise<number> {
  const log = await host.mustRun(["cat", "/run/futago/r0/engine.log"]);
  const told = /based on AL|drbd_sync_handshake|self |peer [0-9A-F]{16}|Began resync/;
  show(
    host.name,
    "from /run/futago/r0/engine.log",
    log
      .split("\n")
      .filter((line) => told.test(line))
      .join("\n"),
  );
  const found = [...log.matchAll(/Began resync: will sync (\d+) KB/g)].at(-1)?.[1];
  if (found === undefined) throw new Error(`${host.name}: no resync in the engine's log:\n${log}`);
  return Number(found);
}

async function comeBack(a: LabHost, b: LabHost, sums: string): Promise<void> {
  step("Power for host01: it boots, comes up as Secondary and fetches what it missed");
  await a.boot();
  await futago(a, "up r0");
  await futago(a, "wait-connect r0");
  show(a.name, "futago status r0", await watchResync(a));
  const kib = await lastResync(a);
  say("Copied again: what host02 wrote since (its bits), and the 4 MiB areas in which host01 was writing of late: its");
  say("activity log names them, since nobody knows which of the last writes reached its disk.");
  check(kib > 0 && kib < diskBytes / 1024, `${kib} of ${diskBytes / 1024} KiB were resynchronised`, `${kib} KiB`);

  step("And back: host02 hands over, host01 is Primary again");
  await futago(b, "secondary r0");
  await futago(a, "primary r0");
  const mounted = await nbdMount(a, { socket, exportName: "r0", mountPoint, mountOptions: "ro" });
  const found = await sumsOf(a);
  check(found === sums, `all ${lines(sums)} files are on host01 too, their checksums equal`, `\n${found}`);
  await mounted.unmount();
  const status = await futago(a, "status r0");
  check(status.includes("# protected:"), "the data is protected again", status);
}

interface StatusJson {
  readonly devices: readonly { readonly size: number }[];
}

/** Bytes of the volume: the disks' metadata lies behind. */
async function volumeSize(host: LabHost): Promise<number> {
  const [status] = JSON.parse(await host.mustRun(["futago", "status", "--json", "r0"])) as readonly StatusJson[];
  return (status?.devices[0]?.size ?? 0) * 1024;
}

async function compareDisks(a: LabHost, b: LabHost): Promise<void> {
  step("Both engines down: are the two disks equal?");
  const size = await volumeSize(a);
  for (const host of [a, b]) await futago(host, "down r0");
  const files = await Promise.all([a, b].map((host) => open(host.diskFile)));
  try {
    const contents = files.map(async (file) => (await file.read(Buffer.alloc(size), 0, size, 0)).buffer);
    const [one, two] = await Promise.all(contents);
    const same = size > 0 && one !== undefined && two !== undefined && one.equals(two);
    check(same, `all ${size} bytes of the volume are the same on both disks`, "they differ");
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

/** For whoever wants to know why it failed. */
async function tellAbout(host: LabHost): Promise<void> {
  if (!host.isPowered) return;
  const status = await host.run(["futago", "status", "--verbose", "r0"]);
  show(host.name, "futago status --verbose r0", status.stdout + status.stderr);
  const log = await host.run(["tail", "-n", "40", "/run/futago/r0/engine.log"]);
  show(host.name, "tail -n 40 /run/futago/r0/engine.log", log.stdout);
}

/** Throws if anything is not as it has to be; nothing is left behind either way. */
export async function demoInLab(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "futago-demo-"));
  process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
  const lab = await openLab({ name: "demo", diskBytes, drbdConf, scratch, boot: [] });
  try {
    const a = lab.host("host01");
    const b = lab.host("host02");
    await bringUp(a, b);
    const sums = await firstSync(a);
    const after = await failover(a, b, sums);
    await comeBack(a, b, after);
    await compareDisks(a, b);
  } catch (cause) {
    for (const name of ["host01", "host02"] as const) await tellAbout(lab.host(name));
    throw cause;
  } finally {
    await lab.close();
  }
}
