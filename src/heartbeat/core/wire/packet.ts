/**
 * A datagram (heartbeat §2 to §4): one message in either form, authenticated, perhaps compressed as a whole. Both forms are
 * accepted at any time; the first four bytes decide.
 */
import type { Digests } from "../../../core/ports.ts";
import { type AuthKeys, sign, whyNotAuthentic } from "./authentication.ts";
import { bytesOfText, concatBytes, textOfBytes } from "./bytes.ts";
import { decodeClassic, encodeClassic, isClassicForm, signedClassicText } from "./classic.ts";
import {
  isViolation,
  MAX_MESSAGE_BYTES,
  type Message,
  netstring,
  stringField,
  textOf,
  type Violation,
  without,
} from "./message.ts";
import { decodeNetstring, encodeNetstring, isNetstringForm, readNetstring } from "./netstring.ts";

/** `compression` of ha.cf. */
export type CompressionName = "zlib" | "bz2";

/** Compression comes from outside: the core has no zlib. */
export interface Compression {
  /** Undefined if the algorithm is not available. */
  compress(algorithm: CompressionName, bytes: Uint8Array): Uint8Array | undefined;
  /** Undefined if the algorithm is not available, the data are damaged, or more than `limit` bytes would come out. */
  expand(algorithm: string, bytes: Uint8Array, limit: number): Uint8Array | undefined;
}

/** How messages leave. What arrives is read whatever its form. */
export interface PacketForm {
  readonly form: "netstring" | "classic";
  /** Netstring only: also carry the field `auth`, as 3.0.6 does under `msgfmt classic` (heartbeat §4.2). */
  readonly innerAuth: boolean;
  /** Classic only: end with a NUL byte, as 2.1.x does. */
  readonly endsWithNul: boolean;
  /** Whole-message compression (`traditional_compression on`) above a size in bytes; undefined: never. */
  readonly compression: { readonly algorithm: CompressionName; readonly threshold: number } | undefined;
}

/** What 3.0.6 sends with its defaults. */
export const defaultForm: PacketForm = {
  form: "netstring",
  innerAuth: true,
  endsWithNul: false,
  compression: undefined,
};

export interface PacketContext {
  readonly keys: AuthKeys;
  readonly digests: Digests;
  readonly compression: Compression;
}

/** A received packet: the message, and all that is needed to write the same bytes again. */
export interface Packet {
  readonly message: Message;
  readonly form: PacketForm;
  readonly authNumber: number;
}

const PAYLOAD = "_compressed_payload";
const ALGORITHM = "_compression_algorithm";

const withInnerAuth = (message: Message, context: PacketContext): Message => {
  const bare = without(message, "auth");
  return [...bare, stringField("auth", sign(signedClassicText(bare), context.keys, context.digests))];
};

function withTrailer(body: Uint8Array, context: PacketContext): Uint8Array {
  return concatBytes([body, ...netstring(bytesOfText(sign(body, context.keys, context.digests)))]);
}

function compressed(body: Uint8Array, form: PacketForm, context: PacketContext): Uint8Array | undefined {
  if (form.compression === undefined || body.length <= form.compression.threshold) return undefined;
  const { algorithm } = form.compression;
  const payload = context.compression.compress(algorithm, body);
  if (payload === undefined) return undefined;
  return encodeNetstring([{ type: 1, name: PAYLOAD, value: payload }, stringField(ALGORITHM, algorithm)]);
}

/** Signed with the current entry of authkeys. A field `auth` of the message is replaced or left out, as the form says. */
export function encodePacket(message: Message, form: PacketForm, context: PacketContext): Uint8Array {
  if (form.form === "classic") return encodeClassic(withInnerAuth(message, context), form.endsWithNul);
  const body = encodeNetstring(form.innerAuth ? withInnerAuth(message, context) : without(message, "auth"));
  return withTrailer(compressed(body, form, context) ?? body, context);
}

/** Why a datagram is dropped without reply, or what it holds (heartbeat §4.2). */
export function decodePacket(bytes: Uint8Array, context: PacketContext): Packet | Violation {
  if (bytes.length > MAX_MESSAGE_BYTES) return { violation: `${bytes.length} bytes, at most ${MAX_MESSAGE_BYTES}` };
  if (isNetstringForm(bytes)) return decodeSigned(bytes, context);
  if (!isClassicForm(bytes)) {
    return { violation: `expected ### or >>>, found ${JSON.stringify(textOfBytes(bytes, 0, 4))}` };
  }
  const decoded = decodeClassic(bytes);
  if (isViolation(decoded)) return decoded;
  const { message, endsWithNul } = decoded;
  const token = textOf(message, "auth");
  if (token === undefined) return { violation: "auth: the field is missing" };
  const violation = whyNotAuthentic(signedClassicText(message), token, context.keys, context.digests);
  if (violation !== undefined) return { violation };
  const form: PacketForm = { form: "classic", innerAuth: true, endsWithNul, compression: undefined };
  return { message, form, authNumber: Number.parseInt(token, 10) };
}

/** The trailer is judged before the fields are looked at: nothing unsigned is interpreted beyond its framing. */
function decodeSigned(bytes: Uint8Array, context: PacketContext): Packet | Violation {
  const decoded = decodeNetstring(bytes);
  if (isViolation(decoded)) return decoded;
  const trailer = readNetstring(bytes, decoded.end);
  if (isViolation(trailer)) return { violation: `trailer: ${trailer.violation}` };
  if (trailer.next !== bytes.length) return { violation: `${bytes.length - trailer.next} bytes after the trailer` };
  const token = textOfBytes(bytes, trailer.start, trailer.end);
  const violation = whyNotAuthentic(bytes.subarray(0, decoded.end), token, context.keys, context.digests);
  if (violation !== undefined) return { violation };
  const authNumber = Number.parseInt(token, 10);
  const algorithm = textOf(decoded.message, ALGORITHM);
  if (algorithm !== undefined) return expandPacket(decoded.message, algorithm, authNumber, context);
  const innerAuth = textOf(decoded.message, "auth") !== undefined;
  return {
    message: decoded.message,
    form: { form: "netstring", innerAuth, endsWithNul: false, compression: undefined },
    authNumber,
  };
}

function expandPacket(
  outer: Message,
  algorithm: string,
  authNumber: number,
  context: PacketContext,
): Packet | Violation {
  const payload = outer.find((field) => field.name === PAYLOAD);
  if (payload?.type !== 1) return { violation: `${PAYLOAD}: expected a binary field` };
  const body = context.compression.expand(algorithm, payload.value, MAX_MESSAGE_BYTES);
  if (body === undefined) return { violation: `${PAYLOAD}: ${algorithm} data cannot be expanded here` };
  const inner = decodeNetstring(body);
  if (isViolation(inner)) return { violation: `${PAYLOAD}: ${inner.violation}` };
  if (inner.end !== body.length) return { violation: `${PAYLOAD}: ${body.length - inner.end} bytes after %%%` };
  if (algorithm !== "zlib" && algorithm !== "bz2") return { violation: `${ALGORITHM}: unknown: ${algorithm}` };
  const innerAuth = textOf(inner.message, "auth") !== undefined;
  const compression = { algorithm, threshold: 0 } as const;
  return {
    message: inner.message,
    form: { form: "netstring", innerAuth, endsWithNul: false, compression },
    authNumber,
  };
}
