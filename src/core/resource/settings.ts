/** What the engine needs to know of the configuration, in exact types: nothing is optional in here. */
import type { Placement } from "../metadata/geometry.ts";
import type { Endpoint } from "../ports.ts";
import type { Policy0p, Policy1p, Policy2p } from "../state/after-split-brain.ts";
import type { Fencing } from "../state/context.ts";
import type { RoleConflictPolicy } from "../state/decide.ts";
import type { Milliseconds, Sector } from "../units.ts";
import type { ResyncRates } from "../volume/resync-controller.ts";

export interface VolumeSettings {
  readonly volume: number;
  readonly minor: number;
  readonly placement: Placement;
  /** Shown in status: the path of the backing disk. */
  readonly backingDisk: string;
  /** `size`, 0 if none. */
  readonly userSize: Sector;
  readonly alExtents: number;
  readonly onIoError: "pass_on" | "call-local-io-error" | "detach";
  readonly fencing: Fencing;
  readonly diskFlushes: boolean;
  readonly mdFlushes: boolean;
  readonly rates: ResyncRates;
}

export interface NetSettings {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly protocol: "A" | "B" | "C";
  readonly connectInterval: Milliseconds;
  readonly pingInterval: Milliseconds;
  readonly pingTimeout: Milliseconds;
  readonly timeout: Milliseconds;
  /** 0: never give up on a slow peer. */
  readonly koCount: number;
  /** 0: `ping-timeout` is used (drbd-84 §1.2). */
  readonly socketCheckTimeout: Milliseconds;
  readonly maxEpochSize: number;
  readonly allowTwoPrimaries: boolean;
  /** Empty: no authentication. */
  readonly cramHmacAlg: string;
  readonly sharedSecret: Uint8Array;
  readonly integrityAlg: string;
  readonly verifyAlg: string;
  readonly csumsAlg: string;
  readonly useRle: boolean;
  readonly after0p: Policy0p;
  readonly after1p: Policy1p;
  readonly after2p: Policy2p;
  readonly alwaysAsbp: boolean;
  readonly rrConflict: RoleConflictPolicy;
}

export interface ResourceSettings {
  readonly name: string;
  readonly node: string;
  readonly volumes: readonly VolumeSettings[];
  readonly net: NetSettings;
  readonly onNoDataAccessible: "io-error" | "suspend-io";
  /** Payload memory in bytes: a power of two, at least 8 MiB. */
  readonly slabBytes: number;
  readonly io: "direct" | "buffered";
}
