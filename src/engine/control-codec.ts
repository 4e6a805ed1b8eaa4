/**
 * Requests and replies of the control interface as bytes: `proto/control.proto`, each message preceded by its length as a
 * varint. Both sides use this file; nothing here knows a socket.
 */
import protobuf from "protobufjs/light.js";
import {
  type ConnectionName,
  connectionNames,
  type DiskName,
  diskNames,
  type ResourceStatus,
  type RoleName,
  roleNames,
  type SyncProgress,
  type VolumeStatus,
} from "../core/status.ts";
import { bytes } from "../core/units.ts";
import { controlDescriptor } from "./control-descriptor.ts";
import type { ControlReply, ControlRequest, WaitResult } from "./control-interface.ts";

/** The longest message either side accepts. */
export const MAX_FRAME_BYTES = 1024 * 1024;

/** A message that cannot be understood: says what was expected and what came. */
export interface Violation {
  readonly violation: string;
}

/** A request that is well formed, but not one this engine can carry out as meant. */
export interface UnknownRequest {
  readonly id: number;
  readonly unknown: string;
}

const root = protobuf.Root.fromJSON(controlDescriptor as protobuf.INamespace);
const requestType = root.lookupType("futago.control.Request");
const replyType = root.lookupType("futago.control.Reply");
const plain: protobuf.IConversionOptions = { longs: Number, defaults: true, arrays: true, oneofs: true };

type Fields = Readonly<Record<string, unknown>>;

/** The bytes of one request, length first. `id` comes back in every reply to it. */
export function encodeRequest(id: number, request: ControlRequest): Uint8Array {
  const { verb, ...fields } = request;
  return requestType.encodeDelimited(requestType.fromObject({ id, [verb]: fields })).finish();
}

/** Numbers of the fields that this version does not know, kept by the decoder as raw bytes that begin with the tag. */
function unknownFields(message: object): number[] {
  const raw = (message as { $unknowns?: readonly Uint8Array[] }).$unknowns ?? [];
  return raw.map((field) => Math.floor(protobuf.Reader.create(field).uint32() / 8));
}

function decode(type: protobuf.Type, message: Uint8Array): protobuf.Message | Violation {
  const reader = protobuf.Reader.create(message);
  reader.discardUnknown = false;
  try {
    return type.decode(reader);
  } catch (error) {
    return { violation: `${type.name}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Reads one request. An unknown request, or an unknown field of a known one, is refused rather than half understood. */
export function decodeRequest(
  message: Uint8Array,
): { readonly id: number; readonly request: ControlRequest } | UnknownRequest | Violation {
  const decoded = decode(requestType, message);
  if ("violation" in decoded) return decoded;
  const { id, command, ...rest } = requestType.toObject(decoded, plain);
  const strange = unknownFields(decoded);
  if (typeof command !== "string") {
    const what = strange.length > 0 ? `request number ${strange.join(", ")} is not known` : "the request is empty";
    return { id, unknown: what };
  }
  const body = (decoded as unknown as Record<string, object>)[command] ?? {};
  const fields = [...strange.map(String), ...unknownFields(body).map((field) => `${command}.${field}`)];
  if (fields.length > 0) return { id, unknown: `field ${fields.join(", ")} of request "${command}" is not known` };
  return { id, request: requestOf(command, rest[command] as Fields) };
}

/** An absent `optional` field is present as undefined, so that a request has one shape however it came. */
function requestOf(verb: string, fields: Fields): ControlRequest {
  const hasVolume = requestType.fields[verb]?.resolvedType;
  const withVolume = hasVolume instanceof protobuf.Type && hasVolume.fields["volume"] !== undefined;
  const { _volume, ...rest } = fields;
  return { verb, ...(withVolume ? { volume: undefined } : {}), ...rest } as unknown as ControlRequest;
}

/** The bytes of one reply, length first. */
export function encodeReply(id: number, reply: ControlReply): Uint8Array {
  return replyType.encodeDelimited(replyType.fromObject({ id, ...replyFields(reply) })).finish();
}

function replyFields(reply: ControlReply): Fields {
  switch (reply.kind) {
    case "result":
      return { result: reply.outcome };
    case "state":
      return { state: { ...reply.status, skipped: reply.skipped } };
    case "waited":
      return { waited: { result: reply.result, reason: reply.reason } };
    case "generation":
      return { generation: reply.view === undefined ? { attached: false } : { attached: true, ...reply.view } };
    case "version":
      return { version: { engine: reply.engine, pid: reply.pid } };
    case "helperCall":
      return { helperCall: { helper: reply.helper, volume: reply.volume } };
    case "helperResponse":
      return { helperResponse: { helper: reply.helper, volume: reply.volume, status: reply.status } };
    default:
      return reply satisfies never;
  }
}

/** Reads one reply; fields that this version does not know are ignored. */
export function decodeReply(message: Uint8Array): { readonly id: number; readonly reply: ControlReply } | Violation {
  const decoded = decode(replyType, message);
  if ("violation" in decoded) return decoded;
  const { id, body, ...rest } = replyType.toObject(decoded, plain);
  if (typeof body !== "string") {
    const strange = unknownFields(decoded);
    return { violation: `Reply: expected a body, got ${strange.length > 0 ? `unknown field ${strange}` : "none"}` };
  }
  const reply = replyOf(body, rest[body] as Fields);
  return "violation" in reply ? reply : { id, reply };
}

function replyOf(body: string, fields: Fields): ControlReply | Violation {
  const f = fields as Record<string, never>;
  switch (body) {
    case "result":
      return { kind: "result", outcome: { code: f["code"] ?? 0, text: f["text"] ?? "" } };
    case "state": {
      const status = statusOf(fields);
      return "violation" in status ? status : { kind: "state", status, skipped: f["skipped"] ?? 0 };
    }
    case "waited":
      return waitedOf(String(fields["result"]), String(fields["reason"]));
    case "generation": {
      const { attached, ...view } = f;
      return { kind: "generation", view: attached === true ? (view as never) : undefined };
    }
    case "version":
      return { kind: "version", engine: f["engine"] ?? "", pid: f["pid"] ?? 0 };
    case "helperCall":
      return { kind: "helperCall", helper: f["helper"] ?? "", volume: f["volume"] };
    case "helperResponse":
      return { kind: "helperResponse", helper: f["helper"] ?? "", volume: f["volume"], status: f["status"] ?? 0 };
    default:
      return { violation: `Reply: body "${body}" is not handled` };
  }
}

function waitedOf(result: string, reason: string): ControlReply | Violation {
  const known: readonly WaitResult[] = ["reached", "timed-out", "stand-alone"];
  const found = known.find((name) => name === result);
  return found === undefined
    ? { violation: `Waited.result: expected one of ${known.join(", ")}, got "${result}"` }
    : { kind: "waited", result: found, reason };
}

/** DRBD's state names are a closed set; another name means that the two sides do not speak of the same thing. */
class Names {
  readonly strange: string[] = [];
  pick<Name extends string>(names: readonly Name[], field: string, value: unknown): Name {
    const found = names.find((name) => name === value);
    if (found === undefined) this.strange.push(`${field} "${value}"`);
    return found ?? (names[0] as Name);
  }
}

function statusOf(fields: Fields): ResourceStatus | Violation {
  const names = new Names();
  const f = fields as Record<string, never>;
  const role = (field: string): RoleName => names.pick(roleNames, field, f[field]);
  const volumes = (f["volumes"] ?? []) as readonly Fields[];
  const { skipped: _skipped, ...rest } = f;
  const status = {
    ...(rest as unknown as ResourceStatus),
    role: role("role"),
    peerRole: role("peerRole"),
    connection: names.pick(connectionNames, "connection", f["connection"]),
    protocol: names.pick(["", "A", "B", "C"] as const, "protocol", f["protocol"]),
    writeOrdering: names.pick(["f", "d", "n"] as const, "writeOrdering", f["writeOrdering"]),
    io: names.pick(["direct", "buffered"] as const, "io", f["io"]),
    volumes: volumes.map((volume) => volumeOf(volume, names)),
  };
  return names.strange.length === 0 ? status : { violation: `ResourceStatus: unknown ${names.strange.join(", ")}` };
}

function volumeOf(fields: Fields, names: Names): VolumeStatus {
  const disk = (field: string): DiskName => names.pick(diskNames, field, fields[field]);
  const connection: ConnectionName = names.pick(connectionNames, "replication", fields["replication"]);
  const uuids = fields["uuids"] as readonly string[];
  if (uuids.length !== 4) names.strange.push(`count of uuids ${uuids.length}, expected 4`);
  const { _sync, ...rest } = fields;
  return {
    ...(rest as unknown as VolumeStatus),
    size: bytes(fields["size"] as number),
    disk: disk("disk"),
    peerDisk: disk("peerDisk"),
    replication: connection,
    uuids: uuids as VolumeStatus["uuids"],
    sync: progressOf(fields["sync"]),
  };
}

function progressOf(fields: unknown): SyncProgress | undefined {
  if (typeof fields !== "object" || fields === null) return undefined;
  const { _want, _secondsLeft, ...rest } = fields as Record<string, unknown>;
  return { want: undefined, secondsLeft: undefined, ...rest } as unknown as SyncProgress;
}

/**
 * Cuts a byte stream into messages. Feed it chunks as they come; a length over `MAX_FRAME_BYTES` is a violation found before
 * any memory is taken for the message, and nothing can be read after one.
 */
export class FrameReader {
  #kept: Uint8Array = new Uint8Array(0);

  /** Messages complete with this chunk, in order; the last entry may be a violation. */
  feed(chunk: Uint8Array): readonly (Uint8Array | Violation)[] {
    const messages: (Uint8Array | Violation)[] = [];
    const joined = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    let at = 0;
    for (;;) {
      const head = frameLength(joined, at);
      if (head === undefined) break;
      if ("violation" in head) {
        messages.push(head);
        at = joined.length;
        break;
      }
      if (head.start + head.length > joined.length) break;
      messages.push(joined.subarray(head.start, head.start + head.length));
      at = head.start + head.length;
    }
    this.#kept = joined.subarray(at);
    return messages;
  }
}

/** The length varint at `at`; undefined if it is not complete yet. Three bytes hold every length up to MAX_FRAME_BYTES. */
function frameLength(from: Uint8Array, at: number): { start: number; length: number } | Violation | undefined {
  let length = 0;
  for (let i = 0; i < 4; i++) {
    const byte = from[at + i];
    if (byte === undefined) return undefined;
    length += (byte % 128) * 128 ** i;
    if (length > MAX_FRAME_BYTES) break;
    if (byte < 128) return { start: at + i + 1, length };
  }
  return { violation: `message length: expected at most ${MAX_FRAME_BYTES} bytes, got ${length} or more` };
}
