/** The packets of a capture, framed with the headers and size checks under test; and the lines of its independent decode. */
import { readdirSync, readFileSync } from "node:fs";
import { agree, NOT_AGREED, ownOffer } from "../../../../src/core/wire/agreement.ts";
import { emptyHeader, headerBytes, parseHeader } from "../../../../src/core/wire/header.ts";
import { connectionFeatures, protocolHead } from "../../../../src/core/wire/heads.ts";
import { readText } from "../../../../src/core/wire/layout.ts";
import {
  checkPacket,
  findPacket,
  type PacketRow,
  packets,
  type StreamKind,
} from "../../../../src/core/wire/packets.ts";
import { readPcap } from "./pcap.ts";

export const vectors = new URL("../../../vectors/drbd84/", import.meta.url).pathname;

export interface CapturedPacket {
  /** Names file and stream offset, for failure texts. */
  readonly where: string;
  readonly offset: number;
  /** What header and head are written with: NOT_AGREED before the agreement. */
  readonly apv: number;
  readonly features: number;
  readonly digestBytes: number;
  readonly row: PacketRow;
  readonly volume: number;
  /** Header and payload. */
  readonly raw: DataView;
  readonly headerBytes: number;
}

/** The packets one side sent over one connection, in order. */
export type CapturedFlow = readonly CapturedPacket[];

/** `wire/01-connect-full-sync.pcap.gz` … */
export function captureNames(): string[] {
  const inFolder = (folder: string) => readdirSync(vectors + folder).map((name) => `${folder}/${name}`);
  return [...inFolder("wire"), ...inFolder("peer")].filter((name) => /\.pcap(\.gz)?$/.test(name));
}

const digestSizes: Readonly<Record<string, number>> = { "": 0, md5: 16, sha1: 20, crc32c: 4 };
/** These two were captured from established connections, without the P_PROTOCOL that says so. */
const establishedDigests: Readonly<Record<string, number>> = { "wire/16-data-integrity-crc32c.pcap": 4 };

interface Context {
  apv: number;
  features: number;
  digestBytes: number;
}

/** Throws with the violation if anything in the capture is refused. */
export function readCapture(name: string): CapturedFlow[] {
  const connections = readPcap(vectors + name);
  const context = agreedIn(
    name,
    connections.flatMap(({ flows }) => flows.map(({ bytes }) => bytes)),
  );
  const all: CapturedFlow[] = [];
  for (const { flows } of connections) {
    const opener = flows.find((flow) => flow.opener);
    const first = opener?.bytes.length === undefined || opener.bytes.length < 8 ? 0 : opener.bytes.readUInt16BE(4);
    for (const flow of flows) {
      const early = !flow.fromStart || (first === packets.P_INITIAL_META.code && !flow.opener) ? 0 : 1;
      all.push(frame(name, flow.bytes, early === 1, context));
    }
  }
  return all.filter((flow) => flow.length > 0);
}

/** Version and features by §3.2 from the offers in the capture; 101 and 0xf where it holds none. */
function agreedIn(name: string, streams: readonly Buffer[]): Context {
  let agreed = ownOffer;
  for (const bytes of streams) {
    for (const at of [0, 8]) {
      if (bytes.length < at + 80 || bytes.readUInt16BE(at + 4) !== packets.P_CONNECTION_FEATURES.code) continue;
      const offer = connectionFeatures.decode(viewOf(bytes), at + 8);
      const peer = { min: offer.protocolMin, max: offer.protocolMax, features: offer.featureFlags };
      const agreement = agree(agreed, peer);
      if (!agreement.agreed) throw new Error(agreement.text);
      agreed = { min: agreed.min, max: agreement.apv, features: agreement.features };
    }
  }
  return { apv: agreed.max, features: agreed.features, digestBytes: establishedDigests[name] ?? 0 };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** `early`: starts before the agreement. */
function frame(name: string, bytes: Buffer, early: boolean, agreed: Context): CapturedPacket[] {
  const found: CapturedPacket[] = [];
  const header = emptyHeader();
  let { digestBytes } = agreed;
  let apv = early ? NOT_AGREED : agreed.apv;
  let stream: StreamKind | undefined;
  for (let at = 0; at + headerBytes(apv) <= bytes.length; ) {
    const where = `${name} @${at}`;
    const violation = parseHeader(viewOf(bytes), at, apv, header);
    const row = findPacket(header.command);
    if (violation !== undefined || row === undefined) throw new Error(`${where}: ${violation ?? header.command}`);
    if (row.stream !== "both" && row.stream !== "none") stream ??= row.stream;
    const refusal = checkPacket(header.command, header.length, stream ?? "data", apv || agreed.apv, agreed.features);
    if (refusal !== undefined) throw new Error(`${where}: ${refusal}`);
    const end = at + headerBytes(apv) + header.length;
    if (end > bytes.length) break;
    const raw = viewOf(bytes.subarray(at, end));
    if (row.name === "P_PROTOCOL" || row.name === "P_PROTOCOL_UPDATE") {
      const text = headerBytes(apv) + protocolHead.bytes;
      const size = digestSizes[readText(raw, text, raw.byteLength - text)];
      if (size === undefined) throw new Error(`${where}: unknown integrity algorithm`);
      digestBytes = size;
    }
    found.push({
      ...{ where, offset: at, apv, features: agreed.features, digestBytes, row },
      ...{ volume: header.volume, raw, headerBytes: headerBytes(apv) },
    });
    if (row.name !== "P_INITIAL_DATA") apv = agreed.apv;
    at = end;
  }
  return found;
}

/** One line of a `.txt` decode. */
export interface DecodedLine {
  /** Connection and sender: packets with the same one came over the same flow. */
  readonly flow: string;
  readonly offset: number;
  readonly header: number;
  readonly volume: number;
  readonly command: string;
  readonly length: number;
  readonly fields: string;
}

const linePattern = /^\s*\d+\s+[\d.]+ (c\d+)\/\S+\s+(\S+?)\s*> @(\d+)\s+h(\d+)\s+v(\d+) (\S+)\s+len=(\d+)\s*(.*?)\s*$/;

/** The packets of a capture's independent decode; connection events are left out. */
export function readDecode(name: string): DecodedLine[] {
  const lines: DecodedLine[] = [];
  const path = vectors + name.replace(/\.pcap(\.gz)?$/, ".txt");
  for (const line of readFileSync(path, "utf8").split("\n")) {
    if (line === "" || line.includes(" -- TCP ")) continue;
    const match = linePattern.exec(line);
    if (match === null) throw new Error(`${path}: ${line}`);
    const [, connection, sender, offset, header, volume, command, length, fields = ""] = match;
    lines.push({
      ...{ flow: `${connection} ${sender}`, offset: Number(offset), header: Number(header), volume: Number(volume) },
      ...{ command: `P_${command}`, length: Number(length), fields },
    });
  }
  return lines;
}
