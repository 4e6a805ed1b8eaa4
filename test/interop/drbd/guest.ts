import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type RunningCommand, startCommand, until } from "../../lab/command.ts";
import { forget, identify, isAlive, killIfSame, record, removeStaleLabs } from "../../lab/leftovers.ts";
import { Agents } from "./agent.ts";
import { type CallbackSocket, callbackSocket } from "./callback-socket.ts";
import { agentPorts } from "./guest-scripts.ts";
import { initramfs } from "./initramfs.ts";
import { KernelLog, type KernelMessage, mark } from "./kernel-log.ts";
import { kernelPackage } from "./kernel-package.ts";
import { Monitor } from "./monitor.ts";
import { closeAtEnd, forgetClose } from "./own-end.ts";
import { type DrbdMinor, type GenerationIdentifiers, parseGi, parseProcDrbd } from "./proc-drbd.ts";
import { type DiskPlan, ids, type NetPlan, qemuCommand, userNetwork } from "./qemu.ts";
import { KernelResource, type ResourcePlan } from "./resource.ts";
import { inNamespace, plugTaps, unplugTaps } from "./taps.ts";

export interface GuestOptions {
  /** For people: part of the guest's directory, and its hostname unless that is given. Guests of one name can coexist. */
  readonly name: string;
  /** /dev/vda, /dev/vdb … in order. */
  readonly disks: readonly DiskPlan[];
  readonly net: NetPlan;
  readonly hostname?: string;
  /** Written at each boot, by path: `/etc/drbd.conf` for drbdadm-84. */
  readonly files?: Readonly<Record<string, string>>;
  /** Default 512. */
  readonly memoryMb?: number;
  /** Existing directory that takes the guest's own; default: the system's for temporary files. */
  readonly scratch?: string;
}

export interface RunOptions {
  /** Milliseconds until the command is killed; default 30 000. */
  readonly timeout?: number;
  /** Its stdin; default empty. Each byte passes an emulated serial port: good for kilobytes, not for megabytes. */
  readonly input?: string | Uint8Array;
}

export interface RunResult {
  /** As a shell tells it: 128 plus the number for a signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** What of a minor has to hold; each word is one of `/proc/drbd`, such as `Primary/Secondary`. */
export type MinorState = Partial<Pick<DrbdMinor, "cs" | "ro" | "ds" | "oos">>;

interface Powered {
  readonly qemu: RunningCommand;
  readonly sockets: readonly CallbackSocket[];
  readonly monitor: Monitor;
  readonly agents: Agents;
  readonly taps: readonly string[];
}

const bootLimit = 120_000;
let opened = 0;

/** Boots a guest; throws, with nothing left over, when that fails. The first one of a machine downloads the kernel. */
export async function openGuest(options: GuestOptions): Promise<Guest> {
  await removeStaleLabs();
  const guest = new Guest(options);
  try {
    await guest.boot();
  } catch (cause) {
    await guest.close();
    throw cause;
  }
  return guest;
}

/** A machine with the kernel's own DRBD 8.4; its disks outlive its power, and it can be booted again. */
export class Guest {
  /** Unique on this machine. */
  readonly name: string;
  /** The guest's directory: disks, `console.log`, captures. Removed by `close`. */
  readonly path: string;
  private readonly options: GuestOptions;
  private readonly disks: readonly string[];
  private readonly forwards = new Map<number, number>();
  private readonly captures: string[] = [];
  private readonly captureIds = new Map<number, string>();
  private readonly closeNow = (): void => this.endNow();
  private captured = 0;
  private marks = 0;
  private kernelLog = new KernelLog("");
  private power: Powered | undefined;
  private starting: RunningCommand | undefined;

  constructor(options: GuestOptions) {
    this.options = options;
    this.name = `guest-${options.name}-${process.pid}-${++opened}`;
    this.path = join(resolve(options.scratch ?? tmpdir()), this.name);
    if (!/^[\w./-]+$/.test(this.path)) throw new Error(`QEMU's options do not take this path: ${this.path}`);
    mkdirSync(this.path, { mode: 0o755 });
    closeAtEnd(this.closeNow);
    record(this.name, this.path, []);
    this.disks = options.disks.map((plan, index) => {
      if ("file" in plan) return resolve(plan.file);
      const path = join(this.path, `disk${index}.img`);
      writeFileSync(path, "");
      truncateSync(path, plan.bytes);
      return path;
    });
  }

  get isPowered(): boolean {
    return this.power !== undefined && this.power.qemu.child.exitCode === null;
  }

  /** Settles when the machine has lost its power, for whatever reason. */
  get down(): Promise<void> {
    return this.power?.qemu.exited.then(() => {}) ?? Promise.resolve();
  }

  /** The file behind /dev/vda (0), /dev/vdb (1) … It holds what the guest has written, at any time. */
  disk(index: number): string {
    const path = this.disks[index];
    if (path === undefined) throw new Error(`${this.name} has no disk ${index}`);
    return path;
  }

  /** The pcap of eth0 since the boot or since `nextCapture`; QEMU adds to it packet by packet. */
  get capture(): string {
    return this.captureOf(0);
  }

  captureOf(link: number): string {
    const path = this.captures[link];
    if (path === undefined) throw new Error(`${this.name} has no eth${link}`);
    return path;
  }

  /** Powers the machine on and returns when its agents answer. */
  async boot(): Promise<void> {
    if (this.isPowered) throw new Error(`${this.name} has power already`);
    await this.release();
    const kernel = await kernelPackage();
    const initrd = await initramfs(kernel);
    const boot = ++this.captured;
    const file = (name: string): string => join(this.path, name);
    const net = this.options.net;
    const linkCount = net.mode === "tap" ? net.links.length : net.mode === "user" ? 1 : 0;
    this.captures.length = 0;
    for (let link = 0; link < linkCount; link++) this.captures.push(file(`eth${link}-${boot}.pcap`));
    this.kernelLog = new KernelLog(file(`kernel-${boot}.log`));

    const sockets = await Promise.all(
      ["qmp", ...agentPorts.map((port) => `a${port}`)].map((n) => callbackSocket(file(n))),
    );
    const [monitorSocket, ...agentSockets] = sockets;
    if (monitorSocket === undefined) throw new Error("no socket for the monitor");
    const taps = await plugTaps(net);
    const argv = qemuCommand({
      ...{ hostname: this.options.hostname ?? this.options.name, image: kernel.image, initrd, net, taps },
      memoryMb: this.options.memoryMb ?? 512,
      disks: this.disks.map((path, index) => ({ path, blockSize: this.options.disks[index]?.blockSize ?? 512 })),
      ...{ console: file("console.log"), kernelLog: file(`kernel-${boot}.log`), captures: this.captures },
      ...{ monitor: monitorSocket.path, agents: agentSockets.map(({ path }) => path) },
    });
    const qemu = startCommand(["setpriv", "--pdeathsig", "KILL", ...inNamespace(net), ...argv]);
    this.starting = qemu;
    record(this.name, this.path, qemu.child.pid === undefined ? [] : [qemu.child.pid]);
    try {
      const connect = Promise.all(sockets.map(({ connected }) => connected));
      const [first, ...rest] = await this.whileAlive(qemu, connect);
      if (first === undefined) throw new Error("QEMU did not connect");
      const agents = new Agents(rest);
      this.power = { qemu, sockets, monitor: await Monitor.open(first), agents, taps };
      await this.whileAlive(qemu, agents.ready());
    } catch (cause) {
      qemu.kill();
      for (const socket of sockets) socket.close();
      await unplugTaps(net, taps);
      this.power = undefined;
      throw new Error(`${this.name} did not boot: ${qemu.stderr()}${this.console.slice(-4000)}`, { cause });
    }
    for (const [path, text] of Object.entries(this.options.files ?? {})) await this.writeFile(path, text);
    for (const [guestPort, hostPort] of this.forwards) await this.addForward(guestPort, hostPort);
    const planned = net.mode === "user" ? (net.forwards ?? []) : [];
    for (const { guestPort, hostPort } of planned) await this.forward(guestPort, hostPort);
  }

  /** Runs a script (`sh -c`, real programs before busybox) in the guest to its end. A non-zero exit is a result. */
  async run(script: string, options: RunOptions = {}): Promise<RunResult> {
    const { code, timedOut, stdout, stderr } = await this.ask(script, options);
    return { code, timedOut, stdout: stdout.toString(), stderr: stderr.toString() };
  }

  /** Like `run`, for what has to succeed: throws with the output otherwise. Returns stdout. */
  async mustRun(script: string, options: RunOptions = {}): Promise<string> {
    const { code, timedOut, stdout, stderr } = await this.run(script, options);
    if (code === 0) return stdout;
    throw new Error(`${this.name}: ${script} ${timedOut ? "timed out" : `ended with ${code}`}: ${stderr}${stdout}`);
  }

  async readFile(path: string): Promise<Buffer> {
    const { code, stdout, stderr } = await this.ask(`exec cat '${path}'`, {});
    if (code !== 0) throw new Error(`${this.name}: ${path}: ${stderr}`);
    return stdout;
  }

  async writeFile(path: string, content: string | Uint8Array): Promise<void> {
    await this.mustRun(`mkdir -p '${dirname(path)}' && exec cat >'${path}'`, { input: content });
  }

  /** /proc/drbd, by minor. */
  async drbd(): Promise<ReadonlyMap<number, DrbdMinor>> {
    return parseProcDrbd(await this.mustRun("cat /proc/drbd"));
  }

  /** Generation identifiers of an attached minor. */
  async gi(minor: number): Promise<GenerationIdentifiers> {
    return parseGi(await this.mustRun(`drbdsetup-84 get-gi ${minor}`));
  }

  /** Waits until the minor is so; throws with what it is and with the kernel's last words when the time is up. */
  async reaches(minor: number, wanted: MinorState, timeout = 30_000): Promise<DrbdMinor> {
    let seen: DrbdMinor | undefined;
    const holds = async (): Promise<boolean> => {
      seen = (await this.drbd()).get(minor);
      return Object.entries(wanted).every(([key, value]) => seen?.[key as keyof MinorState] === value);
    };
    const what = `minor ${minor}: ${JSON.stringify(wanted)}`;
    await until(what, holds, timeout).catch(async (cause: unknown) => {
      const { stdout } = await this.run("cat /proc/drbd; dmesg | tail -n 30");
      throw new Error(`${what} not reached in ${timeout} ms\n${stdout}`, { cause });
    });
    if (seen === undefined) throw new Error(`minor ${minor} is not configured`);
    return seen;
  }

  /** A resource by its plan; nothing happens to it yet. */
  resource(plan: ResourcePlan): KernelResource {
    return new KernelResource(this, plan);
  }

  /** The kernel's log since the last call; of a guest without power, up to its last moment. */
  async dmesg(): Promise<readonly KernelMessage[]> {
    if (this.isPowered) {
      const line = `${mark}${++this.marks}.`;
      await this.mustRun(`echo '${line}' >/dev/kmsg`);
      await until("kernel log arrived", () => this.kernelLog.shows(line));
    }
    return this.kernelLog.take();
  }

  /** Warnings and worse, and what init printed. */
  get console(): string {
    try {
      return readFileSync(join(this.path, "console.log"), "latin1");
    } catch {
      return "";
    }
  }

  /**
   * Pulls the cable of a card: it loses its carrier, and every packet either way is lost. On QEMU's own network this
   * machine's end of a TCP connection stays open and takes what is sent, until its buffers are full: silence, no reset.
   */
  async cutLink(link = 0): Promise<void> {
    await this.powered().monitor.execute("set_link", { name: ids.card(link), up: false });
  }

  async restoreLink(link = 0): Promise<void> {
    await this.powered().monitor.execute("set_link", { name: ids.card(link), up: true });
  }

  /** The port of 127.0.0.1 that leads to this one of the guest: a forward for all boots to come, made when there is none. */
  async forward(guestPort: number, hostPort = 0): Promise<number> {
    return this.forwards.get(guestPort) ?? this.addForward(guestPort, hostPort);
  }

  /** The port of 127.0.0.1 that leads to this one of the guest. */
  hostPort(guestPort: number): number {
    const port = this.forwards.get(guestPort);
    if (port === undefined) throw new Error(`${this.name}: port ${guestPort} is not forwarded`);
    return port;
  }

  /** Ends the capture of a link and begins the next one. Returns the path of the one that ended. */
  async nextCapture(link = 0): Promise<string> {
    const { monitor } = this.powered();
    const ended = this.captureOf(link);
    const path = join(this.path, `eth${link}-${++this.captured}.pcap`);
    const add = {
      "qom-type": "filter-dump",
      id: ids.capture(link, this.captured),
      netdev: ids.netdev(link),
      file: path,
    };
    await monitor.execute("object-add", add);
    await monitor.execute("object-del", { id: this.captureIds.get(link) ?? ids.capture(link, 0) });
    this.captureIds.set(link, add.id);
    this.captures[link] = path;
    return ended;
  }

  /** The end of its power: SIGKILL to QEMU. What the guest has written is on its disks. */
  async kill(): Promise<void> {
    const power = this.power;
    if (power?.qemu.child.pid === undefined) return;
    if (this.isPowered) power.qemu.child.kill("SIGKILL");
    await power.qemu.exited;
    await this.release();
  }

  /** Has the kernel switch itself off, without taking anything down first; SIGKILL if it does not in 30 s. */
  async powerOff(): Promise<void> {
    const { qemu } = this.powered();
    // No answer comes from a machine that is off.
    this.ask("sync; poweroff -f", { timeout: 30_000 }).catch(() => {});
    const limit = setTimeout(() => qemu.child.kill("SIGKILL"), 30_000);
    const { signal } = await qemu.exited;
    clearTimeout(limit);
    await this.release();
    if (signal !== null) throw new Error(`${this.name} did not switch itself off`);
  }

  /** Ends the guest and removes its directory; may be called twice. */
  async close(): Promise<void> {
    this.starting?.kill();
    await this.starting?.exited.catch(() => {});
    await this.kill();
    await this.release();
    rmSync(this.path, { recursive: true, force: true });
    forget(this.name);
    forgetClose(this.closeNow);
  }

  private async addForward(guestPort: number, hostPort: number): Promise<number> {
    const { monitor } = this.powered();
    const refusal = await monitor.human(
      `hostfwd_add ${ids.netdev(0)} tcp:127.0.0.1:${hostPort}-${userNetwork.guest}:${guestPort}`,
    );
    if (refusal.trim() !== "") throw new Error(refusal.trim());
    const table = await monitor.human("info usernet");
    const row = new RegExp(`HOST_FORWARD\\]\\s+\\d+\\s+127\\.0\\.0\\.1\\s+(\\d+)\\s+\\S+\\s+${guestPort}\\b`);
    const port = Number(row.exec(table)?.[1]);
    if (!(port > 0)) throw new Error(`no forward to ${guestPort} in: ${table}`);
    this.forwards.set(guestPort, port);
    return port;
  }

  private powered(): Powered {
    if (this.power === undefined || !this.isPowered) throw new Error(`${this.name} has no power`);
    return this.power;
  }

  private ask(script: string, { timeout = 30_000, input = "" }: RunOptions): ReturnType<Agents["run"]> {
    return this.powered().agents.run(script, Buffer.from(input), Math.ceil(timeout / 1000));
  }

  /** What belongs to one boot goes with it. */
  private async release(): Promise<void> {
    const power = this.power;
    if (power === undefined) return;
    this.power = undefined;
    this.captureIds.clear();
    for (const socket of power.sockets) socket.close();
    await unplugTaps(this.options.net, power.taps);
  }

  /** The result, unless QEMU ends first or the boot takes too long. */
  private async whileAlive<T>(qemu: RunningCommand, wanted: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const ended = qemu.exited.then(({ code, signal }) => {
      throw new Error(`QEMU ended with ${code ?? signal}`);
    });
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not in ${bootLimit} ms`)), bootLimit);
    });
    try {
      return await Promise.race([wanted, ended, late]);
    } finally {
      clearTimeout(timer);
      ended.catch(() => {});
    }
  }

  /** What can be done without waiting for the event loop. */
  private endNow(): void {
    const pid = this.starting?.child.pid;
    const qemu = pid === undefined ? undefined : identify(pid);
    if (qemu !== undefined) {
      killIfSame(qemu);
      const deadline = performance.now() + 5_000;
      const pause = new Int32Array(new SharedArrayBuffer(4));
      while (performance.now() < deadline && isAlive(qemu)) Atomics.wait(pause, 0, 0, 10);
    }
    rmSync(this.path, { recursive: true, force: true, maxRetries: 3 });
    forget(this.name);
  }
}
