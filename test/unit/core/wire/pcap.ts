/** Just enough pcap and TCP to get byte streams out of the captures: little-endian pcap, Ethernet, IPv4. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** One direction of a TCP connection, as far as it was captured without a gap. */
export interface Flow {
  readonly bytes: Buffer;
  /** Capture holds the beginning of the connection. */
  readonly fromStart: boolean;
  /** This side opened the connection. */
  readonly opener: boolean;
}

/** The two directions of one TCP connection, in the order they first spoke. */
export interface Connection {
  readonly flows: readonly Flow[];
}

interface Segment {
  readonly source: string;
  readonly target: string;
  readonly seq: number;
  readonly syn: boolean;
  readonly ack: boolean;
  readonly payload: Buffer;
}

const ETHERNET_BYTES = 14;
const LINKTYPE_ETHERNET = 1;
const PCAP_MAGIC = 0xa1b2c3d4;

export function readPcap(path: string): Connection[] {
  const raw = readFileSync(path);
  const file = path.endsWith(".gz") ? gunzipSync(raw) : raw;
  if (file.readUInt32LE(0) !== PCAP_MAGIC) throw new Error(`${path}: no little-endian pcap`);
  if (file.readUInt32LE(20) !== LINKTYPE_ETHERNET) throw new Error(`${path}: no Ethernet`);
  const streams = new Streams();
  for (let at = 24; at + 16 <= file.length; ) {
    const captured = file.readUInt32LE(at + 8);
    const segment = readSegment(file.subarray(at + 16, at + 16 + captured));
    if (segment !== undefined) streams.add(segment);
    at += 16 + captured;
  }
  return streams.connections();
}

function readSegment(frame: Buffer): Segment | undefined {
  const ip = frame.subarray(ETHERNET_BYTES);
  if (frame.readUInt16BE(12) !== 0x0800 || ip[9] !== 6) return undefined;
  const tcp = ip.subarray(4 * (ip.readUInt8(0) & 0x0f), ip.readUInt16BE(2));
  const flags = tcp.readUInt8(13);
  return {
    source: `${ip.readUInt32BE(12)}:${tcp.readUInt16BE(0)}`,
    target: `${ip.readUInt32BE(16)}:${tcp.readUInt16BE(2)}`,
    seq: tcp.readUInt32BE(4),
    syn: (flags & 0x02) !== 0,
    ack: (flags & 0x10) !== 0,
    payload: tcp.subarray(4 * (tcp.readUInt8(12) >>> 4)),
  };
}

/** Puts the segments of one direction in order; what comes twice counts once. */
class Direction {
  readonly source: string;
  #start: number | undefined;
  fromStart = false;
  opener = false;
  readonly #waiting: { readonly at: number; readonly payload: Buffer }[] = [];

  constructor(source: string) {
    this.source = source;
  }

  add(segment: Segment): void {
    if (segment.syn) {
      this.#start = (segment.seq + 1) >>> 0;
      this.fromStart = true;
      this.opener = !segment.ack;
    }
    if (segment.payload.length === 0) return;
    this.#start ??= segment.seq;
    this.#waiting.push({ at: (segment.seq - this.#start) | 0, payload: segment.payload });
  }

  flow(): Flow {
    const pieces: Buffer[] = [];
    let length = 0;
    for (const { at, payload } of this.#waiting.toSorted((one, other) => one.at - other.at)) {
      if (at > length) break;
      const fresh = payload.subarray(length - at);
      pieces.push(fresh);
      length += fresh.length;
    }
    return { bytes: Buffer.concat(pieces), fromStart: this.fromStart, opener: this.opener };
  }
}

class Streams {
  readonly #all: [Direction, Direction][] = [];
  readonly #open = new Map<string, [Direction, Direction]>();

  add(segment: Segment): void {
    const key = [segment.source, segment.target].toSorted().join(" ");
    let pair = this.#open.get(key);
    const reopened = segment.syn && !segment.ack && pair?.some((direction) => direction.fromStart);
    if (pair === undefined || reopened) {
      pair = [new Direction(segment.source), new Direction(segment.target)];
      this.#open.set(key, pair);
      this.#all.push(pair);
    }
    pair.find(({ source }) => source === segment.source)?.add(segment);
  }

  connections(): Connection[] {
    return this.#all.map((pair) => ({ flows: pair.map((direction) => direction.flow()) }));
  }
}
