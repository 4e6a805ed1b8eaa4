/** The words of the wire as tables: message types (heartbeat §6), fields (§5), node status (§8.1). */
import { decimalOf, hexOf, type Message, textOf } from "./message.ts";

/** `fields`: what the type carries besides the envelope. Types not listed are private to somebody: sequenced, ignored. */
export const messageTypes = {
  status: { sequenced: true, fields: ["st", "dt", "protocol"] },
  NS_st: { sequenced: false, fields: ["st", "info"] },
  reqnodes: { sequenced: true, fields: [] },
  repnodes: { sequenced: true, fields: ["nodelist", "delnodelist"] },
  NS_ackmsg: { sequenced: false, fields: ["ackseq"] },
  NS_rexmit: { sequenced: false, fields: ["firstseq", "lastseq"] },
  NS_nak_rexmit: { sequenced: false, fields: ["firstseq", "info"] },
  starting: { sequenced: true, fields: [] },
  resource: { sequenced: true, fields: ["rsc_hold", "rtype", "isstable", "info"] },
  ask_resources: { sequenced: true, fields: ["rsc_hold", "info"] },
  hb_takeover: { sequenced: true, fields: ["rsc_hold"] },
  "ip-request": { sequenced: true, fields: ["ipaddr"] },
  "ip-request-resp": { sequenced: true, fields: ["ipaddr", "weown", "ok"] },
  shutdone: { sequenced: true, fields: ["st"] },
  stonith: { sequenced: true, fields: ["node", "result"] },
  num_ping_nodes: { sequenced: true, fields: ["num_ping"] },
  abort_giveup: { sequenced: true, fields: [] },
  you_are_dead: { sequenced: true, fields: [] },
  "hbapi-clstat": { sequenced: true, fields: ["st", "from_id", "to_id", "info", "client_gen"] },
  "query-cstatus": { sequenced: true, fields: ["cn", "from_id"] },
  "respond-cstatus": { sequenced: true, fields: ["result", "cn", "to_id", "cs"] },
} as const satisfies Readonly<Record<string, { readonly sequenced: boolean; readonly fields: readonly string[] }>>;

export type MessageType = keyof typeof messageTypes;

export const isMessageType = (word: string): word is MessageType => Object.hasOwn(messageTypes, word);

/** `NS_` types carry no sequence number (heartbeat §5). */
export const isSequenced = (type: string): boolean => !type.startsWith("NS_");

/** How the text of a field is to be read; `uuid` is binary, 16 bytes. */
export const fieldFormats = {
  t: "word",
  st: "word",
  dt: "hex",
  protocol: "decimal",
  src: "word",
  srcuuid: "uuid",
  dest: "word",
  destuuid: "uuid",
  seq: "hex",
  hg: "hex",
  ts: "hex",
  ld: "text",
  ttl: "decimal",
  auth: "text",
  rsc_hold: "word",
  rtype: "word",
  isstable: "word",
  info: "text",
  firstseq: "text",
  lastseq: "decimal",
  ackseq: "hex",
  ipaddr: "text",
  weown: "word",
  ok: "word",
  node: "word",
  result: "word",
  nodelist: "text",
  delnodelist: "text",
  num_ping: "decimal",
  cn: "text",
  cs: "word",
  from_id: "text",
  to_id: "text",
  client_gen: "decimal",
} as const satisfies Readonly<Record<string, "word" | "text" | "hex" | "decimal" | "uuid">>;

/** What a node says of itself; `dead` is said by nobody but concluded, except in `shutdone` (heartbeat §8.1). */
export type NodeStatus = "init" | "up" | "active" | "dead" | "ping";

/** Resources from the point of view of the node that speaks (heartbeat §5). */
export const holdings = ["none", "local", "foreign", "all"] as const;
export type Holdings = (typeof holdings)[number];

export const isHoldings = (word: string | undefined): word is Holdings =>
  word !== undefined && (holdings as readonly string[]).includes(word);

/** What every receiver needs of a message before anything else. */
export interface Envelope {
  readonly type: string;
  readonly src: string;
  readonly dest: string | undefined;
  /** Undefined for `NS_` types. */
  readonly seq: number | undefined;
  /** Undefined for the echoes of ping nodes. */
  readonly generation: number | undefined;
}

/** The envelope, or why the message is dropped (heartbeat §5, last line). Names are lower case. */
export function envelopeOf(message: Message): Envelope | { readonly violation: string } {
  const type = textOf(message, "t");
  if (type === undefined || type === "") return { violation: "t: the field is missing" };
  const src = textOf(message, "src")?.toLowerCase();
  if (src === undefined || src === "") return { violation: `${type}: src: the field is missing` };
  const ts = hexOf(message, "ts");
  if (ts === undefined || ts === 0) return { violation: `${type} from ${src}: ts: expected hex, not zero` };
  const seq = hexOf(message, "seq");
  const generation = hexOf(message, "hg");
  if (isSequenced(type)) {
    if (seq === undefined || seq === 0) return { violation: `${type} from ${src}: seq: expected hex from 1` };
    if (generation === undefined) return { violation: `${type} from ${src}: hg: expected hex` };
  }
  return { type, src, dest: textOf(message, "dest")?.toLowerCase(), seq, generation };
}

/** The range an NS_rexmit asks for: decimal, unlike all other sequence numbers (heartbeat §7.3). */
export function rexmitRange(message: Message): { readonly first: number; readonly last: number } | undefined {
  const first = decimalOf(message, "firstseq");
  const last = decimalOf(message, "lastseq");
  return first === undefined || last === undefined || last < first ? undefined : { first, last };
}
