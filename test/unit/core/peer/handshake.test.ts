import { createHmac } from "node:crypto";
import test from "ava";
import { Handshake } from "../../../../src/core/peer/handshake.ts";
import { instant, NEVER } from "../../../../src/core/units.ts";
import { packet } from "../resource/_peer.ts";
import { TestRandom, TestStream } from "../resource/_ports.ts";
import { net } from "../resource/_rig.ts";

const secret = Uint8Array.from("FooFunFactory", (c) => c.charCodeAt(0));
const hmac = (message: Uint8Array): Uint8Array =>
  Uint8Array.from(createHmac("sha1", Buffer.from(secret)).update(message).digest());

interface End {
  readonly text: string;
  readonly retry: boolean;
}

function setUp(authenticated = false) {
  const buffer = new ArrayBuffer(65536);
  const queue: (() => void)[] = [];
  const memory = { bytes: new Uint8Array(buffer), view: new DataView(buffer) };
  const stream = new TestStream(memory, (run) => queue.push(run));
  const ends: End[] = [];
  const agreements: { apv: number; features: number; futago: boolean }[] = [];
  const settings = { ...net, sharedSecret: secret, cramHmacAlg: authenticated ? "sha1" : "" };
  const digests = { hmac: (_: string, _key: Uint8Array, message: Uint8Array) => hmac(message) };
  const handshake = new Handshake(stream, settings, new TestRandom(), digests, {
    onAgreed: (agreed) => agreements.push({ ...agreed }),
    onFailed: (text, retry) => ends.push({ text, retry }),
    log: () => undefined,
  });
  stream.handler = {
    onHeader: (at) => handshake.onHeader(at, instant(0)),
    onPayload: () => undefined,
    onSent: () => undefined,
    onClosed: () => undefined,
  };
  handshake.start(instant(0));
  const run = (): Uint8Array => {
    stream.flush();
    while (queue.length > 0) for (const each of queue.splice(0)) each();
    stream.flush();
    return stream.sent();
  };
  const feed = (bytes: Uint8Array): Uint8Array => {
    stream.feed(bytes);
    return run();
  };
  return { handshake, ends, agreements, run, feed };
}

const features = (min: number, max: number, bits: number, reserved = new Uint8Array(56)): Uint8Array =>
  packet({ apv: 0, features: 0 }, "P_CONNECTION_FEATURES", 0, {
    protocolMin: min,
    protocolMax: max,
    featureFlags: bits,
    reserved,
  });
const agreed = { apv: 101, features: 15 };

test("both sides offer 86 to 101 with features 0xf in form 80, before anything is agreed (drbd-84 §3.1, §3.2, §12.1)", (t) => {
  const { run } = setUp();
  const hello = run();
  t.is(Buffer.from(hello.subarray(0, 24)).toString("hex"), "83740267fffe0048000000560000000f0000006500000000");
  t.is(hello.length, 80);
});

test("agreed is the lower maximum, and the features both have; a kernel is not Futago (drbd-84 §3.2)", (t) => {
  for (const [max, bits, apv] of [
    [101, 15, 101],
    [118, 0xff, 101],
    [97, 0, 97],
    [0, 15, 86],
  ] as const) {
    const { feed, agreements } = setUp();
    feed(features(86, max, bits));
    t.deepEqual(agreements, [{ apv, features: bits & 15, futago: false }]);
  }
});

test("two Futago nodes know each other by what they say themselves", (t) => {
  const one = setUp();
  const other = setUp();
  const hello = one.run();
  other.feed(hello);
  t.true(other.agreements[0]?.futago);
});

test("dialects without a common version end StandAlone (drbd-84 §3.2)", (t) => {
  const { feed, ends } = setUp();
  feed(features(102, 110, 0));
  t.deepEqual(ends, [{ text: "incompatible DRBD dialects: I support 86-101, peer supports 102-110", retry: false }]);
});

test("both prove that they know the secret (drbd-84 §3.3)", (t) => {
  const { run, feed, agreements, ends } = setUp(true);
  run();
  const challenge = feed(features(86, 101, 15));
  t.is(challenge.length, 16 + 64);
  const theirs = new Uint8Array(64).map((_, n) => n);
  const response = feed(packet(agreed, "P_AUTH_CHALLENGE", 0, {}, theirs));
  t.is(Buffer.from(response.subarray(16)).toString("hex"), "ee1c5ec6bdd80daae54534c4a4b9783ce6267e20");
  feed(packet(agreed, "P_AUTH_RESPONSE", 0, {}, hmac(challenge.slice(16))));
  t.deepEqual(ends, []);
  t.is(agreements.length, 1);
});

test("a wrong proof, our own challenge mirrored, or a challenge that is too short end StandAlone (drbd-84 §3.3)", (t) => {
  for (const how of ["wrong", "mirror", "short"] as const) {
    const { run, feed, agreements, ends } = setUp(true);
    run();
    const challenge = feed(features(86, 101, 15)).slice(16);
    const theirs = how === "mirror" ? challenge : new Uint8Array(how === "short" ? 63 : 64).fill(1);
    feed(packet(agreed, "P_AUTH_CHALLENGE", 0, {}, theirs));
    if (how === "wrong") feed(packet(agreed, "P_AUTH_RESPONSE", 0, {}, new Uint8Array(20)));
    t.is(ends.length, 1, how);
    t.false(ends[0]?.retry, how);
    t.deepEqual(agreements, []);
  }
});

test("something else than what belongs here fails the handshake; nothing of it is taken as a length to wait for (drbd-84 §3.3)", (t) => {
  for (const bytes of [
    packet({ apv: 0, features: 0 }, "P_PING", 0),
    new Uint8Array(8).fill(0xff),
    packet(
      { apv: 0, features: 0 },
      "P_CONNECTION_FEATURES",
      0,
      {
        protocolMin: 86,
        protocolMax: 101,
        featureFlags: 0,
        reserved: new Uint8Array(56),
      },
      new Uint8Array(8),
    ),
  ]) {
    const { feed, ends, agreements } = setUp();
    feed(bytes);
    t.is(ends.length, 1);
    t.deepEqual(agreements, []);
  }
});

test("each step has 4 x ping-timeout (drbd-84 §1.3)", (t) => {
  const { handshake, ends, feed } = setUp(true);
  t.is(handshake.deadline, instant(2000));
  handshake.onTimer(instant(1999));
  t.deepEqual(ends, []);
  handshake.onTimer(instant(2000));
  t.true(ends[0]?.retry);
  t.is(handshake.deadline, NEVER);
  feed(new Uint8Array(0));
});
