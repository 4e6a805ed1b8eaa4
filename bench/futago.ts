/** Futago's pair: two engines on two loopback addresses, protocol C, as a package runs them. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand } from "../test/lab/command.ts";
import { awaitSocket, type Server, startServer } from "./server.ts";
import type { OpenTarget, Place } from "./targets.ts";
import { createVolume, dropCache } from "./volume.ts";

const nodes = ["host01", "host02"] as const;
type Node = (typeof nodes)[number];

const roleOf = { host01: "primary", host02: "secondary" } as const;
const KiB = 1024;
const SYNC_MS = 120_000;
const COMMAND_MS = 60_000;

interface StatusJson {
  readonly devices: readonly { readonly size: number; readonly "disk-state": string }[];
  readonly connections: readonly { readonly peer_devices?: readonly { readonly "peer-disk-state": string }[] }[];
  readonly futago: { readonly backend: string };
}

/** A build of Futago and how it is configured. */
export interface Variant {
  /** The compiled src/. */
  readonly programs: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Added to drbd.conf's `disk` section. */
  readonly disk: string;
}

class FutagoPair {
  readonly #place: Place;
  readonly #variant: Variant;
  readonly #config: string;
  readonly #environment: Readonly<Record<string, string>>;

  constructor(place: Place, variant: Variant) {
    this.#place = place;
    this.#variant = variant;
    this.#config = join(place.folder, "drbd.conf");
    this.#environment = {
      ...variant.environment,
      FUTAGO_RUN: join(place.folder, "run"),
      FUTAGO_STATE: join(place.folder, "state"),
      FUTAGO_CONF: join(place.folder, "futago.conf"),
    };
    mkdirSync(place.folder, { recursive: true });
    writeFileSync(this.#config, this.#drbdConf());
    writeFileSync(join(place.folder, "futago.conf"), `common { io ${place.direct ? "direct" : "buffered"}; }\n`);
  }

  /** All options of the protocol are DRBD's defaults; the rate is that of the first sync, before anything is measured. */
  #drbdConf(): string {
    const on = nodes.map((node, n) => {
      const address = `${this.#place.network}.${n + 1}:${this.#place.port}`;
      return `  on ${node} { device /dev/drbd0; disk ${this.disk(node)}; address ${address}; meta-disk internal; }\n`;
    });
    return `resource r0 {\n  protocol C;\n  syncer { rate 1000M; }\n  disk { ${this.#variant.disk} }\n${on.join("")}}\n`;
  }

  disk(node: Node): string {
    return join(this.#place.volumes, `${node}.img`);
  }
  run(node: Node): string {
    return join(this.#place.folder, `run-${node}`, "r0");
  }

  async futago(node: Node, ...words: string[]): Promise<string> {
    const argv = [
      process.execPath,
      join(this.#variant.programs, "cli/main.js"),
      "-c",
      this.#config,
      "--node",
      node,
      ...words,
    ];
    const { code, stdout, stderr } = await runCommand(argv, { env: this.#environment, timeout: COMMAND_MS });
    if (code !== 0) throw new Error(`${node}: futago ${words.join(" ")} ended with ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  async start(node: Node): Promise<Server> {
    createVolume(this.disk(node), this.#place.bytes);
    await this.futago(node, "create-md", "--force", "r0");
    if (this.#place.direct) dropCache(this.disk(node));
    const argv = [...this.#place.nodeFlags(roleOf[node]), join(this.#variant.programs, "engine/main.js"), "r0"];
    const args = [process.execPath, ...argv, "-c", this.#config, "--node", node];
    const server = startServer(roleOf[node], node, this.#place.folder, args, this.#environment);
    await awaitSocket(server, join(this.run(node), "control"));
    await this.futago(node, "up", "r0");
    return server;
  }

  async status(node: Node): Promise<StatusJson> {
    const [status] = JSON.parse(await this.futago(node, "status", "--json", "r0")) as readonly StatusJson[];
    if (status === undefined) throw new Error(`${node}: no status of r0`);
    return status;
  }

  /** Both disks UpToDate: writes are mirrored, and nothing else is going on. */
  async synced(): Promise<void> {
    for (const from = performance.now(); ; await sleep(100)) {
      const text = await this.futago("host01", "status", "r0");
      if (/^ *disk:UpToDate/m.test(text) && text.includes("peer-disk:UpToDate")) return;
      if (performance.now() - from > SYNC_MS) throw new Error(`not in sync after ${SYNC_MS} ms:\n${text}`);
    }
  }

  /** Throws unless the volume is the same on both disks, byte for byte. Returns its size. */
  async compare(): Promise<number> {
    const bytes = ((await this.status("host01")).devices[0]?.size ?? 0) * KiB;
    if (bytes <= 0) throw new Error("the volume has no size");
    const disks = nodes.map((node) => this.disk(node));
    const result = await runCommand(["cmp", "-n", String(bytes), ...disks], { timeout: COMMAND_MS });
    if (result.code !== 0) throw new Error(`the replicas differ: ${result.stdout}${result.stderr}`);
    if (this.#place.direct) for (const disk of disks) dropCache(disk);
    return bytes;
  }
}

/** Opens a pair that is in sync and whose first node is Primary. */
export async function openFutago(place: Place, variant: Variant): Promise<OpenTarget> {
  const pair = new FutagoPair(place, variant);
  const servers: Server[] = [];
  try {
    for (const node of nodes) servers.push(await pair.start(node));
    await pair.futago("host01", "wait-connect", "r0");
    await pair.futago("host01", "primary", "--force", "r0");
    await pair.synced();
    const bytes = await pair.compare();
    return {
      uri: `nbd+unix:///r0?socket=${join(pair.run("host01"), "nbd")}`,
      bytes,
      servers,
      note: (await pair.status("host01")).futago.backend,
      compare: () => pair.compare(),
      close: () => rmSync(place.folder, { recursive: true, force: true }),
    };
  } catch (cause) {
    const log = servers.map((server) => readFileSync(server.log, "utf8").split("\n").slice(-8).join("\n"));
    throw new Error(`${cause instanceof Error ? cause.message : cause}\n${log.join("\n")}`, { cause });
  }
}
