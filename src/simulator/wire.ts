/** Listens on the simulated network: finds the packets in the streams, for the trace and for the oracle of the resync. */
import { NOT_AGREED, since } from "../core/wire/agreement.ts";
import { emptyHeader, headerBytes, parseHeader } from "../core/wire/header.ts";
import { blockRequest } from "../core/wire/heads.ts";
import { findPacket, packets } from "../core/wire/packets.ts";
import { tracePacket } from "../core/wire/trace.ts";
import type { Cluster } from "./cluster.ts";
import type { Wiretap } from "./network.ts";
import { addressOf, nameOf } from "./settings.ts";
import type { SimStream } from "./stream.ts";

/** Enough for every head, and for the bitmaps in between. */
const KEEP = 4096;
const MAGIC_100 = 0x8620ec20;
const FEATURES = 0xf;

interface Listening {
  /** Start of the packet that is arriving. */
  readonly bytes: Uint8Array;
  have: number;
  /** Bytes that belong to it and were not kept. */
  skip: number;
}

export class Wire implements Wiretap {
  readonly #cluster: Cluster;
  readonly #streams = new WeakMap<SimStream, Listening>();
  readonly #header = emptyHeader();
  /** Called for each packet: its command, and the number of its connection. */
  onPacket: (command: number, connection: number) => void = () => undefined;
  /** Called for each P_RS_DATA_REQUEST: who asked for which bytes. */
  onResyncRequest: (from: string, at: number, length: number) => void = () => undefined;
  /** For tests of the oracles: changes what travels. */
  spoil: ((bytes: Uint8Array, from: SimStream) => Uint8Array) | undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  sent(from: SimStream, bytes: Uint8Array): Uint8Array {
    let listening = this.#streams.get(from);
    if (listening === undefined) {
      listening = { bytes: new Uint8Array(KEEP), have: 0, skip: 0 };
      this.#streams.set(from, listening);
    }
    for (let at = 0; at < bytes.length; ) at += this.#take(from, listening, bytes, at);
    return this.spoil?.(bytes, from) ?? bytes;
  }

  /** Returns how many bytes it took: up to the end of what is known to belong to one packet. */
  #take(from: SimStream, l: Listening, bytes: Uint8Array, at: number): number {
    const left = bytes.length - at;
    if (l.skip > 0) {
      const count = Math.min(l.skip, left);
      l.skip -= count;
      return count;
    }
    const wanted = this.#wanted(l);
    const count = Math.min(wanted - l.have, left);
    l.bytes.set(bytes.subarray(at, at + count), l.have);
    l.have += count;
    if (l.have === wanted && this.#wanted(l) === wanted) this.#packet(from, l);
    return count;
  }

  #wanted(l: Listening): number {
    if (l.have < 8) return 8;
    const view = new DataView(l.bytes.buffer);
    const apv = view.getUint32(0) === MAGIC_100 ? since.header100 : NOT_AGREED;
    const header = headerBytes(apv);
    if (l.have < header) return header;
    if (parseHeader(view, 0, apv, this.#header) !== undefined) return header;
    return Math.min(KEEP, header + this.#header.length);
  }

  #packet(from: SimStream, l: Listening): void {
    const view = new DataView(l.bytes.buffer);
    const apv = view.getUint32(0) === MAGIC_100 ? since.header100 : NOT_AGREED;
    const at = headerBytes(apv);
    const who = from.from === addressOf(0) ? nameOf(0) : nameOf(1);
    const violation = parseHeader(view, 0, apv, this.#header);
    l.skip = Math.max(0, at + this.#header.length - l.have);
    const available = l.have - at;
    l.have = 0;
    const { journal } = this.#cluster;
    if (violation !== undefined) {
      l.skip = Number.POSITIVE_INFINITY;
      return journal.say(who, "wire", violation);
    }
    const { command } = this.#header;
    this.onPacket(command, from.connection);
    if (command === packets.P_RS_DATA_REQUEST.code) {
      const { sector, blksize } = blockRequest.decode(view, at);
      this.onResyncRequest(who, Number(sector) * 512, blksize);
    }
    if (!journal.isRead) return;
    const context = { apv: apv === NOT_AGREED ? NOT_AGREED : 101, features: FEATURES, digestBytes: 0 };
    const stream = findPacket(command)?.stream === "control" ? "meta" : "data";
    journal.say(
      who,
      "wire",
      `#${from.connection} ${stream} ${tracePacket(this.#header, view, at, available, context)}`,
    );
  }
}
