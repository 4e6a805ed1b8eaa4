/**
 * Who looks after the nodes: starts what has stopped, attaches, connects, promotes. It knows more than any real operator: it makes a node
 * Primary only if that node's data is all that was promised, unless a split brain is asked for.
 */
import type { Commands } from "../core/resource/commands.ts";
import { Conn, DiskState, Role } from "../core/state/state.ts";
import type { Outcome } from "../core/status.ts";
import type { Volume } from "../core/volume/volume.ts";
import { type Cluster, isMirrored } from "./cluster.ts";
import type { SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";

type Verb = (commands: Commands, volume: Volume, done: (outcome: Outcome) => void) => void;

const TICK_MS = 50;
/** Refused commands are tried again after this. */
const RETRY_MS = 500;

const isFine = (outcome: Outcome): boolean => outcome.code >= 1 && outcome.code < 100;

export class Operator {
  readonly #cluster: Cluster;
  readonly #random: SimRandom;
  /** When a stopped node starts again, a disk is attached again, a connection is tried again, a Primary is made. */
  readonly startAt = new Map<SimNode, number>();
  readonly attachAt = new Map<SimNode, number>();
  readonly connectAt = new Map<SimNode, number>();
  #promoteAt = 0;
  /** Two promotions at a time would be a split brain of the operator's own making. */
  #promoting: SimNode | undefined;
  /** Commands under way, by node. */
  readonly #busy = new Set<SimNode>();
  /** Whom a switch-over wants to be Primary. */
  #preferred: SimNode | undefined;

  constructor(cluster: Cluster, random: SimRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  start(): void {
    const tick = (): void => {
      this.#tick();
      this.#cluster.clock.after(TICK_MS * (0.5 + this.#random.fraction()), tick);
    };
    tick();
  }

  isBusy(node: SimNode): boolean {
    return this.#busy.has(node);
  }

  /** A node has stopped, with whatever was asked of it. */
  stopped(node: SimNode, downFor: number): void {
    this.#busy.delete(node);
    if (this.#promoting === node) this.#promoting = undefined;
    this.startAt.set(node, this.#cluster.clock.now + downFor);
    // Sometimes the peer takes over at once, sometimes the node is back before.
    this.#promoteAt = this.#cluster.clock.now + this.#random.pick([0, 1000, 6000]);
  }

  /** Everything is to be well soon. */
  hurry(): void {
    const { now } = this.#cluster.clock;
    for (const times of [this.startAt, this.attachAt, this.connectAt]) {
      for (const [node, at] of times) times.set(node, Math.min(at, now));
    }
    this.#promoteAt = Math.min(this.#promoteAt, now);
  }

  #due(times: Map<SimNode, number>, node: SimNode): boolean {
    return (times.get(node) ?? 0) <= this.#cluster.clock.now;
  }

  #tick(): void {
    for (const node of this.#cluster.nodes) {
      if (node.process === undefined) {
        if (this.#due(this.startAt, node)) node.boot();
        continue;
      }
      if (this.isBusy(node)) continue;
      const { state } = node.process.volume;
      if (state.disk === DiskState.Diskless && this.#due(this.attachAt, node)) this.#attach(node);
      else if (state.conn === Conn.StandAlone && this.#due(this.connectAt, node)) this.#connect(node);
    }
    this.#keepPrimary();
  }

  #attach(node: SimNode): void {
    this.attachAt.set(node, this.#cluster.clock.now + RETRY_MS);
    this.command(node, "attach", (commands, volume, done) => commands.attach(volume, done));
  }

  #connect(node: SimNode): void {
    const { victim } = this.#cluster;
    const discard = node === victim && node.process?.volume.state.role !== Role.Primary;
    this.connectAt.set(node, this.#cluster.clock.now + RETRY_MS);
    this.command(node, discard ? "connect discard-my-data" : "connect", (commands, _, done) =>
      commands.connect(discard, done),
    );
  }

  #keepPrimary(): void {
    const cluster = this.#cluster;
    if (cluster.clock.now < this.#promoteAt || cluster.primaries.some((node) => node !== cluster.victim)) return;
    if (cluster.primaries.length > 0 || this.#promoting !== undefined) return;
    const from = cluster.spared.size > 0 ? cluster.spared : cluster.complete;
    const candidates = [...from].filter((node) => this.#canLead(node));
    const [first] = candidates;
    if (first === undefined) return;
    const chosen =
      this.#preferred !== undefined && candidates.includes(this.#preferred)
        ? this.#preferred
        : this.#random.pick([first, ...candidates]);
    this.#promoteAt = cluster.clock.now + RETRY_MS;
    this.promote(chosen);
  }

  #canLead(node: SimNode): boolean {
    const state = node.process?.volume.state;
    if (state === undefined || this.isBusy(node) || node === this.#cluster.victim) return false;
    return state.disk === DiskState.UpToDate && state.role === Role.Secondary;
  }

  promote(node: SimNode): void {
    this.#promoting = node;
    this.command(
      node,
      "primary",
      (commands, volume, done) => commands.primary(volume, false, done),
      (outcome) => {
        this.#promoting = undefined;
        if (isFine(outcome)) this.#cluster.promoted(node);
      },
    );
  }

  /** Runs a command in a turn of the node's process; nothing comes back if the process dies. */
  command(node: SimNode, name: string, verb: Verb, then: (outcome: Outcome) => void = () => undefined): void {
    const { process } = node;
    const { journal } = this.#cluster;
    if (process === undefined) return;
    this.#busy.add(node);
    process.turns.post(() => {
      journal.say(node.name, "do", `-> ${name}`);
      verb(process.resource.commands, process.volume, (outcome) => {
        if (node.process !== process) return;
        journal.say(node.name, "do", `<- ${name}: ${outcome.code} ${outcome.text}`);
        this.#busy.delete(node);
        then(outcome);
      });
    });
  }

  // ---- procedures ----

  /** The application stops, then the node is demoted; `then` is told whether it came to that. */
  demote(node: SimNode, then: (demoted: boolean) => void): void {
    const { process } = node;
    if (process === undefined || this.isBusy(node)) return then(false);
    const { workload } = process;
    const demote = (): void => {
      if (node.process !== process) return;
      process.workload = undefined;
      this.command(
        node,
        "secondary",
        (commands, volume, done) => commands.secondary(volume, done),
        (outcome) => {
          if (!isFine(outcome) && workload !== undefined) {
            this.#cluster.startWorkload(process, node.name, workload.history);
          }
          then(isFine(outcome));
        },
      );
    };
    if (workload === undefined) return demote();
    this.#busy.add(node);
    this.#cluster.journal.say(node.name, "do", "-> stop the application");
    workload.stop(demote);
  }

  /** Planned: the other node becomes Primary. */
  switchOver(): void {
    const [primary] = this.#cluster.primaries;
    if (primary?.process === undefined || !isMirrored(primary.process.volume.state)) return;
    this.#preferred = this.#cluster.other(primary);
    this.#promoteAt = 0;
    this.demote(primary, () => undefined);
  }

  /** Planned: down and up again. */
  restart(node: SimNode): void {
    const goDown = (demoted: boolean): void => {
      if (!demoted) return;
      this.command(
        node,
        "disconnect",
        (commands, _, done) => commands.disconnect(false, done),
        () => this.#detachAndStop(node),
      );
    };
    if (node.process?.volume.state.role === Role.Primary) this.demote(node, goDown);
    else if (!this.isBusy(node)) goDown(true);
  }

  #detachAndStop(node: SimNode): void {
    this.command(
      node,
      "detach",
      (commands, volume, done) => commands.detach(volume, false, done),
      () => {
        // Out of the command's own turn.
        const { process } = node;
        this.#busy.add(node);
        this.#cluster.clock.after(1, () => {
          if (node.process !== process) return;
          this.#cluster.kill(node);
          this.stopped(node, this.#random.wait(500));
        });
      },
    );
  }

  /** Two Primaries that do not see each other; afterwards the victim gives in. */
  resolveSplit(): void {
    const { victim } = this.#cluster;
    if (victim?.process === undefined || this.isBusy(victim)) return;
    const { state } = victim.process.volume;
    if (state.role !== Role.Primary) return;
    this.demote(victim, (demoted) => {
      if (!demoted) return;
      this.command(victim, "disconnect", (commands, _, done) => commands.disconnect(false, done));
    });
  }
}
