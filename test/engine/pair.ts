import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, mkdirSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ControlClient, ControlError } from "../../src/cli/control-client.ts";
import type { Outcome, ResourceStatus } from "../../src/core/status.ts";
import type { ControlReply, StateRequest } from "../../src/engine/control-interface.ts";
import { type JournalRecord, readJournal } from "../../src/engine/journal-format.ts";
import { type CommandResult, runCommand, until } from "../lab/command.ts";
import { engineProgram, ensureCompiled, futagoProgram } from "./compiled.ts";

/**
 * Two engine processes on loopback addresses of their own, each with folder, disk and configuration. They end with this process.
 * Control goes over the engines' control sockets: the commands themselves are tested elsewhere.
 */
export const nodeNames = ["host01", "host02"] as const;
export type NodeName = (typeof nodeNames)[number];

export interface PairOptions {
  /** Existing directory that takes the nodes' folders. */
  readonly scratch: string;
  readonly diskBytes: number;
  /** Added to the common `disk { }` section. */
  readonly disk?: string;
  /** The `net { }` section of a node; default `usualNet` on both. */
  readonly net?: Partial<Record<NodeName, string>>;
  readonly protocol?: Partial<Record<NodeName, string>>;
  /** Both nodes' configurations name the first one's disk. */
  readonly sharedDisk?: boolean;
  /** `fallback`: without io_uring. */
  readonly backend?: "fallback";
}

export const port = 7789;
export const usualNet = `cram-hmac-alg sha1; shared-secret "FooFunFactory"; connect-int 1; ping-int 1; ping-timeout 5;
    socket-check-timeout 1;`;
const stepMs = 10;

let opened = 0;

/** Addresses that no other process of the machine uses by accident. */
function addressesOf(number: number): Readonly<Record<NodeName, string>> {
  const network = `127.${64 + (Math.floor(process.pid / 256) % 64)}.${process.pid % 256}`;
  return { host01: `${network}.${1 + 2 * number}`, host02: `${network}.${2 + 2 * number}` };
}

/** Files on a tmpfs of an old kernel have no O_DIRECT. */
function ioOf(file: string): "direct" | "buffered" {
  try {
    closeSync(openSync(file, constants.O_RDWR | constants.O_DIRECT));
    return "direct";
  } catch {
    return "buffered";
  }
}

export class EngineNode {
  readonly name: NodeName;
  readonly address: string;
  readonly folder: string;
  readonly disk: string;
  readonly config: string;
  readonly environment: Readonly<Record<string, string>>;
  #child: ChildProcess | undefined;
  #client: ControlClient | undefined;

  constructor(name: NodeName, address: string, options: PairOptions, configText: (node: EngineNode) => string) {
    this.name = name;
    this.address = address;
    this.folder = join(options.scratch, name);
    this.disk = join(this.folder, "disk.img");
    this.config = join(this.folder, "drbd.conf");
    this.environment = {
      FUTAGO_RUN: join(this.folder, "run"),
      FUTAGO_STATE: join(this.folder, "state"),
      FUTAGO_CONF: join(this.folder, "futago.conf"),
      ...(options.backend === undefined ? {} : { FUTAGO_BACKEND: options.backend }),
    };
    mkdirSync(this.runFolder, { recursive: true });
    writeFileSync(this.disk, "");
    truncateSync(this.disk, options.diskBytes);
    writeFileSync(join(this.folder, "futago.conf"), `common { io ${ioOf(this.disk)}; }\n`);
    writeFileSync(this.config, configText(this));
  }

  get runFolder(): string {
    return join(this.folder, `run-${this.name}`, "r0");
  }
  get nbdSocket(): string {
    return join(this.runFolder, "nbd");
  }
  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }
  get pid(): number {
    return this.#child?.pid ?? 0;
  }
  /** What all engines of this node have written so far. */
  get log(): string {
    return readFileSync(join(this.folder, "engine.log"), "utf8");
  }

  /** `futago WORDS` on this node. */
  futago(...words: string[]): Promise<CommandResult> {
    const argv = [process.execPath, futagoProgram, "-c", this.config, "--node", this.name, ...words];
    return runCommand(argv, { env: this.environment });
  }

  async journal(): Promise<readonly JournalRecord[]> {
    const records: JournalRecord[] = [];
    const folder = join(this.folder, `state-${this.name}`, "r0", "journal");
    for await (const entry of readJournal(folder)) if ("kind" in entry) records.push(entry);
    return records;
  }

  async createMetadata(): Promise<void> {
    const created = await this.futago("create-md", "--force", "r0");
    if (created.code !== 0) throw new Error(`${this.name}: create-md: ${created.stderr}${created.stdout}`);
  }

  /** Starts the engine process, which begins diskless and StandAlone. It dies with this process, however that ends. */
  async start(): Promise<void> {
    if (this.isRunning) throw new Error(`${this.name} runs already`);
    const log = openSync(join(this.folder, "engine.log"), "a");
    const engine = [process.execPath, engineProgram, "r0", "-c", this.config, "--node", this.name];
    const env = { ...process.env, ...this.environment };
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...engine], { env, cwd: "/", stdio: ["ignore", log, log] });
    closeSync(log);
    this.#child = child;
    await until(`${this.name} answers`, async () => {
      if (!this.isRunning) throw new Error(`${this.name} did not start:\n${this.log}`);
      try {
        this.#client = await ControlClient.connect(join(this.runFolder, "control"));
        return true;
      } catch (error) {
        if (error instanceof ControlError && error.code === "unreachable") return false;
        throw error;
      }
    });
  }

  async up(): Promise<void> {
    await this.start();
    await this.must({ verb: "attach", volume: undefined });
    await this.connect();
  }

  connect(discardMyData = false): Promise<void> {
    return this.must({ verb: "connect", discardMyData, tentative: false });
  }
  disconnect(force = false): Promise<void> {
    return this.must({ verb: "disconnect", force });
  }
  primary(force = false): Promise<void> {
    return this.must({ verb: "primary", volume: undefined, force });
  }
  secondary(): Promise<void> {
    return this.must({ verb: "secondary", volume: undefined });
  }

  async #request(request: Parameters<ControlClient["request"]>[0]): Promise<ControlReply> {
    if (this.#client === undefined) throw new Error(`${this.name} is not running`);
    return this.#client.request(request);
  }

  async execute(request: StateRequest): Promise<Outcome> {
    const reply = await this.#request(request);
    if (reply.kind !== "result") throw new Error(`${this.name}: ${reply.kind} answers ${request.verb}`);
    return reply.outcome;
  }

  /** Throws if the engine refuses. Exit codes and texts of refusals are drbd-84 §4.5 and §10.6. */
  async must(request: StateRequest): Promise<void> {
    const { code, text } = await this.execute(request);
    if (code < 1 || code > 101) throw new Error(`${this.name}: ${request.verb}: (${code}) ${text}\n${this.tail()}`);
  }

  async status(): Promise<ResourceStatus> {
    const reply = await this.#request({ verb: "status" });
    if (reply.kind !== "state") throw new Error(`${this.name}: ${reply.kind} answers status`);
    return reply.status;
  }

  /** Polls the status until `holds`; throws with status and log after `timeout` ms. Returns that status. */
  async reaches(what: string, holds: (status: ResourceStatus) => boolean, timeout = 20_000): Promise<ResourceStatus> {
    const end = performance.now() + timeout;
    for (;;) {
      const status = await this.status();
      if (holds(status)) return status;
      if (performance.now() > end) {
        throw new Error(`${this.name}: not ${what} in ${timeout} ms:\n${JSON.stringify(status)}\n${this.tail()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, stepMs));
    }
  }

  tail(lines = 40): string {
    return this.log.trimEnd().split("\n").slice(-lines).join("\n");
  }

  /** SIGKILL, and waits until the process and with it its locks are gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#client?.close();
    this.#client = undefined;
    if (child === undefined || !this.isRunning) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** The SIGKILL alone, at this very moment. */
  killNow(): void {
    this.#child?.kill("SIGKILL");
  }

  /** SIGSTOP: it keeps its connections and says nothing, until SIGCONT. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }
  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  /** How the process ended by itself; waits for it. */
  async ended(): Promise<number | null> {
    const child = this.#child;
    if (child !== undefined && this.isRunning) await new Promise((resolve) => child.once("exit", resolve));
    this.#client?.close();
    this.#client = undefined;
    return child?.exitCode ?? null;
  }

  /** The first `size` bytes of the disk. */
  image(size: number): Uint8Array {
    return readFileSync(this.disk).subarray(0, size);
  }
}

export class Pair {
  readonly host01: EngineNode;
  readonly host02: EngineNode;
  readonly #scratch: string;

  constructor(options: PairOptions) {
    ensureCompiled();
    this.#scratch = options.scratch;
    const addresses = addressesOf(opened++ % 100);
    const { host01, host02 } = addresses;
    const where = (name: NodeName): string =>
      join(options.scratch, options.sharedDisk === true ? "host01" : name, "disk.img");
    const on = (name: NodeName): string =>
      `  on ${name} { device /dev/drbd0; disk ${where(name)}; address ${addresses[name]}:${port}; meta-disk internal; }\n`;
    const configText = (node: EngineNode): string => `resource r0 {
  protocol ${options.protocol?.[node.name] ?? "C"};
  syncer { rate 100M; }
  disk { ${options.disk ?? ""} }
  net { ${options.net?.[node.name] ?? usualNet} }
${on("host01")}${on("host02")}}\n`;
    this.host01 = new EngineNode("host01", host01, options, configText);
    this.host02 = new EngineNode("host02", host02, options, configText);
  }

  get nodes(): readonly [EngineNode, EngineNode] {
    return [this.host01, this.host02];
  }
  peerOf(node: EngineNode): EngineNode {
    return node === this.host01 ? this.host02 : this.host01;
  }

  /** Metadata, engines, connection, and one full sync from host01, which stays Primary. Returns the size in bytes. */
  async openSynced(): Promise<number> {
    await Promise.all(this.nodes.map((node) => node.createMetadata()));
    await Promise.all(this.nodes.map((node) => node.up()));
    await this.host01.reaches("Connected", ({ connection }) => connection === "Connected");
    await this.host01.primary(true);
    await this.synced();
    return (await this.host01.status()).volumes[0]?.size ?? 0;
  }

  /** Both connected and UpToDate, as both of them see it. */
  async synced(timeout = 20_000): Promise<void> {
    for (const node of this.nodes) await node.reaches("in sync", isInSync, timeout);
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}

const isInSync = (status: ResourceStatus): boolean =>
  status.connection === "Connected" &&
  status.volumes.every(
    ({ disk, peerDisk, replication, counters }) =>
      disk === "UpToDate" && peerDisk === "UpToDate" && replication === "Connected" && counters.oos === 0,
  );

/** KiB of the resyncs that a log tells of, oldest first. */
export const resyncsOf = (log: string): readonly number[] =>
  [...log.matchAll(/Began resync: will sync (\d+) KB/g)].map(([, kib]) => Number(kib));
