import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { engineProgram, ensureCompiled, futagoProgram } from "../../engine/compiled.ts";
import { type CommandResult, mustRun, runCommand, until } from "../../lab/command.ts";
import { digestOf } from "./pair.ts";

export interface FutagoSidePlan {
  /** Existing directory that takes this side's own. Short: the path of a socket has to fit into 108 bytes. */
  readonly scratch: string;
  readonly name: string;
  /** Where the engine listens, on 127.0.0.1: see `freePort`. */
  readonly port: number;
  /** The kernel's address: `KernelSide.address`. */
  readonly peer: string;
  /** Size in bytes of the backing disk of each volume, its metadata at the end included. */
  readonly volumes: readonly number[];
  readonly protocol?: "A" | "B" | "C";
  /** Statements of `net { }` in drbd.conf. */
  readonly net?: string;
  /** Statements of `disk { }`. */
  readonly disk?: string;
}

/** A port of 127.0.0.1 that nobody listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  return address.port;
}

/** Folder, configuration and backing disks; nothing runs yet. */
export function prepareFutagoSide(plan: FutagoSidePlan): FutagoSide {
  ensureCompiled();
  return new FutagoSide(plan);
}

/** A Futago engine whose peer is the kernel module, worked with the `futago` command. It dies with this process. */
export class FutagoSide {
  readonly plan: FutagoSidePlan;
  readonly folder: string;
  readonly disks: readonly string[];
  private readonly env: Readonly<Record<string, string>>;
  private child: ChildProcess | undefined;

  constructor(plan: FutagoSidePlan) {
    this.plan = plan;
    this.folder = join(plan.scratch, plan.name);
    mkdirSync(join(this.folder, "run-host01", plan.name), { recursive: true });
    this.env = {
      FUTAGO_RUN: join(this.folder, "run"),
      FUTAGO_STATE: join(this.folder, "state"),
      FUTAGO_CONF: join(this.folder, "futago.conf"),
      FUTAGO_NODE: "host01",
    };
    this.disks = plan.volumes.map((bytes, number) => {
      const file = join(this.folder, `disk${number}.img`);
      writeFileSync(file, "");
      truncateSync(file, bytes);
      return file;
    });
    writeFileSync(join(this.folder, "futago.conf"), "common { io buffered; }\n");
    this.configure();
  }

  /** Writes drbd.conf anew; it counts from the next start of the engine. */
  configure(net: string = this.plan.net ?? ""): void {
    const { name, port, peer, protocol = "C", disk = "" } = this.plan;
    const volumes = this.disks.map(
      (file, n) => `  volume ${n} { device minor ${n}; disk ${file}; meta-disk internal; }`,
    );
    const text = `resource ${name} {
  protocol ${protocol};
  net { ${net} }
  disk { ${disk} }
${volumes.join("\n")}
  on host01 { address 127.0.0.1:${port}; }
  on kernel { address ${peer}; }
}
`;
    writeFileSync(this.configFile, text);
  }

  get configFile(): string {
    return join(this.folder, "drbd.conf");
  }

  get isRunning(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Everything the engines of this side have written. */
  get log(): string {
    return readFileSync(join(this.folder, "engine.log"), "utf8");
  }

  /** `futago WORDS`; a refusal is a result. */
  futago(...words: readonly string[]): Promise<CommandResult> {
    return runCommand([process.execPath, futagoProgram, "-c", this.configFile, ...words], { env: this.env });
  }

  /** Like `futago`, for what has to succeed. Returns stdout. */
  async must(...words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.futago(...words);
    if (code === 0) return stdout;
    throw new Error(`futago ${words.join(" ")} ended with ${code}: ${stderr}${stdout}\n${this.tail()}`);
  }

  /** Starts the engine, then `futago up`. */
  async up(): Promise<void> {
    if (this.isRunning) throw new Error("the engine runs already");
    const log = openSync(join(this.folder, "engine.log"), "a");
    const engine = [process.execPath, engineProgram, this.plan.name, "-c", this.configFile];
    const env = { ...process.env, ...this.env };
    this.child = spawn("setpriv", ["--pdeathsig", "KILL", ...engine], { env, cwd: "/", stdio: ["ignore", log, log] });
    closeSync(log);
    const { name } = this.plan;
    await until("engine answers", async () => {
      if (!this.isRunning) throw new Error(`the engine did not start:\n${this.tail()}`);
      return (await this.futago("role", name)).code === 0;
    });
    await this.must("up", name);
  }

  /** `create-md`: a disk that never met a peer. */
  createMetadata(): Promise<string> {
    return this.must("create-md", "--force", this.plan.name);
  }
  primary(...words: readonly string[]): Promise<string> {
    return this.must("primary", ...words, this.plan.name);
  }
  secondary(): Promise<string> {
    return this.must("secondary", this.plan.name);
  }
  connect(...words: readonly string[]): Promise<string> {
    return this.must("connect", ...words, this.plan.name);
  }
  disconnect(): Promise<string> {
    return this.must("disconnect", this.plan.name);
  }

  /** SIGKILL to the engine; returns when it, and with it its locks, are gone. */
  async kill(): Promise<void> {
    const { child } = this;
    if (child === undefined || !this.isRunning) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** `futago down`, and waits until the engine has ended; SIGKILL if it does not. */
  async down(): Promise<void> {
    if (!this.isRunning) return;
    await this.futago("down", "--force", this.plan.name);
    await until("engine ended", () => !this.isRunning).catch(() => this.kill());
  }

  /** The export of a volume. */
  uri(volume = 0): string {
    const { name } = this.plan;
    const exportName = volume === 0 ? name : `${name}/${volume}`;
    return `nbd+unix:///${exportName}?socket=${join(this.folder, "run-host01", name, "nbd")}`;
  }

  /** Runs commands of `qemu-io` on the export; throws unless all of them succeed. */
  async qemuIo(commands: readonly string[], volume = 0): Promise<string> {
    const words = commands.flatMap((command) => ["-c", command]);
    const out = await mustRun(["qemu-io", "-t", "none", "-f", "raw", ...words, this.uri(volume)], { timeout: 60_000 });
    // It goes on after a command that failed.
    if (/failed|error/i.test(out)) throw new Error(`qemu-io: ${out}\n${this.tail()}`);
    return out;
  }

  /** SHA-256 of the first `bytes` of a backing disk. */
  digest(bytes: number, volume = 0): Promise<string> {
    return digestOf(this.disks[volume] ?? "", bytes);
  }

  tail(lines = 40): string {
    return this.log.trimEnd().split("\n").slice(-lines).join("\n");
  }
}
