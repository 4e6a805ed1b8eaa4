/**
 * From two fresh streams to an agreed dialect (drbd-84 §3.1 to §3.3), all on the data stream:
 *
 *   features ──▶ (challenge ──▶ response ──▶) agreed
 *
 * Each step has a receive timeout of 4 x ping-timeout. A refusal ends in StandAlone; anything else is tried again.
 */
import type { Digests, Random, Stream } from "../ports.ts";
import type { NetSettings } from "../resource/settings.ts";
import { after, type Instant, ms, NEVER } from "../units.ts";
import { agree, NOT_AGREED, ownOffer } from "../wire/agreement.ts";
import {
  authResponse,
  CHALLENGE_BYTES,
  judgeChallenge,
  judgeChallengeLength,
  judgeResponse,
  judgeResponseLength,
} from "../wire/auth.ts";
import { emptyHeader, headerBytes, parseHeader } from "../wire/header.ts";
import { connectionFeatures } from "../wire/heads.ts";
import { packetName, packets } from "../wire/packets.ts";
import { type Dialect, sendPacket } from "./send-packet.ts";

/** ASCII `FUTAGO` and a format number in the last reserved word of P_CONNECTION_FEATURES: kernels ignore it. */
const MARKER = [0x46, 0x55, 0x54, 0x41, 0x47, 0x4f, 0x00, 0x01] as const;
const MARKER_AT = 48;

export interface Agreed extends Dialect {
  /** The other end is Futago too. */
  readonly futago: boolean;
}

export const NOTHING_AGREED: Agreed = { apv: NOT_AGREED, features: 0, futago: false };

export interface HandshakeOwner {
  onAgreed(agreed: Agreed): void;
  /** `retry` false: StandAlone. `violation`: what came was no DRBD packet that belongs here. */
  onFailed(text: string, retry: boolean): void;
  log(text: string): void;
}

type Step = "features" | "challenge" | "response" | "done";

export class Handshake {
  readonly #stream: Stream;
  readonly #settings: NetSettings;
  readonly #random: Random;
  readonly #digests: Digests;
  readonly #owner: HandshakeOwner;
  readonly #header = emptyHeader();
  readonly #challenge = new Uint8Array(CHALLENGE_BYTES);
  #step: Step = "features";
  #wantsHeader = true;
  #agreed: Agreed = NOTHING_AGREED;
  #expected: Uint8Array = new Uint8Array(0);
  deadline: Instant = NEVER;

  constructor(stream: Stream, settings: NetSettings, random: Random, digests: Digests, owner: HandshakeOwner) {
    this.#stream = stream;
    this.#settings = settings;
    this.#random = random;
    this.#digests = digests;
    this.#owner = owner;
  }

  start(now: Instant): void {
    const reserved = new Uint8Array(56);
    reserved.set(MARKER, MARKER_AT);
    sendPacket(this.#stream, this.#agreed, packets.P_CONNECTION_FEATURES, 0, {
      protocolMin: ownOffer.min,
      featureFlags: ownOffer.features,
      protocolMax: ownOffer.max,
      reserved,
    });
    this.#next("features", now);
  }

  onTimer(now: Instant): void {
    if (now < this.deadline) return;
    this.deadline = NEVER;
    this.#owner.onFailed(`timeout: the peer did not send what belongs to the handshake (${this.#step})`, true);
  }

  onHeader(at: number, now: Instant): void {
    if (!this.#wantsHeader) {
      this.#wantsHeader = true;
      return this.#payload(at, this.#header.length, now);
    }
    const violation = parseHeader(this.#stream.window, at, this.#agreed.apv, this.#header) ?? this.#judge();
    if (violation !== undefined) return this.#owner.onFailed(violation, this.#step === "features");
    this.#wantsHeader = false;
    this.#stream.expectHeader(this.#header.length);
  }

  /** Command and length of what the current step expects; anything else is fatal here (drbd-84 §3.3). */
  #judge(): string | undefined {
    const { command, length } = this.#header;
    if (this.#step === "features") {
      if (command !== packets.P_CONNECTION_FEATURES.code) return expected("P_CONNECTION_FEATURES", command);
      if (length !== connectionFeatures.bytes) {
        return `P_CONNECTION_FEATURES: unexpected packet size, expected:${connectionFeatures.bytes} received:${length}`;
      }
      return undefined;
    }
    if (this.#step === "challenge") {
      if (command !== packets.P_AUTH_CHALLENGE.code) return expected("P_AUTH_CHALLENGE", command);
      return judgeChallengeLength(length)?.text;
    }
    if (command !== packets.P_AUTH_RESPONSE.code) return expected("P_AUTH_RESPONSE", command);
    return judgeResponseLength(length, this.#expected.length)?.text;
  }

  #payload(at: number, length: number, now: Instant): void {
    if (this.#step === "features") return this.#onFeatures(at, now);
    const payload = new Uint8Array(length);
    for (let n = 0; n < length; n++) payload[n] = this.#stream.window.getUint8(at + n);
    if (this.#step === "challenge") this.#onChallenge(payload, now);
    else this.#onResponse(payload);
  }

  #onFeatures(at: number, now: Instant): void {
    const peer = connectionFeatures.decode(this.#stream.window, at);
    const offer = { min: peer.protocolMin, max: peer.protocolMax, features: peer.featureFlags };
    const result = agree(ownOffer, offer);
    if (!result.agreed) return this.#owner.onFailed(result.text, false);
    const futago = MARKER.every((byte, n) => peer.reserved[MARKER_AT + n] === byte);
    this.#agreed = { apv: result.apv, features: result.features, futago };
    this.#owner.log(`Handshake successful: Agreed network protocol version ${result.apv}`);
    if (this.#settings.cramHmacAlg === "") return this.#done();
    this.#random.fill(this.#challenge);
    sendPacket(this.#stream, this.#agreed, packets.P_AUTH_CHALLENGE, 0, {}, this.#challenge);
    this.#next("challenge", now);
  }

  #onChallenge(challenge: Uint8Array, now: Instant): void {
    const refusal = judgeChallenge(this.#challenge, challenge);
    if (refusal !== undefined) return this.#owner.onFailed(refusal.text, refusal.retry);
    const { cramHmacAlg, sharedSecret } = this.#settings;
    const answer = authResponse(this.#digests, cramHmacAlg, sharedSecret, challenge);
    const wanted = authResponse(this.#digests, cramHmacAlg, sharedSecret, this.#challenge);
    if (answer === undefined || wanted === undefined) {
      return this.#owner.onFailed(`cram-hmac-alg ${cramHmacAlg} is not known here`, false);
    }
    this.#expected = wanted;
    sendPacket(this.#stream, this.#agreed, packets.P_AUTH_RESPONSE, 0, {}, answer);
    this.#next("response", now);
  }

  #onResponse(response: Uint8Array): void {
    const refusal = judgeResponse(this.#expected, response);
    if (refusal !== undefined) return this.#owner.onFailed(refusal.text, refusal.retry);
    this.#owner.log(`Peer authenticated using ${this.#expected.length} bytes HMAC`);
    this.#done();
  }

  #next(step: Step, now: Instant): void {
    this.#step = step;
    this.deadline = after(now, ms(4 * this.#settings.pingTimeout));
    this.#stream.expectHeader(headerBytes(this.#agreed.apv));
  }

  #done(): void {
    this.#step = "done";
    this.deadline = NEVER;
    this.#owner.onAgreed(this.#agreed);
  }
}

const expected = (name: string, command: number): string => `expected ${name} packet, received: ${packetName(command)}`;
