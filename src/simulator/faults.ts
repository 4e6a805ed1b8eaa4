/** What goes wrong, and when: all from the seed. */
import { Conn, DiskState, Role } from "../core/state/state.ts";
import { type Cluster, isMirrored } from "./cluster.ts";
import { DISK_ERROR } from "./disk.ts";
import type { SimNode } from "./node.ts";
import type { Operator } from "./operator.ts";
import type { FaultKind } from "./options.ts";
import type { SimRandom } from "./random.ts";
import { addressOf } from "./settings.ts";

const LONGEST_OUTAGE_MS = 8000;

export class Faults {
  readonly #cluster: Cluster;
  readonly #operator: Operator;
  readonly #random: SimRandom;
  #over = false;

  constructor(cluster: Cluster, operator: Operator, random: SimRandom) {
    this.#cluster = cluster;
    this.#operator = operator;
    this.#random = random;
  }

  start(): void {
    const { options, clock } = this.#cluster;
    const again = (): void => {
      clock.after(20 + this.#random.wait(options.faultPause), () => {
        if (this.#over) return;
        const [first, ...rest] = options.faults;
        if (first !== undefined) this.#inject(this.#random.pick([first, ...rest]));
        again();
      });
    };
    again();
  }

  /** The end of the safety phase: all is mended, nothing new breaks. */
  stop(): void {
    this.#over = true;
    this.#mendLinks();
    for (const node of this.#cluster.nodes) for (const disk of node.disks) disk.faults = { fails: () => undefined };
  }

  #inject(kind: FaultKind): void {
    const r = this.#random;
    const node = r.pick(this.#cluster.nodes as readonly [SimNode, ...SimNode[]]);
    switch (kind) {
      case "kill":
        return this.#stop(node, "kill", r.wait(800));
      case "power":
        return this.#stop(node, "power", 200 + r.wait(2000));
      case "power both":
        for (const each of this.#cluster.nodes) this.#stop(each, "power", 200 + r.wait(2000));
        return;
      case "silence":
        return this.#links(["silent", "silent"]);
      case "one way silence":
        return this.#links(r.chance(0.5) ? ["silent", "open"] : ["open", "silent"]);
      case "reset":
        return this.#reset();
      case "refuse":
        return this.#links(["reset", "reset"]);
      case "disconnect":
        return this.#disconnect(node);
      case "switch over":
        return this.#operator.switchOver();
      case "restart":
        return this.#operator.restart(node);
      case "detach":
        return this.#detach(node);
      case "read error":
      case "write error":
        return this.#diskErrors(node, kind === "read error" ? "read" : "write");
      case "split brain":
        return this.#splitBrain();
      default:
        return kind satisfies never;
    }
  }

  #stop(node: SimNode, how: "kill" | "power", downFor: number): void {
    if (node.process === undefined) return;
    if (how === "kill") this.#cluster.kill(node);
    else this.#cluster.powerFails(node);
    this.#operator.stopped(node, downFor);
  }

  // ---- network ----

  #links(states: readonly ["open" | "silent" | "reset", "open" | "silent" | "reset"]): void {
    const { network, journal, clock } = this.#cluster;
    const span = this.#random.chance(0.5) ? this.#random.wait(200) : this.#random.fraction() * LONGEST_OUTAGE_MS;
    journal.say("net", "fault", `A to B ${states[0]}, B to A ${states[1]} for ${span.toFixed(0)} ms`);
    network.setLink(addressOf(0), addressOf(1), states[0]);
    network.setLink(addressOf(1), addressOf(0), states[1]);
    clock.after(span, () => {
      if (!this.#over && !this.#splitting) this.#mendLinks();
    });
  }

  #mendLinks(): void {
    const { network, journal } = this.#cluster;
    journal.say("net", "fault", "links mended");
    network.setLink(addressOf(0), addressOf(1), "open");
    network.setLink(addressOf(1), addressOf(0), "open");
  }

  #reset(): void {
    const streams = this.#cluster.network.resetConnections();
    this.#cluster.journal.say("net", "fault", `${streams} streams reset`);
  }

  #disconnect(node: SimNode): void {
    if (node.process === undefined || this.#operator.isBusy(node)) return;
    this.#operator.connectAt.set(node, this.#cluster.clock.now + this.#random.wait(1000));
    this.#operator.connectAt.set(this.#cluster.other(node), 0);
    const force = this.#random.chance(0.2);
    this.#operator.command(node, `disconnect${force ? " force" : ""}`, (commands, _, done) =>
      commands.disconnect(force, done),
    );
  }

  // ---- disks ----

  /** Only while the other copy is whole: two broken disks are nobody's promise. */
  #canSpare(node: SimNode): boolean {
    return this.#cluster.nodes.every((each) => each.process !== undefined && isMirrored(each.process.volume.state)) &&
      !this.#operator.isBusy(node)
      ? this.#cluster.spared.has(this.#cluster.other(node))
      : false;
  }

  #detach(node: SimNode): void {
    if (!this.#canSpare(node)) return;
    this.#operator.attachAt.set(node, this.#cluster.clock.now + this.#random.wait(1500));
    const force = this.#random.chance(0.3);
    this.#cluster.share.errorsAllowed = true;
    this.#operator.command(node, `detach${force ? " force" : ""}`, (commands, volume, done) =>
      commands.detach(volume, force, done),
    );
  }

  #diskErrors(node: SimNode, kind: "read" | "write"): void {
    if (!this.#canSpare(node)) return;
    const { journal, clock, share } = this.#cluster;
    share.errorsAllowed = true;
    this.#operator.attachAt.set(node, clock.now + 200 + this.#random.wait(1500));
    let left = this.#random.between(1, 3);
    journal.say(node.name, "fault", `the next ${left} ${kind}s fail`);
    const faults = {
      fails: (operation: string) => (operation === kind && left-- > 0 ? DISK_ERROR : undefined),
    };
    for (const disk of node.disks) disk.faults = faults;
    clock.after(100, () => {
      for (const disk of node.disks) disk.faults = { fails: () => undefined };
    });
  }

  // ---- split brain ----

  #splitting = false;

  /** Cuts the link, waits until the Secondary has noticed, and promotes it as a rash operator would. */
  #splitBrain(): void {
    const cluster = this.#cluster;
    const [primary] = cluster.primaries;
    if (this.#splitting || cluster.victim !== undefined || primary?.process === undefined) return;
    const other = cluster.other(primary);
    if (other.process === undefined || !isMirrored(primary.process.volume.state)) return;
    this.#splitting = true;
    cluster.splitAllowed = true;
    this.#links(["silent", "silent"]);
    const patience = cluster.clock.now + 20_000;
    const look = (): void => {
      const state = other.process?.volume.state;
      const alone = state !== undefined && state.conn < Conn.Connected && state.disk === DiskState.UpToDate;
      const ready = alone && state.role === Role.Secondary && cluster.primaries.includes(primary);
      if (ready && !this.#operator.isBusy(other)) {
        cluster.victim = other;
        cluster.journal.say(other.name, "fault", "promoted although the other node is Primary");
        this.#operator.promote(other);
        return void cluster.clock.after(this.#random.wait(2000), () => this.#endSplit());
      }
      if (cluster.clock.now > patience || this.#over) return this.#endSplit();
      cluster.clock.after(50, look);
    };
    look();
  }

  #endSplit(): void {
    this.#splitting = false;
    if (this.#cluster.victim === undefined) this.#cluster.splitAllowed = false;
    this.#mendLinks();
    const resolve = (): void => {
      this.#operator.resolveSplit();
      if (this.#cluster.victim !== undefined) this.#cluster.clock.after(500, resolve);
    };
    this.#cluster.clock.after(this.#random.wait(2000), resolve);
  }
}
