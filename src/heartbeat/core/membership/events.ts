/** What happens to a member, and what it wants done. */
import type { Instant, Milliseconds } from "../../../core/units.ts";
import type { Field, Message } from "../wire/message.ts";
import type { Identity, LogLevel } from "../wire/transport.ts";
import type { NodeStatus } from "../wire/vocabulary.ts";
import type { Share } from "./holdings.ts";

/** One line of haresources: its first resource names it (heartbeat §15.1). */
export interface Group {
  readonly key: string;
  /** Node name, lower case. */
  readonly home: string;
}

/** `ping A` is a node of one address named as it is written; `ping_group` has several (heartbeat §16). */
export interface PingNode {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly isGroup: boolean;
}

/** What ha.cf and haresources decide. Spans are milliseconds. */
export interface MemberParameters {
  readonly identity: Identity;
  /** The other node; undefined: alone. haresources mode knows two nodes (heartbeat §21.13). */
  readonly peer: string | undefined;
  readonly links: readonly string[];
  readonly keepalive: Milliseconds;
  readonly warntime: Milliseconds;
  readonly deadtime: Milliseconds;
  readonly initdead: Milliseconds;
  readonly deadping: Milliseconds;
  readonly autoFailback: "on" | "off" | "legacy";
  readonly pingNodes: readonly PingNode[];
  /** Whether ipfail runs (`respawn … ipfail`). */
  readonly ipfail: boolean;
  /** Whether a STONITH device can reset the peer. */
  readonly hasStonith: boolean;
  /** Hearing neither the peer nor any ping node: `stop` gives everything up, `keep` goes on as 3.0.6 does. */
  readonly isolation: "stop" | "keep";
  readonly groups: readonly Group[];
  /** For random delays. */
  readonly seed: number;
}

export type MemberEvent =
  | { readonly kind: "start" }
  /** Authenticated, on this link. */
  | { readonly kind: "message"; readonly link: string; readonly message: Message }
  | { readonly kind: "tick" }
  /** The groups of a `take` or `give` are all started or stopped; `ok` false: at least one is not. */
  | { readonly kind: "done"; readonly job: number; readonly ok: boolean }
  | { readonly kind: "fenced"; readonly node: string; readonly ok: boolean }
  /** hb_standby: `share` is ours to give. */
  | { readonly kind: "standby"; readonly share: Share }
  /** hb_takeover: `share` is ours to get; the peer goes standby. */
  | { readonly kind: "takeover"; readonly share: Share }
  /** Orderly shutdown. */
  | { readonly kind: "stop" }
  /** A message of a local client or script, from `t` on: sent to all (heartbeat §12.1). */
  | { readonly kind: "inject"; readonly fields: readonly Field[] };

/** What was decided and why: one row of the journal. */
export interface Decision {
  readonly at: Instant;
  readonly what:
    | "node is dead"
    | "node is back"
    | "active"
    | "take"
    | "take nothing"
    | "hold back"
    | "give"
    | "ask for standby"
    | "accept standby"
    | "refuse standby"
    | "cancel standby"
    | "fence"
    | "yield"
    | "leave"
    | "restart"
    | "stop failed"
    | "start failed";
  /** A sentence for people, with the numbers it was decided on. */
  readonly why: string;
  /** Nothing could tell a dead node from a cut cable: two nodes may be serving now. */
  readonly unsafe: boolean;
}

export type MemberEffect =
  /** On every link. */
  | { readonly kind: "transmit"; readonly message: Message }
  /** An echo request with this message as its payload. */
  | { readonly kind: "ping"; readonly address: string; readonly message: Message }
  /** Start these groups in this order, each left to right; answer with `done`. */
  | { readonly kind: "take"; readonly job: number; readonly groups: readonly string[] }
  /** Stop these groups in this order, each right to left; answer with `done`. */
  | { readonly kind: "give"; readonly job: number; readonly groups: readonly string[] }
  | { readonly kind: "fence"; readonly node: string }
  | { readonly kind: "nodeStatus"; readonly node: string; readonly from: NodeStatus; readonly to: NodeStatus }
  | { readonly kind: "linkStatus"; readonly node: string; readonly link: string; readonly up: boolean }
  /** A message of a type that is not ours: for scripts and clients. */
  | { readonly kind: "foreignMessage"; readonly type: string; readonly message: Message }
  | { readonly kind: "decision"; readonly decision: Decision }
  | { readonly kind: "log"; readonly level: LogLevel; readonly text: string }
  /** The process ends; `restart`: and starts again after this long, with a new generation. */
  | { readonly kind: "exit"; readonly restart: boolean; readonly after: Milliseconds };
