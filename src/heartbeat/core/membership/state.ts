/** The state of a member, and the working copy that one step changes. */
import { after, type Instant, type Milliseconds, ms, NEVER } from "../../../core/units.ts";
import { type Field, stringField } from "../wire/message.ts";
import { type LogLevel, type Moment, type NodeView, openTransport, send, type Transport } from "../wire/transport.ts";
import type { NodeStatus } from "../wire/vocabulary.ts";
import type { Decision, MemberEffect, MemberParameters } from "./events.ts";
import { ALL, FOREIGN, LOCAL, NONE, type Share, union } from "./holdings.ts";
import type { StandbyRole } from "./rules.ts";

/** Fixed spans of the protocol (heartbeat §8.2); both nodes count on them. */
export const START_WINDOW = ms(10_000);
export const STANDBY_REPLY = ms(10_000);
export const STANDBY_LIMIT = ms(3_600_000);
export const RETURN_DELAY = ms(2_000);
/** For this long after the start a larger deadtime is advertised (heartbeat §8.1). */
export const GENTLE_START = ms(5_000);
export const GENTLE_DEADTIME = ms(2_000);
export const RESTART_DEADTIME = ms(30_000);

/** The other node as we see it. */
export interface PeerView {
  /** `init`: never heard. */
  readonly status: NodeStatus;
  readonly everHeard: boolean;
  /** When its last status came. */
  readonly heardAt: Instant;
  /** The deadtime it advertises. */
  readonly dt: Milliseconds | undefined;
  /** Knows acknowledgements and node lists: `protocol` in its status (heartbeat §5). */
  readonly knowsNodeLists: boolean;
  /** It said `shutdone`. */
  readonly left: boolean;
  /** Its generation grew, or it was heard for the first time, since it was declared dead. */
  readonly startedAnew: boolean;
}

export interface PingView {
  readonly alive: boolean;
  readonly heardAt: Instant;
}

/**
 *     init ─▶ starting ─▶ negotiating ─▶ stable ─▶ leaving
 *
 * `starting`: our question is out. `negotiating`: a statement of resources was seen, the 10 s run (heartbeat §9.1).
 */
export type Phase = "init" | "starting" | "negotiating" | "stable" | "leaving";

export type JobPurpose =
  /** Ours by start, death or orphanage: say so when it is done. */
  | { readonly for: "own" }
  /** `agreed`: from the point of view of the node that gives. */
  | { readonly for: "standbyGive"; readonly agreed: Share }
  | { readonly for: "standbyTake"; readonly agreed: Share }
  | { readonly for: "yield" }
  | { readonly for: "leave" }
  /** Legacy mode: the peer asked for the group and waits for our answer. */
  | { readonly for: "legacyGive"; readonly key: string };

/** Work on groups, one after another; the first one runs. */
export interface Job {
  readonly id: number;
  readonly verb: "take" | "give";
  /** What it is about; nothing in legacy mode, which knows groups only. */
  readonly share: Share;
  readonly groups: readonly string[];
  readonly purpose: JobPurpose;
}

export interface Standby {
  readonly role: StandbyRole;
  /** From the point of view of the node that gives. */
  readonly share: Share;
  readonly since: Instant;
}

export type Leaving =
  | { readonly kind: "no" }
  /** At `at`. A standby that is under way is overtaken: `shutdone` hands everything over. */
  | { readonly kind: "wanted"; readonly at: Instant; readonly restart: boolean }
  | { readonly kind: "giving"; readonly restart: boolean }
  | { readonly kind: "said"; readonly restart: boolean; readonly exitAt: Instant }
  /** A group would not stop: no `shutdone`, the peer must not take it. */
  | { readonly kind: "stuck" }
  | { readonly kind: "gone" };

export interface Member {
  readonly parameters: MemberParameters;
  readonly transport: Transport;
  readonly status: "init" | "up" | "active";
  /** `NEVER` before the start. */
  readonly startedAt: Instant;
  readonly steppedAt: Instant;
  readonly nextStatusAt: Instant;
  readonly peer: PeerView;
  readonly pings: ReadonlyMap<string, PingView>;
  readonly reqnodesAt: Instant;
  readonly phase: Phase;
  readonly phaseSince: Instant;
  readonly held: Share;
  /** What the peer said it holds, from its point of view. */
  readonly peerHeld: Share;
  /** What it may be running all the same: it has not finished stopping it. */
  readonly peerMayHold: Share;
  readonly peerStable: boolean;
  /** It announced a standby and has not been stable since. */
  readonly peerGives: boolean;
  /** Foreign groups are here because the peer failed or left, so that they go home by themselves. */
  readonly tookForDeath: boolean;
  /** We took something since the peer was declared dead. */
  readonly tookSinceDeath: boolean;
  readonly jobs: readonly Job[];
  readonly nextJob: number;
  readonly standby: Standby;
  readonly failbackAt: Instant;
  readonly localOrphanAt: Instant;
  readonly foreignOrphanAt: Instant;
  readonly conflictAt: Instant;
  /** The peer is dead and what that means is not settled: fence or reconsider then. */
  readonly reconsiderAt: Instant;
  readonly fencing: boolean;
  /** The peer is dead, and it may be us who are cut off. */
  readonly heldBack: boolean;
  readonly leaving: Leaving;
  readonly giveUpAt: Instant;
  readonly giveUpShare: Share;
  readonly pingCountDueAt: Instant;
  /** auto_failback legacy: groups we run, and when to ask again for those we want. */
  readonly legacyHeld: ReadonlySet<string>;
  readonly legacyAskAt: ReadonlyMap<string, Instant>;
}

export const noStandby: Standby = { role: "none", share: NONE, since: NEVER };

export const freshPeer: PeerView = {
  status: "init",
  everHeard: false,
  heardAt: NEVER,
  dt: undefined,
  knowsNodeLists: true,
  left: false,
  startedAnew: false,
};

/** A member that has not started. */
export function openMember(parameters: MemberParameters): Member {
  const { identity, peer, pingNodes, links, seed } = parameters;
  const nodes = peer === undefined ? [identity.name] : [identity.name, peer];
  const pingNames = pingNodes.map((node) => node.name);
  return {
    parameters,
    transport: openTransport(identity, nodes, pingNames, links, seed),
    status: "init",
    startedAt: NEVER,
    steppedAt: NEVER,
    nextStatusAt: NEVER,
    peer: freshPeer,
    pings: new Map(pingNames.map((name) => [name, { alive: false, heardAt: NEVER }])),
    reqnodesAt: NEVER,
    phase: "init",
    phaseSince: NEVER,
    held: NONE,
    peerHeld: NONE,
    peerMayHold: NONE,
    peerStable: false,
    peerGives: false,
    tookForDeath: false,
    tookSinceDeath: false,
    jobs: [],
    nextJob: 1,
    standby: noStandby,
    failbackAt: NEVER,
    localOrphanAt: NEVER,
    foreignOrphanAt: NEVER,
    conflictAt: NEVER,
    reconsiderAt: NEVER,
    fencing: false,
    heldBack: false,
    leaving: { kind: "no" },
    giveUpAt: NEVER,
    giveUpShare: NONE,
    pingCountDueAt: NEVER,
    legacyHeld: new Set(),
    legacyAskAt: new Map(),
  };
}

type Draft = { -readonly [Key in keyof Member]: Member[Key] };

/** One step: a copy of the state to change, and what comes of it. What the fields hold is replaced, never changed. */
export class Turn {
  readonly state: Draft;
  readonly moment: Moment;
  readonly effects: MemberEffect[] = [];

  constructor(member: Member, moment: Moment) {
    this.state = { ...member };
    this.moment = moment;
  }

  get now(): Instant {
    return this.moment.now;
  }

  get parameters(): MemberParameters {
    return this.state.parameters;
  }

  get isLegacy(): boolean {
    return this.parameters.autoFailback === "legacy";
  }

  get peerIsAlive(): boolean {
    return this.state.peer.status !== "init" && this.state.peer.status !== "dead" && !this.state.peer.left;
  }

  get bothStable(): boolean {
    return this.state.phase === "stable" && this.state.peerStable && this.peerIsAlive;
  }

  /** What is held, and what is on its way out and may still run. */
  get mayRun(): Share {
    return this.state.jobs.reduce((sum, job) => union(sum, job.share), this.state.held);
  }

  /** Every group there is is ours already, so that a death changes nothing. */
  get runsAll(): boolean {
    if (!this.isLegacy) return this.mayRun === ALL;
    return this.parameters.groups.every((group) => this.state.legacyHeld.has(group.key));
  }

  /** The group keys of a share, in the order of haresources. */
  groupsOf(share: Share): readonly string[] {
    const { groups, identity } = this.parameters;
    return groups
      .filter((group) => (share & (group.home === identity.name ? LOCAL : FOREIGN)) !== 0)
      .map((group) => group.key);
  }

  due(at: Instant): boolean {
    return at <= this.now;
  }

  later(span: Milliseconds): Instant {
    return after(this.now, span);
  }

  /** The value of each is the text on the wire; undefined ones are left out. */
  send(type: string, values: Readonly<Record<string, string | undefined>> = {}): void {
    const fields: Field[] = [stringField("t", type)];
    for (const [name, value] of Object.entries(values)) if (value !== undefined) fields.push(stringField(name, value));
    this.sendFields(fields);
  }

  sendFields(fields: readonly Field[]): void {
    const step = send(this.state.transport, fields, this.moment);
    this.state.transport = step.transport;
    for (const effect of step.effects) if (effect.kind === "transmit") this.effects.push(effect);
  }

  log(level: LogLevel, text: string): void {
    this.effects.push({ kind: "log", level, text });
  }

  decide(what: Decision["what"], why: string, unsafe = false): void {
    this.effects.push({ kind: "decision", decision: { at: this.now, what, why, unsafe } });
  }
}

/** What the link layer has to know of a node. */
export const nodeView =
  (member: Member) =>
  (node: string): NodeView => {
    const { peer, parameters } = member;
    const isPeer = node === parameters.peer;
    const answers = isPeer && (peer.status === "up" || peer.status === "active");
    return { answers, deadtime: peer.dt ?? parameters.deadtime };
  };
