import { readFileSync } from "node:fs";
import { mustRun, type RunningCommand, startCommand } from "./command.ts";
import { type HostName, hostNames, type LinkName, macAddress, topology } from "./topology.ts";

/** What is wrong with the network near one host, in both directions. */
interface Impairment {
  /** Share of the packets that get lost, 0 to 100, per link. */
  readonly loss: Map<LinkName, number>;
  /** TCP and UDP ports whose packets vanish on every link. */
  readonly ports: Set<number>;
}

const portName = (host: HostName, link: LinkName): string => `${host}-${link}`;
const linksOf = (host: HostName): readonly LinkName[] => Object.keys(topology[host].links) as LinkName[];

/**
 * The switch: a network namespace with a bridge for the LAN and one for the crossover cable. Every impairment is made
 * here and not in the hosts, so that a lost packet looks to both programs as on a real network: no error at the sender.
 */
export class Wires {
  private readonly keeper: RunningCommand;
  private readonly pid: number;
  private readonly powered = new Set<HostName>();
  private readonly cut = new Set<string>();
  private readonly impaired = new Map<HostName, Impairment>();
  private turn: Promise<void> = Promise.resolve();

  private constructor(keeper: RunningCommand, pid: number) {
    this.keeper = keeper;
    this.pid = pid;
  }

  static async open(): Promise<Wires> {
    const keep = ["busybox", "sh", "-c", "echo up; exec sleep 2147483647"];
    const keeper = startCommand(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", ...keep]);
    await keeper.prints(/up/);
    const wires = new Wires(keeper, keeper.child.pid ?? 0);
    const bridge = (name: string): string => `link add ${name} type bridge mcast_snooping 0\nlink set ${name} up\n`;
    await wires.ip(`${bridge("lan")}${bridge("cross")}`);
    return wires;
  }

  /** Pid of the process that keeps the switch's namespace. */
  get keeperPid(): number {
    return this.pid;
  }

  /** Gives a host that just got its namespaces its interfaces, addressed and up. */
  async plug(host: HostName, pid1: number): Promise<void> {
    let outside = "";
    let inside = "link set lo up\n";
    for (const link of linksOf(host)) {
      const port = portName(host, link);
      outside += `link add ${port} type veth peer name ${link} address ${macAddress(host, link)} netns ${pid1}\n`;
      outside += `link set ${port} master ${link === "eth0" ? "lan" : "cross"}\n`;
      inside += `addr add ${topology[host].links[link]}/24 brd + dev ${link}\nlink set ${link} up\n`;
    }
    await this.inTurn(async () => {
      await this.ip(outside);
      await mustRun(["nsenter", "-t", String(pid1), "-n", "ip", "-batch", "-"], { input: inside });
      this.powered.add(host);
      await this.apply();
    });
  }

  /** The host's cables go dead, before its processes are killed: a power cut sends no FIN and no RST. */
  async darken(host: HostName): Promise<void> {
    if (!this.powered.delete(host)) return;
    await this.inTurn(async () => {
      await this.apply();
      await this.ip(
        linksOf(host)
          .map((link) => `link set ${portName(host, link)} down\n`)
          .join(""),
        true,
      );
    });
  }

  /** Takes the interfaces away from what may be left of the host's namespace. */
  async unplug(host: HostName): Promise<void> {
    await this.darken(host);
    await this.inTurn(() =>
      this.ip(
        linksOf(host)
          .map((link) => `link del ${portName(host, link)}\n`)
          .join(""),
        true,
      ),
    );
  }

  async setCable(host: HostName, link: LinkName, connected: boolean): Promise<void> {
    if (topology[host].links[link] === undefined) throw new Error(`${host} has no ${link}`);
    // One cable, two ends: cutting it at either end cuts it.
    const cable = link === "eth1" ? "cross" : portName(host, link);
    if (connected) this.cut.delete(cable);
    else this.cut.add(cable);
    await this.inTurn(() => this.apply());
  }

  async setLoss(host: HostName, percent: number, links: readonly LinkName[] = linksOf(host)): Promise<void> {
    if (!(percent >= 0 && percent <= 100)) throw new RangeError(`loss is 0 to 100 percent, not ${percent}`);
    for (const link of links) this.impairment(host).loss.set(link, percent);
    await this.inTurn(() => this.apply());
  }

  async setBlackhole(host: HostName, port: number): Promise<void> {
    if (!(Number.isInteger(port) && port > 0 && port < 65_536)) throw new RangeError(`no such port: ${port}`);
    this.impairment(host).ports.add(port);
    await this.inTurn(() => this.apply());
  }

  async heal(host: HostName): Promise<void> {
    this.impaired.delete(host);
    await this.inTurn(() => this.apply());
  }

  /** Ends the namespace; the kernel removes bridges and cables with it. */
  async close(): Promise<void> {
    this.keeper.kill();
    await this.keeper.exited;
  }

  /** Two hosts boot at once: their changes take turns, and each one renders what is true when its turn comes. */
  private inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.turn.then(change);
    this.turn = done.catch(() => {});
    return done;
  }

  private impairment(host: HostName): Impairment {
    const known = this.impaired.get(host);
    if (known !== undefined) return known;
    const fresh: Impairment = { loss: new Map(), ports: new Set() };
    this.impaired.set(host, fresh);
    return fresh;
  }

  private async ip(batch: string, force = false): Promise<void> {
    if (batch === "") return;
    const argv = ["nsenter", "-t", String(this.pid), "-n", "ip", ...(force ? ["-force"] : []), "-batch", "-"];
    if (force) await mustRun(["sh", "-c", '"$@" 2>/dev/null || :', "sh", ...argv], { input: batch });
    else await mustRun(argv, { input: batch });
  }

  /** Brings carriers and packet filters of all powered hosts to what the sets above say. */
  private async apply(): Promise<void> {
    for (;;) {
      const ports = this.ports();
      try {
        await this.applyTo(ports);
        return;
      } catch (cause) {
        // A host that reboots by itself takes its interfaces along at any moment; anything else is an error.
        if (this.ports().size === ports.size) throw cause;
      }
    }
  }

  private async applyTo(ports: ReadonlySet<string>): Promise<void> {
    let batch = "";
    let chains = "";
    for (const host of this.powered) {
      for (const link of linksOf(host).filter((name) => ports.has(portName(host, name)))) {
        batch += `link set ${portName(host, link)} ${this.carries(host, link) ? "up" : "down"}\n`;
        chains += this.chains(host, link);
      }
    }
    await this.ip(batch);
    const rules = `table netdev lab {}\ndelete table netdev lab\ntable netdev lab {\n${chains}}\n`;
    await mustRun(["nsenter", "-t", String(this.pid), "-n", "nft", "-f", "-"], { input: rules });
  }

  /** The interfaces that the switch has at this moment. */
  private ports(): ReadonlySet<string> {
    const lines = readFileSync(`/proc/${this.pid}/net/dev`, "utf8").split("\n");
    return new Set(lines.flatMap((line) => /^ *([\w-]+):/.exec(line)?.[1] ?? []));
  }

  private carries(host: HostName, link: LinkName): boolean {
    if (link === "eth0") return !this.cut.has(portName(host, link));
    const ends = hostNames.filter((name) => topology[name].links.eth1 !== undefined);
    return !this.cut.has("cross") && ends.every((name) => this.powered.has(name)) && ends.includes(host);
  }

  /** Ingress of a switch port is what its host sends, egress what it is to receive. */
  private chains(host: HostName, link: LinkName): string {
    const faults = this.impaired.get(host);
    if (faults === undefined) return "";
    const port = portName(host, link);
    const either = "meta l4proto { tcp, udp } th";
    const rules = [...faults.ports].map((at) => `${either} dport ${at} drop; ${either} sport ${at} drop;`);
    const loss = Math.round((faults.loss.get(link) ?? 0) * 100);
    if (loss > 0) rules.push(loss === 10_000 ? "drop;" : `numgen random mod 10000 < ${loss} drop;`);
    if (rules.length === 0) return "";
    const chain = (hook: string): string =>
      `chain ${hook}-${port} { type filter hook ${hook} device "${port}" priority 0; ${rules.join(" ")} }\n`;
    return chain("ingress") + chain("egress");
  }
}
