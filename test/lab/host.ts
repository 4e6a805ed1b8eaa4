import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { bootScript } from "./boot-script.ts";
import {
  type CommandOptions,
  type CommandResult,
  childrenOf,
  type RunningCommand,
  runCommand,
  startCommand,
} from "./command.ts";
import { attachLoop, loopMinor, loopsGone, releaseLoop } from "./loop-device.ts";
import { type HostName, hostsFile, type LinkName, topology, volumePath } from "./topology.ts";
import type { Wires } from "./wires.ts";

/** Why a host is without power; `reboot` and `poweroff` are what a program inside asked the kernel for. */
export type PowerLoss = "power cut" | "reboot" | "poweroff" | "pid 1 died";

type Power = { readonly on: false } | { readonly on: true; readonly keeper: RunningCommand; readonly pid1: number };

/**
 * Directories whose content the host may change: an overlay each, kept over a power cut. `/var/log` is the host's own
 * and kept too; `/run`, `/dev` and `/mnt` are empty after each boot; everything else is the machine's, `/tmp` included.
 */
const overlaidDirectories = ["/etc", "/var/lib", "/usr/local", "/usr/lib/ocf", "/root"] as const;

/** One machine of the lab: network, mount, UTS, IPC and PID namespaces, and a disk that outlives them. */
export class LabHost {
  readonly name: HostName;
  /** The host's directory on this machine: `disk.img`, `log/` (its /var/log), `overlay/_etc/` (its changes to /etc) … */
  readonly path: string;
  private readonly wires: Wires;
  private readonly onPower: () => void;
  private power: Power = { on: false };
  private powerLoss: Promise<PowerLoss> = Promise.resolve("power cut");
  private cutting = false;

  constructor(name: HostName, path: string, diskBytes: number, drbdConf: string, wires: Wires, onPower: () => void) {
    this.name = name;
    this.path = path;
    this.wires = wires;
    this.onPower = onPower;
    mkdirSync(join(path, "log"), { recursive: true });
    this.writeFile("/etc/hosts", hostsFile());
    this.writeFile("/etc/hostname", `${this.fqdn}\n`);
    if (!topology[name].hasVolume) return;
    this.writeFile("/etc/drbd.conf", drbdConf);
    writeFileSync(this.diskFile, "");
    truncateSync(this.diskFile, diskBytes);
  }

  get fqdn(): string {
    return topology[this.name].fqdn;
  }

  get isPowered(): boolean {
    return this.power.on;
  }

  /** Pid 1 of the host as this machine numbers it; throws without power. */
  get pid1(): number {
    if (!this.power.on) throw new Error(`${this.name} has no power`);
    return this.power.pid1;
  }

  /** Settles when the host loses power, whatever the reason; at once when it has none. */
  get down(): Promise<PowerLoss> {
    return this.powerLoss;
  }

  /** The file behind the volume. Reading it sees what reached the disk. */
  get diskFile(): string {
    return join(this.path, "disk.img");
  }

  address(link: LinkName = "eth0"): string {
    const address = topology[this.name].links[link];
    if (address === undefined) throw new Error(`${this.name} has no ${link}`);
    return address;
  }

  /** Powers the host on and returns when its interfaces are up and commands can run. */
  async boot(): Promise<void> {
    if (this.power.on) throw new Error(`${this.name} has power already`);
    const loop = topology[this.name].hasVolume ? await attachLoop(this.diskFile) : undefined;
    const script = join(this.path, "boot.sh");
    writeFileSync(script, bootScript);
    const keeper = startCommand(this.bootCommand(script, loop));
    try {
      await keeper.prints(/^namespaces$/m);
      const [pid1] = childrenOf(keeper.child.pid ?? 0);
      if (pid1 === undefined) throw new Error(`${this.name} died while booting: ${keeper.stderr()}`);
      this.power = { on: true, keeper, pid1 };
      this.powerLoss = this.watch(keeper);
      this.onPower();
      await this.wires.plug(this.name, pid1);
      await keeper.prints(/^ready$/m);
    } catch (cause) {
      keeper.kill();
      await this.powerLoss;
      throw new Error(`${this.name} did not boot: ${keeper.stderr()}`, { cause });
    } finally {
      // From here on it is detached by its last close: pid 1 holds it.
      if (loop !== undefined) await releaseLoop(loop);
    }
  }

  /** Carriers first, then SIGKILL to all processes at once. What they wrote to the disk stays; boot again to see it. */
  async powerCut(): Promise<void> {
    if (!this.power.on) return;
    this.cutting = true;
    await this.wires.darken(this.name);
    this.killNow();
    await this.powerLoss;
  }

  /** The synchronous half of a power cut, for a process that is about to end. */
  killNow(): void {
    if (!this.power.on) return;
    try {
      process.kill(this.power.pid1, "SIGKILL");
    } catch {
      // It died by itself.
    }
  }

  /** Runs a command inside to its end (default limit 30 s). Its exit code is a result; only a host without power throws. */
  async run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand(this.enter(argv), options, true);
  }

  /** Like `run`, for what has to succeed: throws with the output otherwise. Returns stdout. */
  async mustRun(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    const result = await this.run(argv, options);
    if (result.code === 0) return result.stdout;
    const end = result.timedOut ? "timed out" : `ended with ${result.code ?? result.signal}`;
    throw new Error(`${this.name}: ${argv.join(" ")} ${end}: ${result.stderr}${result.stdout}`);
  }

  /** Starts a command inside that runs until it ends, is killed, or the host loses power. */
  spawn(argv: readonly string[], options: CommandOptions = {}): RunningCommand {
    return startCommand(this.enter(argv), options, true);
  }

  /** Puts a file into an overlaid directory, as an administrator does before the power is switched on. */
  writeFile(path: string, text: string, mode = 0o644): void {
    if (this.power.on) throw new Error(`${this.name} is running: write ${path} from inside`);
    const directory = overlaidDirectories.find((overlaid) => path.startsWith(`${overlaid}/`));
    if (directory === undefined) throw new Error(`${path} is in none of ${overlaidDirectories.join(", ")}`);
    const file = join(this.path, "overlay", directory.replaceAll("/", "_"), path.slice(directory.length));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text, { mode });
  }

  /** Pulls the cable: the interface stays up and loses its carrier; so does the far end of the crossover cable. */
  async cutLink(link: LinkName): Promise<void> {
    await this.wires.setCable(this.name, link, false);
  }

  async restoreLink(link: LinkName): Promise<void> {
    await this.wires.setCable(this.name, link, true);
  }

  /** Loses this share of the packets (0 to 100), either way, on the given links or on all. */
  async drop(percent: number, ...links: LinkName[]): Promise<void> {
    await this.wires.setLoss(this.name, percent, links.length === 0 ? undefined : links);
  }

  /** Makes every TCP and UDP packet from or to this port vanish, either way, on all links. */
  async blackhole(port: number): Promise<void> {
    await this.wires.setBlackhole(this.name, port);
  }

  /** Ends `drop` and `blackhole`; a cut cable stays cut. */
  async heal(): Promise<void> {
    await this.wires.heal(this.name);
  }

  private enter(argv: readonly string[]): readonly string[] {
    return ["nsenter", "-t", String(this.pid1), "-m", "-u", "-i", "-n", "-p", "--", ...argv];
  }

  /** Both links of the chain die with their parent, so that not even SIGKILL to this process leaves a host behind. */
  private bootCommand(script: string, loop: string | undefined): readonly string[] {
    const namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--mount-proc"];
    const minor = loop === undefined ? "-" : String(loopMinor(loop));
    const mnt = [process.cwd(), this.path].some((needed) => needed.startsWith("/mnt/")) ? "shared" : "private";
    return [
      ...["setpriv", "--pdeathsig", "KILL", "unshare", ...namespaces, "--propagation", "private", "--kill-child"],
      ...["busybox", "sh", script, this.path, this.fqdn, minor, volumePath, mnt, ...overlaidDirectories],
    ];
  }

  private async watch(keeper: RunningCommand): Promise<PowerLoss> {
    const { signal } = await keeper.exited;
    this.power = { on: false };
    await this.wires.unplug(this.name);
    await loopsGone(this.path);
    const reason = this.cutting ? "power cut" : (reasons.get(signal) ?? "pid 1 died");
    this.cutting = false;
    this.onPower();
    return reason;
  }
}

/** How the kernel reports reboot(2) of a PID namespace to the parent of its pid 1. */
const reasons: ReadonlyMap<NodeJS.Signals | null, PowerLoss> = new Map([
  ["SIGHUP", "reboot"],
  ["SIGINT", "poweroff"],
]);
