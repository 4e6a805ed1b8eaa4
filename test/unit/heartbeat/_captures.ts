/** The captures of test/vectors/heartbeat, packet by packet, and the keys they are signed with. */
import { readdirSync, readFileSync } from "node:fs";
import { systemCompression } from "../../../src/heartbeat/compression.ts";
import type { AuthKeys, AuthMethod } from "../../../src/heartbeat/core/wire/authentication.ts";
import type { PacketContext } from "../../../src/heartbeat/core/wire/packet.ts";
import { SystemDigests } from "../../../src/node/digests.ts";

const folder = new URL("../../vectors/heartbeat/", import.meta.url);

export const captureNames = readdirSync(folder).filter((name) => name.endsWith(".pcap"));

export interface CapturedPacket {
  readonly carrier: "udp" | "icmp-echo-request" | "icmp-echo-reply";
  /** Seconds since the first packet of the file. */
  readonly at: number;
  readonly from: string;
  readonly payload: Uint8Array;
}

const ETHERNET = 14;
const UDP = 17;
const ICMP = 1;

function parseFrame(frame: Buffer, at: number): CapturedPacket | undefined {
  if (frame.readUInt16BE(12) !== 0x0800) return undefined;
  const ip = frame.subarray(ETHERNET);
  const header = (ip.readUInt8(0) & 15) * 4;
  const body = ip.subarray(header, ip.readUInt16BE(2));
  const from = [...ip.subarray(12, 16)].join(".");
  const protocol = ip.readUInt8(9);
  if (protocol === UDP) return { carrier: "udp", at, from, payload: body.subarray(8, body.readUInt16BE(4)) };
  const type = body.readUInt8(0);
  if (protocol !== ICMP || (type !== 8 && type !== 0)) return undefined;
  return { carrier: type === 8 ? "icmp-echo-request" : "icmp-echo-reply", at, from, payload: body.subarray(8) };
}

/** All UDP and ICMP echo packets of a capture (classic pcap, little endian, microseconds, Ethernet). */
export function capturedPackets(name: string): readonly CapturedPacket[] {
  const file = readFileSync(new URL(name, folder));
  if (file.readUInt32LE(0) !== 0xa1b2c3d4 || file.readUInt32LE(20) !== 1)
    throw new Error(`${name}: not this kind of pcap`);
  const packets: CapturedPacket[] = [];
  let first: number | undefined;
  for (let at = 24; at < file.length; ) {
    const time = file.readUInt32LE(at) + file.readUInt32LE(at + 4) / 1e6;
    const length = file.readUInt32LE(at + 8);
    if (length !== file.readUInt32LE(at + 12)) throw new Error(`${name}: a packet was not captured whole`);
    first ??= time;
    const packet = parseFrame(file.subarray(at + 16, at + 16 + length), time - first);
    if (packet !== undefined) packets.push(packet);
    at += 16 + length;
  }
  return packets;
}

/** test/vectors/heartbeat/authkeys.all. */
export const labKeys = (current: number): AuthKeys => ({
  current,
  entries: new Map([
    [1, { method: "crc", key: "" }],
    [2, { method: "md5", key: "LabSharedKey" }],
    [3, { method: "sha1", key: "LabSharedKey" }],
  ]),
});

export const digests = new SystemDigests();

export const contextFor = (keys: AuthKeys): PacketContext => ({ keys, digests, compression: systemCompression });

export interface KnownAnswer {
  readonly source: string;
  readonly form: "netstring" | "classic";
  readonly method: AuthMethod;
  readonly key: string;
  readonly authnum: number;
  readonly packet_hex: string;
  readonly fields: readonly {
    readonly type: number;
    readonly name: string;
    readonly value?: string;
    readonly hex?: string;
  }[];
  readonly trailer_signed_bytes?: number;
  readonly trailer?: string;
  readonly inner_signed_text_base64?: string;
  readonly inner?: string;
}

export const knownAnswers = JSON.parse(
  readFileSync(new URL("known-answers.json", folder), "utf8"),
) as readonly KnownAnswer[];
