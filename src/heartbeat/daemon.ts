/** One life of the heartbeat process: a member between its sockets, its scripts and the clock. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { instant, ms } from "../core/units.ts";
import { monotonicNow, wallClockNow } from "../node/clock.ts";
import { SystemDigests } from "../node/digests.ts";
import { SystemRandom } from "../node/random.ts";
import { systemCompression } from "./compression.ts";
import type { AuthKeys } from "./core/config/authkeys.ts";
import type { HaCf } from "./core/config/ha-cf.ts";
import type { HaResourceGroup } from "./core/config/haresources.ts";
import type { MemberEffect, MemberEvent, MemberParameters } from "./core/membership/events.ts";
import { openMember, step, wakeAt } from "./core/membership/member.ts";
import type { Member } from "./core/membership/state.ts";
import { isViolation } from "./core/wire/message.ts";
import { decodePacket, encodePacket, type PacketContext, type PacketForm } from "./core/wire/packet.ts";
import type { Moment } from "./core/wire/transport.ts";
import { openFifo } from "./fifo.ts";
import { nextGeneration, nodeUuid } from "./node-identity.ts";
import { ScriptRunner } from "./scripts.ts";
import { isUdpMedium, openUdp, type Udp } from "./udp.ts";

export interface Configuration {
  readonly haCf: HaCf;
  readonly authKeys: AuthKeys;
  readonly groups: readonly HaResourceGroup[];
  /** hb_uuid, hb_generation, fifo. */
  readonly stateFolder: string;
  readonly scriptFolders: readonly string[];
}

export type OnLog = (level: string, text: string) => void;

const KIB = 1024;

/** ha.cf's `msgfmt` and `compression`, as 3.0.6 acts on them (heartbeat §3.1, §3.3). */
export function packetForm(haCf: HaCf): PacketForm {
  const { msgfmt, traditional_compression, compression, compression_threshold } = haCf.values;
  return {
    form: "netstring",
    innerAuth: msgfmt === "classic",
    endsWithNul: false,
    compression: traditional_compression
      ? { algorithm: compression, threshold: compression_threshold * KIB }
      : undefined,
  };
}

function loadAverage(): string {
  try {
    return readFileSync("/proc/loadavg", "latin1").trim();
  } catch {
    return "n/a";
  }
}

/** The member that a configuration describes, with a new generation. */
function parametersOf(configuration: Configuration): MemberParameters {
  const { haCf, groups, stateFolder } = configuration;
  const { values } = haCf;
  const random = new SystemRandom();
  const name = hostname().toLowerCase();
  const names = haCf.nodes.map((node) => node.text);
  if (!names.includes(name)) throw new Error(`${haCf.file}: no 'node ${name}': this host is not a member`);
  if (names.length > 2) throw new Error(`${haCf.file}: ${names.length} nodes; haresources mode knows two`);
  return {
    identity: {
      name,
      uuid: nodeUuid(stateFolder, random),
      generation: nextGeneration(stateFolder, Math.floor(wallClockNow() / 1000)),
      ttl: names.length + values.hopfudge,
    },
    peer: names.find((node) => node !== name),
    links: [...new Set(haCf.media.filter(isUdpMedium).map((medium) => medium.interface))],
    keepalive: values.keepalive,
    warntime: values.warntime,
    deadtime: values.deadtime,
    initdead: values.initdead,
    deadping: values.deadping,
    autoFailback: values.auto_failback,
    pingNodes: [],
    ipfail: haCf.clients.some((client) => client.program === "ipfail"),
    hasStonith: false,
    isolation: "stop",
    groups: groups.map((group) => ({ key: group.resources[0]?.written ?? "", home: group.node })),
    seed: Math.floor(random.fraction() * 2 ** 32),
  };
}

export class Daemon {
  readonly #configuration: Configuration;
  readonly #log: OnLog;
  readonly #context: PacketContext;
  readonly #form: PacketForm;
  readonly #runner: ScriptRunner;
  #member: Member;
  #udp: Udp | undefined;
  #closeFifo: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #ended: (again: { readonly restart: boolean; readonly after: number }) => void = () => {};

  constructor(configuration: Configuration, log: OnLog) {
    const { authKeys, haCf, groups, scriptFolders } = configuration;
    this.#configuration = configuration;
    this.#log = log;
    const keys = { current: authKeys.signing.number, entries: authKeys.keys };
    this.#context = { keys, digests: new SystemDigests(), compression: systemCompression };
    this.#form = packetForm(haCf);
    this.#runner = new ScriptRunner(scriptFolders, groups, (text) => log("debug", text));
    this.#member = openMember(parametersOf(configuration));
  }

  /** Runs until the member leaves. Rejects if a socket or the pipe cannot be opened. */
  async run(): Promise<{ readonly restart: boolean; readonly after: number }> {
    const { haCf, stateFolder } = this.#configuration;
    const media = haCf.media.filter(isUdpMedium);
    for (const medium of haCf.media)
      if (!isUdpMedium(medium)) this.#log("WARN", `${medium.kind}: this medium is not served`);
    for (const node of haCf.pingNodes) this.#log("WARN", `${node.kind} ${node.name}: ping nodes are not served`);
    const warn = (text: string): void => this.#log("WARN", text);
    this.#udp = await openUdp(media, (link, bytes) => this.#receive(link, bytes), warn);
    try {
      this.#closeFifo = openFifo(join(stateFolder, "fifo"), (fields) => this.#feed({ kind: "inject", fields }), warn);
      const ended = new Promise<{ readonly restart: boolean; readonly after: number }>((resolve) => {
        this.#ended = resolve;
      });
      this.#feed({ kind: "start" });
      return await ended;
    } finally {
      clearTimeout(this.#timer);
      this.#closeFifo();
      this.#udp.close();
    }
  }

  /** Orderly shutdown; `run` settles when it is done. */
  stop(): void {
    this.#feed({ kind: "stop" });
  }

  #receive(link: string, bytes: Uint8Array): void {
    const packet = decodePacket(bytes, this.#context);
    if (isViolation(packet)) this.#log("WARN", `${link}: packet dropped: ${packet.violation}`);
    else this.#feed({ kind: "message", link, message: packet.message });
  }

  #feed(event: MemberEvent): void {
    const moment: Moment = {
      now: instant(monotonicNow()),
      unixSeconds: Math.floor(wallClockNow() / 1000),
      loadavg: loadAverage(),
    };
    const result = step(this.#member, event, moment);
    this.#member = result.member;
    for (const effect of result.effects) this.#perform(effect);
    clearTimeout(this.#timer);
    const wake = wakeAt(this.#member);
    if (Number.isFinite(wake)) {
      this.#timer = setTimeout(() => this.#feed({ kind: "tick" }), Math.max(0, wake - monotonicNow()));
    }
  }

  #perform(effect: MemberEffect): void {
    switch (effect.kind) {
      case "transmit":
        this.#udp?.send(encodePacket(effect.message, this.#form, this.#context));
        return;
      case "take":
      case "give":
        void this.#runner[effect.kind](effect.groups).then((ok) => this.#feed({ kind: "done", job: effect.job, ok }));
        return;
      case "decision": {
        const { what, why, unsafe } = effect.decision;
        this.#log("info", `decision: ${what}: ${why}${unsafe ? " (unsafe)" : ""}`);
        return;
      }
      case "log":
        this.#log(effect.level, effect.text);
        return;
      case "nodeStatus":
        this.#log("info", `status update for node ${effect.node}: status ${effect.to}`);
        return;
      case "exit":
        this.#ended({ restart: effect.restart, after: ms(effect.after) });
        return;
      case "linkStatus":
      case "foreignMessage":
      case "ping":
      case "fence":
        return;
      default:
        effect satisfies never;
    }
  }
}
