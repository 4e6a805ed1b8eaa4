/**
 * Two members in virtual time: links that lose, delay and can be cut, groups that take time to start and stop, crashes. All
 * from one seed. Packets pass the real codec. After every event the oracle looks who runs what.
 */
import { instant, ms } from "../../../../src/core/units.ts";
import type {
  Decision,
  MemberEffect,
  MemberEvent,
  MemberParameters,
} from "../../../../src/heartbeat/core/membership/events.ts";
import { openMember, step, wakeAt } from "../../../../src/heartbeat/core/membership/member.ts";
import type { Member } from "../../../../src/heartbeat/core/membership/state.ts";
import { isViolation, type Message } from "../../../../src/heartbeat/core/wire/message.ts";
import { decodePacket, defaultForm, encodePacket } from "../../../../src/heartbeat/core/wire/packet.ts";
import { SimRandom } from "../../../../src/simulator/random.ts";
import { contextFor, labKeys } from "../_captures.ts";

export type NodeName = "host01" | "host02";
export const nodeNames: readonly NodeName[] = ["host01", "host02"];
const otherOf = (name: NodeName): NodeName => (name === "host01" ? "host02" : "host01");

export const groups = [
  { key: "IPaddr2::192.168.1.80", home: "host01" },
  { key: "IPaddr2::192.168.1.81", home: "host02" },
] as const;

export interface ClusterOptions {
  readonly seed?: number;
  readonly autoFailback?: MemberParameters["autoFailback"];
  readonly links?: readonly string[];
  /** Share of packets lost on every link, 0 to 1. */
  readonly loss?: number;
  readonly pingNodes?: readonly string[];
  readonly ipfail?: boolean;
  readonly hasStonith?: boolean;
  readonly isolation?: "stop" | "keep";
  /** Milliseconds a group takes to start or stop, at most. */
  readonly slowness?: number;
  readonly deadtime?: number;
}

interface Node {
  member: Member | undefined;
  generation: number;
  /** Rises when the node dies, so that what was planned for its former life does not happen. */
  life: number;
  /** Groups that run, or have begun to start, or have not finished stopping. */
  readonly running: Set<string>;
  readonly decisions: Decision[];
  readonly sees: Set<string>;
}

interface Planned {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export interface Overlap {
  readonly at: number;
  readonly group: string;
}

const context = contextFor(labKeys(1));

export class Cluster {
  readonly options: Required<ClusterOptions>;
  readonly log: string[] = [];
  /** Moments at which both nodes ran a group although they could talk. */
  readonly violations: Overlap[] = [];
  /** The same while they could not. */
  readonly partitioned: Overlap[] = [];
  readonly fenceRequests: { readonly by: NodeName; readonly at: number }[] = [];
  readonly wire: { readonly at: number; readonly from: NodeName; readonly message: Message }[] = [];
  /** Answers STONITH; default: it fails. */
  stonith: (by: NodeName) => boolean = () => false;
  now = 0;
  private order = 0;
  private plan: Planned[] = [];
  private readonly random: SimRandom;
  private readonly nodes = new Map<NodeName, Node>();
  private readonly cut = new Set<string>();
  /** Groups both nodes run at this moment. */
  private readonly doubled = new Set<string>();
  /** Until when an overlap is the aftermath of a partition: both have to be told first. */
  private partitionedUntil = Number.NEGATIVE_INFINITY;

  constructor(options: ClusterOptions = {}) {
    this.options = {
      seed: 1,
      autoFailback: "on",
      links: ["eth0", "eth1"],
      loss: 0,
      pingNodes: [],
      ipfail: false,
      hasStonith: false,
      isolation: "stop",
      slowness: 1500,
      deadtime: 5000,
      ...options,
    };
    this.random = new SimRandom(this.options.seed);
    for (const name of nodeNames) {
      const sees = new Set(this.options.pingNodes);
      this.nodes.set(name, { member: undefined, generation: 100, life: 0, running: new Set(), decisions: [], sees });
    }
  }

  node(name: NodeName): Node {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(name);
    return node;
  }

  member(name: NodeName): Member {
    const { member } = this.node(name);
    if (member === undefined) throw new Error(`${name} is down`);
    return member;
  }

  runningOn(name: NodeName): readonly string[] {
    return [...this.node(name).running].sort();
  }

  why(name: NodeName): string {
    return this.node(name)
      .decisions.map((decision) => `${decision.what}: ${decision.why}`)
      .join("\n");
  }

  start(...names: readonly NodeName[]): void {
    for (const name of names) {
      const node = this.node(name);
      node.generation++;
      node.life++;
      node.member = openMember(this.parameters(name, node.generation));
      this.feed(name, { kind: "start" });
    }
  }

  /** The machine loses power: its groups are gone too. */
  crash(name: NodeName): void {
    const node = this.node(name);
    this.note(name, "crash");
    node.member = undefined;
    node.life++;
    node.running.clear();
  }

  do(name: NodeName, event: MemberEvent): void {
    this.note(name, `event ${event.kind}`);
    this.feed(name, event);
  }

  cutLinks(...links: readonly string[]): void {
    for (const link of links) this.cut.add(link);
    this.note("host01", `cut ${links.join(" ")}`);
  }

  healLinks(): void {
    if (this.isPartitioned()) this.partitionedUntil = this.now + 30_000;
    this.cut.clear();
    this.note("host01", "healed");
  }

  run(span: number): void {
    this.runUntil(() => false, span);
  }

  /** Runs until it holds; returns whether it came to that within `span` milliseconds. */
  runUntil(holds: () => boolean, span = 120_000): boolean {
    const end = this.now + span;
    for (;;) {
      if (holds()) return true;
      const next = this.nextAt();
      if (next > end) {
        this.now = end;
        return holds();
      }
      this.now = next;
      this.advance();
      this.judge();
    }
  }

  private nextAt(): number {
    let next = this.plan.reduce((least, planned) => Math.min(least, planned.at), Number.POSITIVE_INFINITY);
    for (const node of this.nodes.values()) if (node.member !== undefined) next = Math.min(next, wakeAt(node.member));
    return Math.max(next, this.now);
  }

  private advance(): void {
    const due = this.plan.filter((planned) => planned.at <= this.now).sort((a, b) => a.at - b.at || a.order - b.order);
    this.plan = this.plan.filter((planned) => planned.at > this.now);
    for (const planned of due) planned.run();
    for (const name of nodeNames) {
      const { member } = this.node(name);
      if (member !== undefined && wakeAt(member) <= this.now) this.feed(name, { kind: "tick" });
    }
  }

  private parameters(name: NodeName, generation: number): MemberParameters {
    const { options } = this;
    return {
      identity: { name, uuid: new Uint8Array(16).fill(name === "host01" ? 1 : 2), generation, ttl: 3 },
      peer: otherOf(name),
      links: options.links,
      keepalive: ms(1000),
      warntime: ms(Math.round(options.deadtime * 0.6)),
      deadtime: ms(options.deadtime),
      initdead: ms(10_000),
      deadping: ms(options.deadtime),
      autoFailback: options.autoFailback,
      pingNodes: options.pingNodes.map((address) => ({ name: address, addresses: [address], isGroup: false })),
      ipfail: options.ipfail,
      hasStonith: options.hasStonith,
      isolation: options.isolation,
      groups,
      seed: this.random.u32(),
    };
  }

  private feed(name: NodeName, event: MemberEvent): void {
    const node = this.node(name);
    if (node.member === undefined) return;
    const moment = { now: instant(this.now), unixSeconds: 1_700_000_000 + Math.floor(this.now / 1000), loadavg: "n/a" };
    const result = step(node.member, event, moment);
    node.member = result.member;
    for (const effect of result.effects) this.perform(name, effect);
  }

  private at(delay: number, run: () => void): void {
    this.plan.push({ at: this.now + delay, order: this.order++, run });
  }

  /** As `at`, unless the node dies before. */
  private inLife(name: NodeName, delay: number, run: () => void): void {
    const { life } = this.node(name);
    this.at(delay, () => {
      if (this.node(name).life === life) run();
    });
  }

  private perform(name: NodeName, effect: MemberEffect): void {
    const node = this.node(name);
    switch (effect.kind) {
      case "transmit":
        this.transmit(name, effect.message);
        return;
      case "ping":
        if (node.sees.has(effect.address)) {
          this.inLife(name, 1, () => this.feed(name, { kind: "message", link: "ping", message: effect.message }));
        }
        return;
      case "take":
        this.work(name, effect.job, effect.groups, (group) => node.running.add(group), false);
        return;
      case "give":
        this.work(name, effect.job, effect.groups, (group) => node.running.delete(group), true);
        return;
      case "fence":
        this.fenceRequests.push({ by: name, at: this.now });
        this.inLife(name, 500, () => {
          const ok = this.stonith(name);
          if (ok) this.crash(otherOf(name));
          this.feed(name, { kind: "fenced", node: effect.node, ok });
        });
        return;
      case "decision":
        node.decisions.push(effect.decision);
        // A peer that lives was taken for dead: what follows is a partition too, whatever the cables say.
        if (effect.decision.unsafe && this.node(otherOf(name)).member !== undefined) {
          this.partitionedUntil = Math.max(this.partitionedUntil, this.now + 30_000);
        }
        this.note(name, `${effect.decision.what}: ${effect.decision.why}${effect.decision.unsafe ? " (unsafe)" : ""}`);
        return;
      case "exit":
        node.member = undefined;
        node.life++;
        this.note(name, effect.restart ? "exits to start anew" : "exits");
        if (effect.restart) this.inLife(name, effect.after, () => this.start(name));
        return;
      case "log":
        this.note(name, `${effect.level}: ${effect.text}`);
        return;
      default:
    }
  }

  private work(
    name: NodeName,
    job: number,
    keys: readonly string[],
    change: (key: string) => void,
    last: boolean,
  ): void {
    let delay = 0;
    for (const key of keys) {
      const span = Math.floor(this.random.fraction() * this.options.slowness);
      // A group counts as running from the first moment of its start to the last of its stop.
      this.inLife(name, last ? delay + span : delay, () => {
        change(key);
        this.note(name, `${last ? "stopped" : "starts"} ${key}`);
      });
      delay += span;
    }
    this.inLife(name, delay + 1, () => this.feed(name, { kind: "done", job, ok: true }));
  }

  private transmit(from: NodeName, message: Message): void {
    this.wire.push({ at: this.now, from, message });
    const bytes = encodePacket(message, defaultForm, context);
    const to = otherOf(from);
    for (const link of this.options.links) {
      if (this.random.fraction() < this.options.loss) continue;
      this.at(1 + Math.floor(this.random.fraction() * 20), () => {
        if (this.cut.has(link)) return;
        const packet = decodePacket(bytes, context);
        if (isViolation(packet)) throw new Error(packet.violation);
        this.feed(to, { kind: "message", link, message: packet.message });
      });
    }
  }

  private isPartitioned(): boolean {
    return this.options.links.every((link) => this.cut.has(link));
  }

  private judge(): void {
    for (const { key } of groups) {
      if (!nodeNames.every((name) => this.node(name).running.has(key))) {
        this.doubled.delete(key);
        continue;
      }
      const excused = this.isPartitioned() || this.now < this.partitionedUntil;
      const seen = excused ? this.partitioned : this.violations;
      if (seen.length === 0 || !this.doubled.has(key)) {
        this.note("host01", `BOTH NODES RUN ${key}${excused ? ", excused" : ""}`);
      }
      this.doubled.add(key);
      seen.push({ at: this.now, group: key });
    }
  }

  private note(name: NodeName, text: string): void {
    this.log.push(`${(this.now / 1000).toFixed(3)} ${name} ${text}`);
  }
}
