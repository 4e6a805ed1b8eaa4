/** The demo without root: two engines on two loopback addresses, files for disks, NBD clients instead of a mounted filesystem. */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { futagoProgram } from "../test/engine/compiled.ts";
import { runCommand, until } from "../test/lab/command.ts";
import { check, progressOf, say, show, step } from "./demo-screen.ts";

const MiB = 1024 * 1024;
const diskBytes = 128 * MiB;
const port = 7789;
const nodes = { host01: "127.0.0.1", host02: "127.0.0.2" } as const;
type Node = keyof typeof nodes;
const names: readonly Node[] = ["host01", "host02"];
const syncLimit = 40_000;

class Pair {
  readonly folder = mkdtempSync(join(tmpdir(), "futago-demo-"));
  readonly config: string;
  readonly #env: Record<string, string>;

  constructor() {
    this.config = drbdConf((node) => this.disk(node));
    this.#env = {
      FUTAGO_RUN: join(this.folder, "run"),
      FUTAGO_STATE: join(this.folder, "state"),
      FUTAGO_CONF: join(this.folder, "futago.conf"),
    };
    writeFileSync(join(this.folder, "drbd.conf"), this.config);
    // Temporary folders often lie on file systems without O_DIRECT.
    writeFileSync(join(this.folder, "futago.conf"), "common { io buffered; }\n");
    for (const node of names) {
      writeFileSync(this.disk(node), "");
      truncateSync(this.disk(node), diskBytes);
    }
  }

  disk(node: Node): string {
    return join(this.folder, `${node}.img`);
  }

  uri(node: Node): string {
    return `nbd+unix:///r0?socket=${join(this.folder, `run-${node}`, "r0", "nbd")}`;
  }

  async futago(node: Node, words: string, quiet = false): Promise<string> {
    const argv = [process.execPath, futagoProgram, "-c", join(this.folder, "drbd.conf"), "--node", node];
    const result = await runCommand([...argv, ...words.split(" ")], { env: this.#env, timeout: 60_000 });
    if (!quiet) show(node, `futago ${words}`, result.stdout + result.stderr);
    if (result.code !== 0) throw new Error(`${node}: futago ${words} ended with ${result.code}: ${result.stderr}`);
    return result.stdout;
  }

  pid(node: Node): number | undefined {
    try {
      return Number(readFileSync(join(this.folder, `run-${node}`, "r0", "engine.pid"), "utf8"));
    } catch {
      return undefined;
    }
  }

  /** kill -9, and nothing more. */
  async kill(node: Node): Promise<void> {
    const pid = this.pid(node);
    if (pid === undefined || !isAlive(pid)) return;
    process.kill(pid, "SIGKILL");
    await until(`the engine of ${node} has ended`, () => !isAlive(pid));
  }

  closeNow(): void {
    for (const node of names) {
      const pid = this.pid(node);
      if (pid !== undefined && isAlive(pid)) process.kill(pid, "SIGKILL");
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

const drbdConf = (disk: (node: Node) => string): string => `common { syncer { rate 10M; } }
resource r0 {
    protocol C;
    net { cram-hmac-alg sha1; shared-secret "FooFunFactory"; }
${names
  .map((node) => {
    const where = `device /dev/drbd0; disk ${disk(node)}; meta-disk internal;`;
    return `    on ${node} { ${where} address ${nodes[node]}:${port}; }\n`;
  })
  .join("")}}
`;

/** Somebody else's DRBD on these addresses would make the demo fail in puzzling ways. */
async function requireFree(address: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const server = createServer();
    server.once("error", (cause) => reject(new Error(`${address}:${port} is not free`, { cause })));
    server.listen(port, address, () => server.close(() => resolve()));
  });
}

async function copy(node: Node, from: string, to: string): Promise<void> {
  const result = await runCommand(["nbdcopy", "--flush", from, to], { timeout: 60_000 });
  show(node, `nbdcopy --flush ${from} ${to}`, result.stdout + result.stderr);
  if (result.code !== 0) throw new Error(`nbdcopy ended with ${result.code}`);
}

const sum = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** What NBD clients read from the whole volume; beyond what was written it has to be zero. */
async function checkVolume(pair: Pair, node: Node, written: Uint8Array): Promise<void> {
  const file = join(pair.folder, "read-back");
  await copy(node, pair.uri(node), file);
  const read = readFileSync(file);
  const expected = Buffer.alloc(read.length);
  expected.set(written);
  say(`sha256 of what was written and zeroes up to the end: ${sum(expected)}`);
  say(`sha256 of what ${node} gives back:                   ${sum(read)}`);
  check(sum(expected) === sum(read), `${node} has every byte`, "the checksums differ");
}

async function watchResync(pair: Pair, node: Node): Promise<void> {
  const end = performance.now() + syncLimit;
  let shown = "";
  for (;;) {
    const status = await pair.futago(node, "status r0", true);
    const lines = progressOf(status);
    if (/^ *disk:UpToDate/m.test(status) && status.includes("peer-disk:UpToDate"))
      return show(node, "futago status r0", status);
    if (lines.length > 0 && lines[0] !== shown) for (const line of lines) console.log(`   | ${line}`);
    shown = lines[0] ?? shown;
    if (performance.now() > end) throw new Error(`no end of the resync in ${syncLimit / 1000} s:\n${status}`);
    await sleep(1500);
  }
}

async function play(pair: Pair): Promise<void> {
  step("Two nodes on this machine, each with an empty file of 128 MiB for a disk, `io buffered`");
  for (const line of pair.config.trimEnd().split("\n")) say(`  ${line}`);
  for (const node of names) await pair.futago(node, "create-md r0");
  for (const node of names) await pair.futago(node, "up r0");
  await pair.futago("host01", "wait-connect r0");

  step("host01 becomes Primary; the other disk is filled from it at 10 MiB/s, while the volume is being written");
  await pair.futago("host01", "primary --force r0");
  const data = randomBytes(48 * MiB);
  const file = join(pair.folder, "data");
  writeFileSync(file, data);
  await copy("host01", file, pair.uri("host01"));
  await watchResync(pair, "host01");

  step("kill -9 for the engine of host01; host02 takes over");
  await pair.kill("host01");
  await pair.futago("host02", "primary r0");
  await pair.futago("host02", "status r0");
  await checkVolume(pair, "host02", data);

  step("Work goes on there, without host01");
  const news = randomBytes(3 * MiB);
  writeFileSync(file, news);
  await copy("host02", file, pair.uri("host02"));
  data.set(news);

  step("host01 starts again: it comes up as Secondary and fetches what it missed");
  await pair.futago("host01", "up r0");
  await pair.futago("host01", "wait-connect r0");
  await watchResync(pair, "host01");
  const log = readFileSync(join(pair.folder, "run-host01", "r0", "engine.log"), "utf8");
  const kib = Number([...log.matchAll(/Began resync: will sync (\d+) KB/g)].at(-1)?.[1] ?? 0);
  check(
    kib >= (3 * MiB) / 1024 && kib < diskBytes / 1024,
    `${kib} of ${diskBytes / 1024} KiB were resynchronised: what host02 wrote, and what host01's activity log names`,
    `${kib} KiB`,
  );

  step("And back: host02 hands over, host01 is Primary again");
  await pair.futago("host02", "secondary r0");
  await pair.futago("host01", "primary r0");
  await checkVolume(pair, "host01", data);
  for (const node of names) await pair.futago(node, "down r0");
}

/** `reason`: why this and not the whole demo. Throws if anything is not as it has to be; nothing is left behind either way. */
export async function demoOnLoopback(reason: string): Promise<void> {
  say(`The whole demo, with a filesystem and a power cut, ${reason}.`);
  say("This one needs no rights: two engines on 127.0.0.1 and 127.0.0.2, an NBD client, kill -9.");
  if (spawnSync("nbdcopy", ["--version"]).status !== 0) throw new Error("needs nbdcopy (Debian: libnbd-bin)");
  for (const node of names) await requireFree(nodes[node]);
  const pair = new Pair();
  const closeNow = (): void => pair.closeNow();
  process.on("exit", closeNow);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1));
  try {
    await play(pair);
  } finally {
    closeNow();
    process.off("exit", closeNow);
  }
}
