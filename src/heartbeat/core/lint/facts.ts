/** What `lint` looks at: the files of one node as parsed, and what is known besides. */
import type { ResourceConfig } from "../../../core/config/effective.ts";
import type { Position } from "../../../core/config/source.ts";
import type { AuthKeys } from "../config/authkeys.ts";
import { type Cib, primitivesOf, type Rule } from "../config/cib.ts";
import { type HaCf, wantsCrm } from "../config/ha-cf.ts";
import type { HaResources } from "../config/haresources.ts";
import type { Word } from "../config/words.ts";
import type { IscsiFile, Listen } from "./other-files.ts";
import { type Service, servicesOfCib, servicesOfHaResources } from "./services.ts";

/** An address of this node, as `ip addr` shows it. */
export interface InterfaceAddress {
  readonly interface: string;
  /** IPv4. */
  readonly address: string;
  readonly prefix: number;
}

/** Everything optional: what is absent is not judged. */
export interface LintInput {
  readonly haCf?: HaCf;
  readonly authKeys?: AuthKeys;
  readonly haResources?: HaResources;
  /** The other node's file, to compare. */
  readonly peerHaResources?: HaResources;
  readonly cib?: Cib;
  readonly drbd?: readonly ResourceConfig[];
  /** `Listen` lines of Apache's configuration. */
  readonly listens?: readonly Listen[];
  readonly iscsi?: IscsiFile;
  /** The other node's. */
  readonly peerIscsi?: IscsiFile;
  /** Names of the targets that are logged in to. */
  readonly targets?: readonly Word[];
  readonly addresses?: readonly InterfaceAddress[];
}

export class LintFacts {
  readonly input: LintInput;
  readonly haCf: HaCf | undefined;
  readonly cib: Cib | undefined;
  readonly drbd: readonly ResourceConfig[];
  readonly listens: readonly Listen[];
  readonly addresses: readonly InterfaceAddress[];
  /** Of the file that decides: cib.xml in cib mode, else haresources. */
  readonly services: readonly Service[];
  readonly isCibMode: boolean;

  constructor(input: LintInput) {
    this.input = input;
    this.haCf = input.haCf;
    this.cib = input.cib;
    this.drbd = input.drbd ?? [];
    this.listens = input.listens ?? [];
    this.addresses = input.addresses ?? [];
    this.isCibMode = input.cib !== undefined || (input.haCf !== undefined && wantsCrm(input.haCf));
    const ofCib = input.cib === undefined ? [] : servicesOfCib(input.cib);
    const ofHaResources = input.haResources === undefined ? [] : servicesOfHaResources(input.haResources);
    this.services = input.cib === undefined ? ofHaResources : ofCib;
  }

  /** The directive, or the file where it is not written. */
  placeInHaCf(name: Parameters<HaCf["written"]["get"]>[0]): Position {
    const file = this.haCf?.file ?? "ha.cf";
    return this.haCf?.written.get(name) ?? { file, line: 1, column: 1 };
  }

  get hasStonith(): boolean {
    const { haCf, cib } = this;
    const inHaCf = haCf !== undefined && (haCf.stonith !== undefined || haCf.stonithHosts.length > 0);
    const devices = primitivesOf(cib?.resources ?? []).filter((each) => each.class === "stonith");
    return cib === undefined ? inHaCf : devices.length > 0 && cib.options.values["stonith-enabled"];
  }

  get hasWatchdog(): boolean {
    return this.haCf !== undefined && this.haCf.values.watchdog !== "";
  }

  get hasPingNode(): boolean {
    return this.haCf !== undefined && this.haCf.pingNodes.length > 0;
  }

  /** Whether anything that two nodes could both write to is under heartbeat's control. */
  get hasSharedData(): boolean {
    return this.services.some((service) =>
      service.items.some((item) => item.drbd !== undefined || item.filesystem !== undefined),
    );
  }

  client(program: string): HaCf["clients"][number] | undefined {
    return this.haCf?.clients.find((client) => client.program === program);
  }

  /** Interfaces that carry heartbeat packets, each once. */
  get heartbeatInterfaces(): string[] {
    const names = (this.haCf?.media ?? []).flatMap((medium) =>
      medium.kind === "serial" ? [medium.device] : [medium.interface],
    );
    return [...new Set(names)];
  }

  /** Node attributes that rules of cib.xml look at. */
  get ruleAttributes(): string[] {
    const of = (rule: Rule): string[] => [
      rule.scoreAttribute,
      ...rule.expressions.map((each) => each.attribute),
      ...rule.rules.flatMap(of),
    ];
    return (this.cib?.constraints ?? []).flatMap((each) => (each.kind === "location" ? each.rules.flatMap(of) : []));
  }
}
