/** What ha.cf says, in exact types (heartbeat §13). `parseHaCf` makes it. */
import type { Position } from "../../../core/config/source.ts";
import type { HaCfScalar, HaCfValues } from "./ha-cf-options.ts";
import type { Word } from "./words.ts";

/** A path for heartbeat packets, in the order written. Ports of bcast and ucast are those in force at that line. */
export type Medium =
  | { readonly kind: "bcast"; readonly interface: string; readonly port: number; readonly at: Position }
  | {
      readonly kind: "ucast" | "ucast6";
      readonly interface: string;
      /** Of the peer, or of this node itself: then the line has no effect here. */
      readonly address: string;
      readonly port: number;
      readonly at: Position;
    }
  | {
      readonly kind: "mcast" | "mcast6";
      readonly interface: string;
      readonly group: string;
      readonly port: number;
      /** 0..4; hops of mcast6. */
      readonly ttl: number;
      readonly loop: boolean;
      readonly at: Position;
    }
  | { readonly kind: "serial"; readonly device: string; readonly at: Position };

/** A pseudo node that answers pings (heartbeat §16); alive while any of `addresses` answers. */
export interface PingNode {
  readonly kind: "ping" | "ping6" | "ping_group" | "hbaping";
  /** Of a single node its address as written; of a group its name. */
  readonly name: string;
  readonly addresses: readonly string[];
  readonly at: Position;
}

/** A program that runs as long as heartbeat does. */
export interface ClientChild {
  readonly kind: "respawn" | "failfast";
  readonly user: string;
  /** Full path. */
  readonly command: string;
  /** As written, for /bin/sh. */
  readonly args: string;
  /** Last component of the path: pingd, ipfail, dopd, ccm are built in. */
  readonly program: string;
  readonly at: Position;
}

export interface ApiAuth {
  readonly name: string;
  readonly uid: readonly string[];
  readonly gid: readonly string[];
}

export interface StonithHost {
  /** Node the device is attached to, in lower case; `*`: every node. */
  readonly host: string;
  readonly type: string;
  readonly parameters: string;
  readonly at: Position;
}

export interface HaCf {
  readonly file: string;
  readonly values: HaCfValues;
  /** Where a directive with one value stands last. */
  readonly written: ReadonlyMap<Exclude<HaCfScalar, "pacemaker" | "nice_failback">, Position>;
  /** In lower case, at least one; not the ping nodes. */
  readonly nodes: readonly Word[];
  /** At least one. */
  readonly media: readonly Medium[];
  readonly pingNodes: readonly PingNode[];
  /** In the order of their start. */
  readonly clients: readonly ClientChild[];
  /** Those written, over the defaults of heartbeat. */
  readonly apiauth: ReadonlyMap<string, ApiAuth>;
  readonly stonith: { readonly type: string; readonly configFile: string; readonly at: Position } | undefined;
  readonly stonithHosts: readonly StonithHost[];
  /** Exported to scripts as `HA_<name>`. */
  readonly env: ReadonlyMap<string, string>;
}

/** Whether cib.xml is asked for: `crm` with any value but no. */
export const wantsCrm = (haCf: HaCf): boolean => haCf.values.crm !== "no";

/** What an ha.cf without such lines allows (heartbeat §13). */
export const defaultApiAuth: readonly ApiAuth[] = [
  { name: "ipfail", uid: ["hacluster"], gid: [] },
  { name: "ccm", uid: ["hacluster"], gid: [] },
  { name: "ping", uid: [], gid: ["haclient"] },
  { name: "cl_status", uid: [], gid: ["haclient"] },
];
