/**
 * Every packet of DRBD 8.4 (drbd-84 §2.3): one row is the whole truth about a packet; size checks, names, trace, fuzz and
 * round-trip tests derive from it.
 *
 *   data     one of the two sockets: everything in order with the writes        control   the other one ("meta"): acks and pings
 */
import {
  features,
  MAX_ALG_NAME_BYTES,
  MAX_BIO_BYTES,
  MAX_DIGEST_BYTES,
  SOCKET_BUFFER_BYTES,
  since,
} from "./agreement.ts";
import {
  barrierAck,
  barrierHead,
  blockAck,
  blockDesc,
  blockRequest,
  connectionFeatures,
  dataHead,
  delayProbe,
  noHead,
  protocolHead,
  sizesHead,
  sizesWithLimits,
  stateHead,
  stateReply,
  stateRequest,
  syncParam,
  syncParam89,
  syncParam95,
  syncUuid,
  trimHead,
  uuidsHead,
} from "./heads.ts";
import type { AnyLayout } from "./layout.ts";

export type StreamKind = "data" | "control";

/**
 * What follows the head. `min` and `max` bound its length in bytes before memory is taken; with `inBuffer`, packet and header
 * together stay within the 4096-byte socket buffer and `max` is the rest.
 */
export interface Tail {
  readonly what: "nothing" | "data" | "digest" | "text" | "challenge" | "response" | "bitmap" | "code";
  readonly min: number;
  readonly max: number;
  readonly inBuffer?: boolean;
}

const nothing: Tail = { what: "nothing", min: 0, max: 0 };
/** [digest] data. The kernel's own bound, 1 MiB at every version, and room for a digest. */
const data: Tail = { what: "data", min: 0, max: MAX_BIO_BYTES + MAX_DIGEST_BYTES };
const digest: Tail = { what: "digest", min: 1, max: MAX_DIGEST_BYTES };
const algName: Tail = { what: "text", min: 1, max: MAX_ALG_NAME_BYTES };
/** Lengths outside are fatal on their own terms (`auth.ts`). */
const challenge: Tail = { what: "challenge", min: 64, max: 128 };
const response: Tail = { what: "response", min: 1, max: MAX_DIGEST_BYTES };
const bitmap: Tail = { what: "bitmap", min: 0, max: SOCKET_BUFFER_BYTES, inBuffer: true };
const code: Tail = { what: "code", min: 2, max: SOCKET_BUFFER_BYTES, inBuffer: true };

/** Head and tail of a packet for versions up to `until` and for connections with all features of `needs`. */
export interface Form {
  readonly until: number;
  readonly needs: number;
  readonly head: AnyLayout;
  readonly tail: Tail;
}

export interface PacketRow {
  readonly name: string;
  readonly code: number;
  /** `none`: a number that 8.4 knows and never handles. */
  readonly stream: StreamKind | "both" | "none";
  /** A connection's packet carries volume 0 in its header. */
  readonly scope: "volume" | "connection";
  /** The first that fits counts; the last one fits always. */
  readonly forms: readonly [Form, ...Form[]];
}

interface Row {
  readonly code: number;
  readonly stream: PacketRow["stream"];
  readonly scope?: "connection";
  readonly head?: AnyLayout;
  readonly tail?: Tail;
  readonly forms?: readonly [Form, ...Form[]];
}

const always = (head: AnyLayout, tail: Tail): Form => ({ until: Number.POSITIVE_INFINITY, needs: 0, head, tail });
const until = (apv: number, head: AnyLayout, tail: Tail): Form => ({ until: apv, needs: 0, head, tail });
const withFeature = (needs: number, head: AnyLayout, tail: Tail): Form => ({ ...always(head, tail), needs });

const protocolForms = [
  until(since.integrityAlg - 1, protocolHead, nothing),
  always(protocolHead, algName),
] as const satisfies readonly Form[];
/** Both numbers are judged by the agreed version alone, as 8.4 does. */
const syncParamForms = [
  until(since.verifyAlg - 1, syncParam, nothing),
  until(since.syncParam89 - 1, syncParam, algName),
  until(since.controllerParams - 1, syncParam89, nothing),
  always(syncParam95, nothing),
] as const satisfies readonly Form[];

const table = {
  P_DATA: { code: 0x00, stream: "data", head: dataHead, tail: data },
  P_DATA_REPLY: { code: 0x01, stream: "data", head: dataHead, tail: data },
  P_RS_DATA_REPLY: { code: 0x02, stream: "data", head: dataHead, tail: data },
  P_BARRIER: { code: 0x03, stream: "data", head: barrierHead, scope: "connection" },
  P_BITMAP: { code: 0x04, stream: "data", tail: bitmap },
  P_BECOME_SYNC_TARGET: { code: 0x05, stream: "none" },
  P_BECOME_SYNC_SOURCE: { code: 0x06, stream: "none" },
  P_UNPLUG_REMOTE: { code: 0x07, stream: "data" },
  P_DATA_REQUEST: { code: 0x08, stream: "data", head: blockRequest },
  P_RS_DATA_REQUEST: { code: 0x09, stream: "data", head: blockRequest },
  P_SYNC_PARAM: { code: 0x0a, stream: "data", forms: syncParamForms },
  P_PROTOCOL: { code: 0x0b, stream: "data", forms: protocolForms, scope: "connection" },
  P_UUIDS: { code: 0x0c, stream: "data", head: uuidsHead },
  P_SIZES: {
    code: 0x0d,
    stream: "data",
    forms: [withFeature(features.WSAME, sizesWithLimits, nothing), always(sizesHead, nothing)],
  },
  P_STATE: { code: 0x0e, stream: "data", head: stateHead },
  P_SYNC_UUID: { code: 0x0f, stream: "data", head: syncUuid },
  P_AUTH_CHALLENGE: { code: 0x10, stream: "data", tail: challenge, scope: "connection" },
  P_AUTH_RESPONSE: { code: 0x11, stream: "data", tail: response, scope: "connection" },
  P_STATE_CHG_REQ: { code: 0x12, stream: "data", head: stateRequest },
  P_PING: { code: 0x13, stream: "control", scope: "connection" },
  P_PING_ACK: { code: 0x14, stream: "control", scope: "connection" },
  P_RECV_ACK: { code: 0x15, stream: "control", head: blockAck },
  P_WRITE_ACK: { code: 0x16, stream: "control", head: blockAck },
  P_RS_WRITE_ACK: { code: 0x17, stream: "control", head: blockAck },
  P_SUPERSEDED: { code: 0x18, stream: "control", head: blockAck },
  P_NEG_ACK: { code: 0x19, stream: "control", head: blockAck },
  P_NEG_DREPLY: { code: 0x1a, stream: "control", head: blockAck },
  P_NEG_RS_DREPLY: { code: 0x1b, stream: "control", head: blockAck },
  P_BARRIER_ACK: { code: 0x1c, stream: "control", head: barrierAck, scope: "connection" },
  P_STATE_CHG_REPLY: { code: 0x1d, stream: "control", head: stateReply },
  P_OV_REQUEST: { code: 0x1e, stream: "data", head: blockRequest },
  P_OV_REPLY: { code: 0x1f, stream: "data", head: blockRequest, tail: digest },
  P_OV_RESULT: { code: 0x20, stream: "control", head: blockAck },
  P_CSUM_RS_REQUEST: { code: 0x21, stream: "data", head: blockRequest, tail: digest },
  P_RS_IS_IN_SYNC: { code: 0x22, stream: "control", head: blockAck },
  P_SYNC_PARAM89: { code: 0x23, stream: "data", forms: syncParamForms },
  P_COMPRESSED_BITMAP: { code: 0x24, stream: "data", tail: code },
  P_DELAY_PROBE: { code: 0x27, stream: "both", head: delayProbe },
  P_OUT_OF_SYNC: { code: 0x28, stream: "data", head: blockDesc },
  P_RS_CANCEL: { code: 0x29, stream: "control", head: blockAck },
  P_CONN_ST_CHG_REQ: { code: 0x2a, stream: "data", head: stateRequest, scope: "connection" },
  P_CONN_ST_CHG_REPLY: { code: 0x2b, stream: "control", head: stateReply, scope: "connection" },
  P_RETRY_WRITE: { code: 0x2c, stream: "control", head: blockAck },
  P_PROTOCOL_UPDATE: { code: 0x2d, stream: "data", forms: protocolForms, scope: "connection" },
  P_TRIM: { code: 0x31, stream: "data", head: trimHead },
  P_RS_THIN_REQ: { code: 0x32, stream: "data", head: blockRequest },
  P_RS_DEALLOCATED: { code: 0x33, stream: "data", head: blockDesc },
  P_WSAME: { code: 0x34, stream: "data", head: trimHead, tail: data },
  P_ZEROES: { code: 0x36, stream: "data", head: trimHead },
  P_INITIAL_META: { code: 0xfff1, stream: "control", scope: "connection" },
  P_INITIAL_DATA: { code: 0xfff2, stream: "data", scope: "connection" },
  P_CONNECTION_FEATURES: { code: 0xfffe, stream: "data", head: connectionFeatures, scope: "connection" },
} as const satisfies Record<string, Row>;

export type PacketName = keyof typeof table;

function completed(name: string, row: Row): PacketRow {
  const { code: number, stream, scope = "volume" } = row;
  const forms: readonly [Form, ...Form[]] = row.forms ?? [always(row.head ?? noHead, row.tail ?? nothing)];
  return { name, code: number, stream, scope, forms };
}

/** Every packet by name. */
export const packets = Object.fromEntries(
  Object.entries(table).map(([name, row]) => [name, completed(name, row)]),
) as unknown as { readonly [Name in PacketName]: PacketRow & { readonly code: (typeof table)[Name]["code"] } };

const byCode = new Map<number, PacketRow>();
for (const row of Object.values(packets)) byCode.set(row.code, row);

/** The row of a command number; undefined for a number 8.4 does not know, which is fatal on either stream (drbd-84 §2.3). */
export function findPacket(command: number): PacketRow | undefined {
  return byCode.get(command);
}

/** `P_DATA`, or `0x0105` for an unknown number. */
export function packetName(command: number): string {
  return byCode.get(command)?.name ?? `0x${command.toString(16).padStart(4, "0")}`;
}

/** Head and tail of a packet on a connection of this version and these features. */
export function formOf(row: PacketRow, apv: number, agreedFeatures: number): Form {
  for (const form of row.forms) {
    if (apv <= form.until && (agreedFeatures & form.needs) === form.needs) return form;
  }
  return row.forms[0];
}

/** Bytes of a packet header after version negotiation (drbd-84 §2.1). */
export function headerBytes(apv: number): 8 | 16 {
  return apv >= since.header100 ? 16 : 8;
}

/** Bytes of payload that fit into the socket buffer beside a header: 4080 or 4088 (drbd-84 §6.2). */
export function bufferPayloadBytes(apv: number): number {
  return SOCKET_BUFFER_BYTES - headerBytes(apv);
}

/**
 * Judges a packet's length, the bytes after its header, before any memory is taken for it. Returns the violation, or undefined.
 * Stricter than 8.4 in one thing: a text or digest is bounded here, not by its handler.
 */
export function checkSize(row: PacketRow, length: number, apv: number, agreedFeatures: number): string | undefined {
  const { head, tail } = formOf(row, apv, agreedFeatures);
  const min = head.bytes + tail.min;
  const max = head.bytes + (tail.inBuffer === true ? bufferPayloadBytes(apv) : tail.max);
  if (length >= min && length <= max) return undefined;
  const expected = min === max ? String(min) : `${min}..${max}`;
  return `${row.name}: unexpected packet size, expected:${expected} received:${length}`;
}

/**
 * Judges a received header before its payload is read: known number, right stream, bounded length (drbd-84 §2.2). Returns the
 * violation, or undefined.
 */
export function checkPacket(
  command: number,
  length: number,
  stream: StreamKind,
  apv: number,
  agreedFeatures: number,
): string | undefined {
  const row = byCode.get(command);
  if (row === undefined) return `unexpected packet ${packetName(command)} on the ${stream} stream, length ${length}`;
  if (row.stream !== stream && row.stream !== "both") {
    return `${row.name}: unexpected packet on the ${stream} stream, expected:${row.stream}`;
  }
  return checkSize(row, length, apv, agreedFeatures);
}

/**
 * Bytes of data in a P_DATA, P_DATA_REPLY or P_RS_DATA_REPLY of `length`, or the violation: no data, no whole sectors, more than
 * 1 MiB. `digestBytes`: size of the data-integrity digest, 0 for none (drbd-84 §8.5). P_WSAME: pass its length less 4.
 */
export function dataBytes(name: string, length: number, digestBytes: number): number | string {
  const size = length - dataHead.bytes - digestBytes;
  if (size >= 512 && size <= MAX_BIO_BYTES && size % 512 === 0) return size;
  return `${name}: data size expected:512..${MAX_BIO_BYTES} in whole sectors received:${size} (digest ${digestBytes})`;
}
