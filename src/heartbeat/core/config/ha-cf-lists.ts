/** The directives of ha.cf that add to a list: nodes, media, ping nodes, programs, permissions, STONITH. */
import type { Position } from "../../../core/config/source.ts";
import { isIpv6, isMulticastIpv4, parseIpv4 } from "./addresses.ts";
import type { Findings } from "./findings.ts";
import type { ApiAuth, ClientChild, HaCf, Medium, PingNode, StonithHost } from "./ha-cf.ts";
import { type HaCfLine, haCfLines } from "./ha-cf-options.ts";
import { parseCount } from "./quantities.ts";
import type { Word } from "./words.ts";

const MAX_NODES = 100;
const MAX_MEDIA = 64;
const MAX_NAME = 99;

export class HaCfLists {
  readonly nodes: Word[] = [];
  readonly media: Medium[] = [];
  readonly pingNodes: PingNode[] = [];
  readonly clients: ClientChild[] = [];
  readonly apiauth = new Map<string, ApiAuth>();
  readonly stonithHosts: StonithHost[] = [];
  readonly env = new Map<string, string>();
  stonith: HaCf["stonith"];
  readonly #findings: Findings;
  readonly #hasUser: (user: string) => boolean;
  #port: number;
  /** A medium takes the port that is in force when the first one of its kind is written. */
  readonly #portOf = new Map<string, number>();

  constructor(findings: Findings, port: number, hasUser: (user: string) => boolean) {
    this.#findings = findings;
    this.#hasUser = hasUser;
    this.#port = port;
  }

  port(value: number, at: Position): void {
    if (this.#portOf.size > 0 && value !== this.#port) {
      const kinds = [...this.#portOf.keys()].join(", ");
      this.#findings.warn(`udpport stands after ${kinds}, which keep the port before it`, at);
    }
    this.#port = value;
  }

  /** `words` are those after the directive, at least one; `rest` is the same as written. */
  add(name: HaCfLine, at: Position, words: readonly Word[], rest: string): void {
    const missing = (what: string): undefined =>
      this.#findings.syntax(`'${name}' without ${what}`, { at, allowed: [haCfLines[name].holds] });
    switch (name) {
      case "node":
        for (const word of words) this.#node(word);
        return;
      case "bcast":
      case "udp":
        for (const { text, at } of words.filter((word) => this.#isInterface(word))) {
          this.#medium({ kind: "bcast", interface: text, port: this.#portFor("bcast"), at });
        }
        return;
      case "ucast":
      case "ucast6":
        return this.#ucast(name, words, missing);
      case "mcast":
      case "mcast6":
        return this.#mcast(name, words, missing);
      case "serial":
        for (const word of words) this.#medium({ kind: "serial", device: word.text, at: word.at });
        return;
      case "ping":
      case "ping6":
      case "hbaping":
        for (const word of words) this.#pingNode({ kind: name, name: word.text, addresses: [word.text], at: word.at });
        return;
      case "ping_group":
        return this.#pingGroup(words, missing);
      case "stonith":
      case "stonith_host":
        return this.#stonith(name, at, words, rest, missing);
      case "respawn":
      case "failfast":
        return this.#client(name, at, words, rest, missing);
      case "apiauth":
        return this.#apiauth(words, at);
      case "env":
        for (const word of words) this.#env(word);
        return;
      default:
        return name satisfies never;
    }
  }

  #node(word: Word): void {
    const text = word.text.toLowerCase();
    if (text.length > MAX_NAME) {
      return this.#findings.refuse(`node name longer than ${MAX_NAME} characters`, { at: word.at });
    }
    if (!/^[a-z\d][\w.-]*$/.test(text)) {
      return this.#findings.refuse(`node name '${word.text}' is not a host name`, { at: word.at });
    }
    const before = this.nodes.find((node) => node.text === text);
    if (before !== undefined) return this.#findings.warn(`node '${text}' is written twice`, word.at);
    if (this.nodes.length >= MAX_NODES) {
      return this.#findings.refuse(`more than ${MAX_NODES} nodes`, { at: word.at });
    }
    this.nodes.push({ text, at: word.at });
  }

  #portFor(kind: string): number {
    const port = this.#portOf.get(kind) ?? this.#port;
    this.#portOf.set(kind, port);
    return port;
  }

  #isInterface(word: Word): boolean {
    // IFNAMSIZ with its terminating zero byte.
    if (/^[^\s/]{1,15}$/.test(word.text)) return true;
    this.#findings.refuse(`'${word.text}' is not the name of an interface`, { at: word.at, found: word.text });
    return false;
  }

  #medium(medium: Medium): void {
    if (this.media.length >= MAX_MEDIA) this.#findings.refuse(`more than ${MAX_MEDIA} media`, { at: medium.at });
    else this.media.push(medium);
  }

  #ucast(kind: "ucast" | "ucast6", words: readonly Word[], missing: (what: string) => undefined): void {
    const [device, address] = words;
    if (device === undefined || address === undefined) return missing("the peer's address");
    if (!this.#isInterface(device)) return;
    this.#surplus(kind, words, 2);
    const isAddress = kind === "ucast" ? parseIpv4(address.text) !== undefined : isIpv6(address.text);
    // A host name is looked up by heartbeat at start; here an address is meant.
    if (!isAddress) {
      const allowed = [kind === "ucast" ? "an IPv4 address" : "an IPv6 address"];
      return this.#findings.refuse(`${kind} '${address.text}' is not an address`, { at: address.at, allowed });
    }
    const port = this.#portFor(kind);
    this.#medium({ kind, interface: device.text, address: address.text, port, at: device.at });
  }

  #mcast(kind: "mcast" | "mcast6", words: readonly Word[], missing: (what: string) => undefined): void {
    const [device, group, portWord, ttlWord, loopWord] = words;
    if (device === undefined || group === undefined || portWord === undefined) return missing("group and port");
    if (ttlWord === undefined || loopWord === undefined) return missing("ttl and loop");
    if (!this.#isInterface(device)) return;
    this.#surplus(kind, words, 5);
    const isGroup = kind === "mcast" ? isMulticastIpv4(group.text) : isIpv6(group.text) && /^ff/i.test(group.text);
    if (!isGroup) {
      const allowed = [kind === "mcast" ? "224.0.0.0..239.255.255.255" : "ff00::/8"];
      return this.#findings.refuse(`'${group.text}' is not a multicast group`, { at: group.at, allowed });
    }
    const port = this.#count("port", portWord, 1, 65535);
    const ttl = this.#count("ttl", ttlWord, 0, 4);
    const loop = this.#count("loop", loopWord, 0, 1);
    if (port === undefined || ttl === undefined || loop === undefined) return;
    this.#medium({ kind, interface: device.text, group: group.text, port, ttl, loop: loop === 1, at: device.at });
  }

  #count(what: string, word: Word, min: number, max: number): number | undefined {
    const detail = { at: word.at, found: word.text, allowed: [`${min}..${max}`] };
    return parseCount(word.text, min, max) ?? this.#findings.refuse(`${what} '${word.text}' is out of range`, detail);
  }

  #surplus(name: string, words: readonly Word[], count: number): void {
    const surplus = words[count];
    if (surplus !== undefined)
      this.#findings.warn(`'${name}' takes ${count} words: the rest has no effect`, surplus.at);
  }

  #pingNode(node: PingNode): void {
    const before = this.pingNodes.some((each) => each.name === node.name);
    if (before) return this.#findings.warn(`ping node '${node.name}' is written twice`, node.at);
    const [address = ""] = node.addresses;
    const isBad = node.kind === "ping" ? parseIpv4(address) === undefined : node.kind === "ping6" && !isIpv6(address);
    if (isBad) {
      const allowed = [node.kind === "ping" ? "an IPv4 address" : "an IPv6 address"];
      return this.#findings.refuse(`${node.kind} '${address}' is not an address`, { at: node.at, allowed });
    }
    this.pingNodes.push(node);
  }

  #pingGroup(words: readonly Word[], missing: (what: string) => undefined): void {
    const [name, ...addresses] = words;
    if (name === undefined || addresses.length === 0) return missing("addresses");
    for (const { text, at } of addresses) {
      if (parseIpv4(text) !== undefined) continue;
      return this.#findings.refuse(`ping_group '${text}' is not an address`, { at, allowed: ["an IPv4 address"] });
    }
    const texts = addresses.map((word) => word.text);
    if (this.pingNodes.some((each) => each.name === name.text)) {
      return this.#findings.refuse(`ping node '${name.text}' is written twice`, { at: name.at });
    }
    this.pingNodes.push({ kind: "ping_group", name: name.text, addresses: texts, at: name.at });
  }

  #stonith(
    name: "stonith" | "stonith_host",
    at: Position,
    words: readonly Word[],
    rest: string,
    missing: (what: string) => undefined,
  ): void {
    const [first, second, third] = words;
    if (name === "stonith_host") {
      if (first === undefined || second === undefined) return missing("a type");
      const parameters = third === undefined ? "" : restFrom(rest, words, third);
      this.stonithHosts.push({ host: first.text.toLowerCase(), type: second.text, parameters, at });
      return;
    }
    if (first === undefined || second === undefined) return missing("a configuration file");
    if (this.stonith !== undefined) {
      return this.#findings.refuse("'stonith' is written twice", { at, first: this.stonith.at });
    }
    this.stonith = { type: first.text, configFile: restFrom(rest, words, second), at };
  }

  #client(
    kind: "respawn" | "failfast",
    at: Position,
    words: readonly Word[],
    rest: string,
    missing: (what: string) => undefined,
  ): void {
    const [user, command, next] = words;
    if (user === undefined || command === undefined) return missing("a command");
    if (!command.text.startsWith("/")) {
      return this.#findings.refuse(`${kind} command '${command.text}' is not a full path`, { at: command.at });
    }
    if (!this.#hasUser(user.text)) {
      return this.#findings.refuse(`there is no user '${user.text}'`, { at: user.at, found: user.text });
    }
    const args = next === undefined ? "" : restFrom(rest, words, next);
    const program = command.text.slice(command.text.lastIndexOf("/") + 1);
    this.clients.push({ kind, user: user.text, command: command.text, args, program, at });
  }

  #apiauth(words: readonly Word[], at: Position): void {
    const [name, ...lists] = words;
    if (name === undefined) return;
    const found = { uid: undefined as string[] | undefined, gid: undefined as string[] | undefined };
    const allowed = ["uid=LIST", "gid=LIST"];
    for (const word of lists) {
      const match = /^(uid|gid)=(\S+)$/.exec(word.text);
      const which = match?.[1] as "uid" | "gid" | undefined;
      if (which === undefined) {
        return this.#findings.syntax(`apiauth '${word.text}' is no list`, { at: word.at, found: word.text, allowed });
      }
      if (found[which] !== undefined) return this.#findings.refuse(`'${which}=' is written twice`, { at: word.at });
      found[which] = (match?.[2] ?? "").split(",").filter((each) => each !== "");
    }
    if (lists.length === 0) return this.#findings.syntax(`apiauth '${name.text}' without a list`, { at, allowed });
    if (this.apiauth.has(name.text)) {
      return this.#findings.refuse(`apiauth '${name.text}' is written twice`, { at: name.at });
    }
    this.apiauth.set(name.text, { name: name.text, uid: found.uid ?? [], gid: found.gid ?? [] });
  }

  #env(word: Word): void {
    const match = /^([A-Za-z_]\w*)=(.*)$/.exec(word.text);
    if (match !== null) this.env.set(match[1] ?? "", match[2] ?? "");
    else this.#findings.warn(`env '${word.text}' is no NAME=VALUE and has no effect, as with heartbeat`, word.at);
  }
}

/** `rest` from `word` on, without trailing blanks. */
function restFrom(rest: string, words: readonly Word[], word: Word): string {
  const first = words[0];
  if (first === undefined) return "";
  const lead = rest.length - rest.trimStart().length;
  return rest.slice(lead + word.at.column - first.at.column).trimEnd();
}
