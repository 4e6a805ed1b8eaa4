/**
 * What stands in the files, with positions: options under their present names in the order written, `syncer`
 * distributed, aliases replaced, volumes inherited by the host sections that follow them (drbd-84 §10.2). `dump`
 * prints this; `resolve` turns it into the effective configuration.
 */
import type { SectionName } from "./options.ts";
import type { Position } from "./source.ts";

export interface OptionEntry {
  readonly name: string;
  /** One word; several for `become-primary-on`; none for a flag; `yes` or `no` for a boolean. */
  readonly values: readonly string[];
  readonly at: Position;
  /** Where it was written: `syncer { rate }` asks for a fixed rate, `disk { resync-rate }` does not. */
  readonly via: string;
}

/** Empty lists for sections that are not written. */
export type Sections = Readonly<Record<SectionName, OptionEntry[]>>;

export type AddressFamily = "ipv4" | "ipv6" | "sdp" | "ssocks";
export interface AddressNode {
  readonly family: AddressFamily;
  /** As written, IPv6 without brackets. */
  readonly address: string;
  /** As written: `0007`. */
  readonly port: string;
  readonly at: Position;
}

export interface DeviceNode {
  /** `/dev/drbd0`; empty where only a minor number is written. */
  readonly name: string;
  readonly minor: number;
  readonly at: Position;
}

export interface TextNode {
  readonly text: string;
  readonly at: Position;
}

export interface MetaDiskNode {
  /** `internal` or a path. */
  readonly path: string;
  /** As written; empty without `[N]`. */
  readonly index: string;
  readonly at: Position;
}

export interface VolumeNode {
  readonly volume: number;
  /** Made of statements that stand directly in a host or resource section. */
  readonly implicit: boolean;
  readonly at: Position;
  device: DeviceNode | undefined;
  disk: TextNode | undefined;
  metaDisk: MetaDiskNode | undefined;
  readonly options: OptionEntry[];
}

export interface ProxyNode {
  readonly names: readonly TextNode[];
  readonly at: Position;
  inside: AddressNode | undefined;
  outside: AddressNode | undefined;
  readonly options: OptionEntry[];
  readonly plugins: string[][];
}

export interface HostNode {
  readonly kind: "on" | "floating" | "stacked";
  /** Node names; of a stacked section those of the lower resource once the files are read; none for `floating`. */
  names: readonly TextNode[];
  /** Of a stacked section, else empty. */
  readonly lower: string;
  readonly at: Position;
  address: AddressNode | undefined;
  alternateAddress: AddressNode | undefined;
  volumes: VolumeNode[];
  readonly options: OptionEntry[];
  proxy: ProxyNode | undefined;
}

export interface ResourceNode {
  readonly name: string;
  /** The `{` that opens it, where drbdadm says it is defined. */
  readonly at: Position;
  readonly sections: Sections;
  readonly plugins: string[][];
  readonly volumes: VolumeNode[];
  readonly hosts: HostNode[];
}

export interface ConfigTree {
  /** As given to `parseConfig`. */
  readonly file: string;
  readonly global: OptionEntry[];
  readonly common: ResourceNode | undefined;
  readonly resources: readonly ResourceNode[];
}

export const emptySections = (): Sections => ({
  options: [],
  net: [],
  disk: [],
  startup: [],
  proxy: [],
  handlers: [],
});
