/**
 * CRAM-HMAC as pure rules (drbd-84 §3.3). Each side sends a challenge and proves that it knows the shared secret by the HMAC of
 * the other's. The HMAC itself is a port; the texts are DRBD's.
 */
import type { Digests } from "../ports.ts";
import { packets } from "./packets.ts";

const { min: CHALLENGE_MIN, max: CHALLENGE_MAX } = packets.P_AUTH_CHALLENGE.forms[0].tail;

/** Random bytes of our own challenge, and the least a peer's may have. */
export const CHALLENGE_BYTES = CHALLENGE_MIN;

/** A refusal. `retry`: the connection is attempted again; otherwise it goes StandAlone. */
export interface AuthRefusal {
  readonly retry: boolean;
  readonly text: string;
}

/** Judges the length of a P_AUTH_CHALLENGE before it is read; undefined if it may be read. */
export function judgeChallengeLength(length: number): AuthRefusal | undefined {
  if (length > CHALLENGE_MAX) return { retry: false, text: "expected AuthChallenge payload too big." };
  if (length < CHALLENGE_MIN) return { retry: false, text: "AuthChallenge payload too small." };
  return undefined;
}

/** Judges the peer's challenge: our own sent back would make us answer ourselves. */
export function judgeChallenge(own: Uint8Array, peer: Uint8Array): AuthRefusal | undefined {
  const badLength = judgeChallengeLength(peer.length);
  if (badLength !== undefined) return badLength;
  if (!equalInConstantTime(own, peer.subarray(0, own.length))) return undefined;
  return { retry: false, text: "Peer presented the same challenge!" };
}

/**
 * HMAC of a challenge under the secret: our answer to the peer's whole challenge, or what the peer must answer to ours. `secret`
 * is without NUL. Undefined if the algorithm is not known.
 */
export function authResponse(
  digests: Digests,
  algorithm: string,
  secret: Uint8Array,
  challenge: Uint8Array,
): Uint8Array | undefined {
  return digests.hmac(algorithm, secret, challenge);
}

/** Judges the length of a P_AUTH_RESPONSE before it is read; `digestBytes` is the size of the HMAC. */
export function judgeResponseLength(length: number, digestBytes: number): AuthRefusal | undefined {
  if (length === digestBytes) return undefined;
  return {
    retry: true,
    text: `expected AuthResponse payload of wrong size, expected:${digestBytes} received:${length}`,
  };
}

/** Judges the peer's response against the HMAC of our own challenge. */
export function judgeResponse(expected: Uint8Array, received: Uint8Array): AuthRefusal | undefined {
  const badLength = judgeResponseLength(received.length, expected.length);
  if (badLength !== undefined) return badLength;
  if (equalInConstantTime(expected, received)) return undefined;
  return { retry: false, text: "Authentication of peer failed" };
}

/** Compares every byte whatever the outcome, so that the time taken tells nothing about where they differ. */
function equalInConstantTime(one: Uint8Array, other: Uint8Array): boolean {
  let difference = one.length ^ other.length;
  for (let n = 0; n < one.length; n++) difference |= (one[n] ?? 0) ^ (other[n] ?? 0);
  return difference === 0;
}
