/**
 * The effective configuration of a resource on one node: every option has a value, in types that carry their unit.
 * Keys are the option names of drbd.conf; the types derive from the rows in `options.ts`.
 */
import type { Bytes, Milliseconds, Sector } from "../units.ts";
import type {
  diskOptions,
  globalOptions,
  handlerOptions,
  netOptions,
  OptionRow,
  OptionRows,
  resourceOptions,
  startupOptions,
} from "./options.ts";
import type { Position } from "./source.ts";

type InUnit<Unit> = Unit extends "ds" | "seconds" | "ms"
  ? Milliseconds
  : Unit extends "sectors"
    ? Sector
    : Unit extends "bytes"
      ? Bytes
      : number;

/** A number of `count`, `pages` (4 KiB) or `KiB/s` is plain. */
export type ValueOf<R extends OptionRow> = R extends { kind: "number"; unit: infer Unit }
  ? InUnit<Unit>
  : R extends { kind: "boolean" | "flag" }
    ? boolean
    : R extends { kind: "oneOf"; values: readonly (infer Value)[] }
      ? Value
      : R extends { kind: "text" }
        ? string
        : R extends { kind: "addresses" }
          ? readonly Address[]
          : readonly string[];

export type Values<Rows extends OptionRows> = { readonly [Name in keyof Rows]: ValueOf<Rows[Name]> };

/** Values of one section, and which of them are written somewhere. */
export interface Options<Rows extends OptionRows> {
  readonly values: Values<Rows>;
  readonly written: ReadonlySet<keyof Rows & string>;
}

/** `discard-node-NAME` has become `discard-local` or `discard-remote`. */
export type NetValues = Values<typeof netOptions>;
export type DiskValues = Values<typeof diskOptions>;

export interface Address {
  readonly family: "ipv4" | "ipv6";
  /** Without brackets. */
  readonly address: string;
  readonly port: number;
}

/**
 * `flexible`: as large as the data needs, from the start of `path`; `indexed`: 128 MiB at `index` × 128 MiB (drbd-84
 * §9.1).
 */
export type MetaDisk =
  | { readonly kind: "internal" }
  | { readonly kind: "flexible"; readonly path: string }
  | { readonly kind: "indexed"; readonly path: string; readonly index: number };

export interface Backing {
  readonly minor: number;
  /** `/dev/drbd<minor>` or `/dev/drbd_<name>`. */
  readonly device: string;
  /** For a stacked resource the device of the resource below. */
  readonly disk: string;
  readonly metaDisk: MetaDisk;
}

export interface VolumeConfig {
  readonly volume: number;
  readonly local: Backing;
  readonly remote: Backing;
  readonly disk: Options<typeof diskOptions>;
  /** `syncer { rate }` without any `c-` option: a fixed ceiling; `c-plan-ahead` is 0 then. */
  readonly fixedRate: boolean;
  /** Minor number of the volume that resyncs first; -1: none. */
  readonly resyncAfter: number;
}

export interface HostConfig {
  /** Node names; none for `floating`. */
  readonly names: readonly string[];
  readonly address: Address;
}

export interface ResourceConfig {
  readonly name: string;
  readonly at: Position;
  readonly local: HostConfig;
  readonly remote: HostConfig;
  /** Name of the resource below; empty unless this node's section is `stacked-on-top-of`. */
  readonly stackedOn: string;
  /** By volume number; at least one. */
  readonly volumes: readonly VolumeConfig[];
  readonly options: Options<typeof resourceOptions>;
  readonly net: Options<typeof netOptions>;
  readonly startup: Options<typeof startupOptions>;
  readonly handlers: Options<typeof handlerOptions>;
}

export type GlobalConfig = Options<typeof globalOptions>;
