/**
 * Signatures (heartbeat §4). The token is `<number> <digest>`; the number names the entry of the *receiver's* authkeys, and
 * that entry's own key is used, which is where 3.0.6 errs for the trailer.
 */
import type { Digests } from "../../../core/ports.ts";
import type { AuthMethod } from "../config/authkeys.ts";
import { type ByteText, bytesOfText } from "./bytes.ts";
import { heartbeatCrc } from "./crc.ts";

export type { AuthMethod };

export interface AuthKey {
  readonly method: AuthMethod;
  /** The key word of authkeys as written; empty for crc. */
  readonly key: ByteText;
}

/** authkeys: `auth N` and the entries by number, 0 to 15 (heartbeat §14). */
export interface AuthKeys {
  readonly current: number;
  readonly entries: ReadonlyMap<number, AuthKey>;
}

const hexOfBytes = (bytes: Uint8Array): ByteText =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** The digest as text; undefined if the runtime lacks the algorithm. crc has no leading zeros. */
export function digestText(entry: AuthKey, bytes: Uint8Array, digests: Digests): ByteText | undefined {
  if (entry.method === "crc") return heartbeatCrc(bytes).toString(16);
  const mac = digests.hmac(entry.method, bytesOfText(entry.key), bytes);
  return mac === undefined ? undefined : hexOfBytes(mac);
}

/** Throws when authkeys names an entry that it does not have or a method that the runtime lacks: both are checked at start. */
export function sign(bytes: Uint8Array, keys: AuthKeys, digests: Digests): ByteText {
  const entry = keys.entries.get(keys.current);
  const digest = entry === undefined ? undefined : digestText(entry, bytes, digests);
  if (digest === undefined) throw new Error(`authkeys: no usable entry ${keys.current}`);
  return `${keys.current} ${digest}`;
}

/** Compares all of it whatever differs, so that time tells nothing about a digest. */
function sameText(a: ByteText, b: ByteText): boolean {
  let difference = a.length ^ b.length;
  for (let at = 0; at < a.length; at++) difference |= a.charCodeAt(at) ^ b.charCodeAt(at % Math.max(1, b.length));
  return difference === 0;
}

/** Why the token does not authenticate the bytes; undefined when it does. */
export function whyNotAuthentic(
  bytes: Uint8Array,
  token: ByteText,
  keys: AuthKeys,
  digests: Digests,
): string | undefined {
  const match = /^([0-9]{1,2}) ([0-9a-f]+)$/.exec(token);
  if (match?.[1] === undefined || match[2] === undefined) {
    return `auth: expected "<number> <digest>", found ${JSON.stringify(token.slice(0, 60))}`;
  }
  const entry = keys.entries.get(Number(match[1]));
  if (entry === undefined) return `auth: our authkeys have no entry ${match[1]}`;
  const expected = digestText(entry, bytes, digests);
  if (expected === undefined) return `auth: ${entry.method} is not available here`;
  return sameText(expected, match[2]) ? undefined : `auth: ${entry.method} digest of entry ${match[1]} does not match`;
}
