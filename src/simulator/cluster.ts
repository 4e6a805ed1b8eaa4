/**
 * Two nodes, what the application was promised, and which node keeps the promise. Decided from outside: from what the living Primary
 * answered and when, and from which machines have lost their power.
 */
import type { ResourceEvent } from "../core/resource/resource.ts";
import { Conn, DiskState, Role, type State } from "../core/state/state.ts";
import type { Clock } from "./clock.ts";
import { History } from "./history.ts";
import type { Journal } from "./journal.ts";
import { SimNetwork } from "./network.ts";
import { type Process, SimNode } from "./node.ts";
import type { SimOptions } from "./options.ts";
import type { SimRandom } from "./random.ts";
import { GARBAGE, readStamp, wordsOf } from "./stamps.ts";
import { Workload, type WorkloadShare } from "./workload.ts";

const SECTOR = 512;
const PAGE = 4096;
const SECTORS_PER_PAGE = PAGE / SECTOR;
/** Room behind the start of a favoured place. */
const SPOT_ROOM = 4096;

export interface ClusterParts {
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly options: SimOptions;
  readonly journal: Journal;
  readonly onBoot: (node: SimNode, process: Process) => void;
}

export const isSyncTarget = (state: State): boolean =>
  state.conn === Conn.WFBitMapT ||
  state.conn === Conn.WFSyncUUID ||
  state.conn === Conn.SyncTarget ||
  state.conn === Conn.PausedSyncT;

/** Both copies are one, and the node knows it. */
export const isMirrored = (state: State): boolean =>
  state.conn >= Conn.Connected && state.disk === DiskState.UpToDate && state.pdsk === DiskState.UpToDate;

export class Cluster {
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly options: SimOptions;
  readonly journal: Journal;
  readonly network: SimNetwork;
  readonly nodes: readonly [SimNode, SimNode];
  readonly share: WorkloadShare;
  /** What the application may rely on. */
  history = new History();
  /** Nodes that have everything acknowledged, but perhaps for what a lost cache took. */
  readonly complete = new Set<SimNode>();
  /** Those of them that have lost no cache since. Empty: the last power failure may have taken what was not flushed. */
  readonly spared = new Set<SimNode>();
  /** The node whose data is to be thrown away after a split brain, until it has been resynced. */
  victim: SimNode | undefined;
  /** Two Primaries were made on purpose and may see each other for a moment. */
  splitAllowed = false;

  constructor(parts: ClusterParts) {
    const { clock, random, options, journal } = parts;
    this.clock = clock;
    this.random = random;
    this.options = options;
    this.journal = journal;
    this.network = new SimNetwork(clock, random.fork("network"), {
      latency: options.linkLatency,
      spread: options.linkSpread,
      window: options.window,
      segment: options.segment,
    });
    const node = (index: number): SimNode =>
      new SimNode({
        index,
        clock,
        network: this.network,
        random: random.fork(`node ${index}`),
        options,
        journal,
        onTurnOver: () => this.#afterTurn(),
        onEvent: (from, event) => this.#onEvent(from, event),
        onBoot: parts.onBoot,
      });
    this.nodes = [node(0), node(1)];
    const current = random.u64() & ~1n;
    for (const each of this.nodes) {
      each.format(current);
      this.complete.add(each);
      this.spared.add(each);
    }
    const sectors = options.volumeBytes / SECTOR - SPOT_ROOM;
    this.share = {
      options,
      journal,
      budget: options.requests,
      number: 0,
      errorsAllowed: false,
      written: new Set(),
      spots: Array.from({ length: options.hotSpots }, () => random.between(0, sectors)),
    };
  }

  other(node: SimNode): SimNode {
    return node === this.nodes[0] ? this.nodes[1] : this.nodes[0];
  }

  get living(): SimNode[] {
    return this.nodes.filter((node) => node.process !== undefined);
  }

  /** Living Primaries, the victim of a split brain included. */
  get primaries(): SimNode[] {
    return this.living.filter((node) => node.process?.volume.state.role === Role.Primary);
  }

  // ---- what became of a node ----

  kill(node: SimNode): void {
    this.journal.say(node.name, "fault", "killed");
    node.kill();
  }

  powerFails(node: SimNode): void {
    this.journal.say(node.name, "fault", "power fails");
    node.powerFails();
    this.spared.delete(node);
  }

  /** A command has made the node Primary: what it has must be all that was promised, and is what counts from now on. */
  promoted(node: SimNode): void {
    const { process } = node;
    if (process === undefined) return;
    const isVictim = node === this.victim;
    // A Primary that is being resynced shows what the other node has.
    const shows = process.volume.state.disk === DiskState.UpToDate ? node : this.other(node);
    if (!isVictim) this.#judgeCopy(shows, this.spared.has(shows));
    this.startWorkload(process, node.name, isVictim ? this.#forkedAt(node) : this.history);
  }

  #forkedAt(node: SimNode): History {
    return this.history.fork((sector) =>
      node.data.isBeingWritten(sector * SECTOR, SECTOR) ? GARBAGE : this.found(node, sector),
    );
  }

  startWorkload(process: Process, name: string, history: History): void {
    const workload = new Workload({
      name,
      volume: process.volume,
      memory: process.memory.bytes,
      turns: process.turns,
      random: this.random.fork("workload"),
      share: this.share,
      history,
    });
    process.workload = workload;
    workload.start();
  }

  /** Every sector that was ever written, as the node's disk shows it. */
  #judgeCopy(node: SimNode, spared: boolean): void {
    let judged = 0;
    for (const sector of this.history.sectors) {
      if (node.data.isBeingWritten(sector * SECTOR, SECTOR)) continue;
      const found = this.found(node, sector);
      judged++;
      if (!this.history.mayHold(sector, found, spared)) {
        const what = spared ? "acknowledged" : "flushed";
        this.journal.fail(
          "durability",
          `${node.name} shows ${found} in sector ${sector} after a failure that spares what is ${what}; ${this.history.describe(sector)}`,
        );
        return;
      }
      this.history.settle(sector, found);
    }
    this.journal.say(
      node.name,
      "check",
      `durability: ${judged} sectors, ${spared ? "spared" : "only flushed data counts"}`,
    );
  }

  /** The write that a sector of the node shows. */
  found(node: SimNode, sector: number): number {
    const words = wordsOf(node.data.page(Math.floor(sector / SECTORS_PER_PAGE), "shown"));
    return readStamp(words, (sector % SECTORS_PER_PAGE) * (SECTOR / 4), sector);
  }

  // ---- after every turn ----

  #afterTurn(): void {
    const primaries = this.primaries;
    const counting = primaries.find((node) => node !== this.victim);
    if (primaries.length === 2) this.#judgePrimaries();
    if (counting === undefined) this.#followSecondaries();
    // A Primary counts from the moment its copy has been judged.
    else if (counting.process?.workload !== undefined) this.#followPrimary(counting);
    const { victim } = this;
    if (victim?.process !== undefined && isMirrored(victim.process.volume.state) && primaries.length < 2) {
      const survivor = this.other(victim).process;
      if (survivor !== undefined && isMirrored(survivor.volume.state)) this.victim = undefined;
    }
  }

  #judgePrimaries(): void {
    const connected = this.nodes.every((node) => (node.process?.volume.state.conn ?? 0) >= Conn.Connected);
    if (connected) this.journal.fail("one Primary", "both nodes are Primary and Connected");
    else if (this.victim === undefined) this.journal.fail("one Primary", "both nodes are Primary");
  }

  #followPrimary(node: SimNode): void {
    const state = node.process?.volume.state;
    if (state === undefined) return;
    const other = this.other(node);
    const mirrored = state.conn >= Conn.Connected && state.pdsk === DiskState.UpToDate;
    if (!mirrored && state.disk !== DiskState.UpToDate) return;
    this.complete.clear();
    this.spared.clear();
    if (state.disk === DiskState.UpToDate) {
      this.complete.add(node);
      this.spared.add(node);
    }
    if (!mirrored || other === this.victim) return;
    this.complete.add(other);
    // It may have gone and come back without the Primary having noticed yet.
    if ((other.process?.volume.state.conn ?? 0) >= Conn.Connected) this.spared.add(other);
  }

  #followSecondaries(): void {
    for (const node of this.living) {
      const state = node.process?.volume.state;
      if (state === undefined || state.disk < DiskState.Inconsistent) continue;
      if (!isSyncTarget(state) && state.disk >= DiskState.Outdated) continue;
      this.complete.delete(node);
      this.spared.delete(node);
    }
    if (this.victim !== undefined) return;
    const both = this.nodes.every((node) => node.process !== undefined && isMirrored(node.process.volume.state));
    if (!both || this.complete.size === 0) return;
    for (const node of this.nodes) {
      this.complete.add(node);
      if (this.spared.size > 0) this.spared.add(node);
    }
  }

  #onEvent(node: SimNode, event: ResourceEvent): void {
    switch (event.kind) {
      case "log":
        if (event.text.includes("Split-Brain detected") && this.victim === undefined && !this.splitAllowed) {
          this.journal.fail("split brain", `${node.name}: ${event.text}`);
        }
        return this.journal.say(node.name, "log", `${event.level} ${event.text}`);
      case "state":
        return this.journal.say(node.name, "state", event.text);
      case "uuids":
        return this.journal.say(node.name, "uuid", event.text);
      default:
        return event satisfies never;
    }
  }
}
