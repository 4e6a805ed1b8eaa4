import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "ava";
import type { Digests } from "../../../../src/core/ports.ts";
import {
  authResponse,
  CHALLENGE_BYTES,
  judgeChallenge,
  judgeChallengeLength,
  judgeResponse,
  judgeResponseLength,
} from "../../../../src/core/wire/auth.ts";
import { vectors } from "./captured.ts";

const digests: Digests = {
  hmac: (algorithm, key, message) => createHmac(algorithm, key).update(message).digest(),
};
const secret = new TextEncoder().encode("FooFunFactory");
const counting = Uint8Array.from({ length: 64 }, (_, n) => n);

interface AuthVector {
  readonly algorithm: string;
  readonly secret: string;
  readonly challenge_from_peer: string;
  readonly response: string;
}
const authVectors: readonly AuthVector[] = JSON.parse(readFileSync(`${vectors}auth.json`, "utf8"));

test("each captured response is the HMAC of the peer's challenge (auth.json)", (t) => {
  t.is(authVectors.length, 10);
  for (const { algorithm, secret: text, challenge_from_peer, response } of authVectors) {
    const challenge = Buffer.from(challenge_from_peer, "hex");
    t.is(judgeChallenge(counting, challenge), undefined);
    const expected = authResponse(digests, algorithm, Buffer.from(text), challenge);
    if (expected === undefined) throw new Error(algorithm);
    t.is(Buffer.from(expected).toString("hex"), response);
    t.is(judgeResponse(expected, Buffer.from(response, "hex")), undefined);
  }
});

test("the vectors of §3.3 for sha1, md5 and sha256", (t) => {
  const response = (algorithm: string) =>
    Buffer.from(authResponse(digests, algorithm, secret, counting) ?? []).toString("hex");
  t.is(response("sha1"), "ee1c5ec6bdd80daae54534c4a4b9783ce6267e20");
  t.is(response("md5"), "ae8b73320d1bc78a7891125e24a17de7");
  t.is(response("sha256"), "f2a25927ac1c2cd4ed169962d2b803e613af17129a6ba1d8f42ca5f6148f18b6");
});

test("a wrong secret ends in StandAlone (§3.3, capture 04)", (t) => {
  const mine = authResponse(digests, "sha1", secret, counting) ?? new Uint8Array();
  const theirs = authResponse(digests, "sha1", new TextEncoder().encode("WrongSecret"), counting) ?? new Uint8Array();
  t.deepEqual(judgeResponse(mine, theirs), { retry: false, text: "Authentication of peer failed" });
});

test("one differing bit anywhere is refused", (t) => {
  const mine = authResponse(digests, "sha256", secret, counting) ?? new Uint8Array();
  for (let bit = 0; bit < 256; bit++) {
    const theirs = Uint8Array.from(mine);
    theirs[bit >> 3] = (theirs[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    t.not(judgeResponse(mine, theirs), undefined);
  }
});

test("a challenge has 64 to 128 bytes, other lengths end in StandAlone (§3.3)", (t) => {
  t.is(CHALLENGE_BYTES, 64);
  t.deepEqual([64, 65, 128].map(judgeChallengeLength), [undefined, undefined, undefined]);
  t.deepEqual(judgeChallengeLength(63), { retry: false, text: "AuthChallenge payload too small." });
  t.deepEqual(judgeChallengeLength(0)?.retry, false);
  t.deepEqual(judgeChallengeLength(129)?.retry, false);
  t.is(judgeChallenge(counting, new Uint8Array(63))?.text, "AuthChallenge payload too small.");
});

test("our own challenge sent back is refused, also with more behind it (§3.3)", (t) => {
  const refusal = { retry: false, text: "Peer presented the same challenge!" };
  t.deepEqual(judgeChallenge(counting, counting.slice()), refusal);
  const longer = new Uint8Array(128);
  longer.set(counting);
  t.deepEqual(judgeChallenge(counting, longer), refusal);
  longer[63] = 0;
  t.is(judgeChallenge(counting, longer), undefined);
});

test("a response of another length retries the connection (§3.3)", (t) => {
  t.is(judgeResponseLength(20, 20), undefined);
  t.is(judgeResponseLength(19, 20)?.retry, true);
  t.is(judgeResponseLength(32, 20)?.retry, true);
  t.is(judgeResponse(new Uint8Array(20), new Uint8Array(0))?.retry, true);
});
