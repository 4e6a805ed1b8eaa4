import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import protobuf from "protobufjs";
import {
  connectionNames,
  diskNames,
  type ResourceStatus,
  roleNames,
  type VolumeStatus,
} from "../../../src/core/status.ts";
import { bytes } from "../../../src/core/units.ts";
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  FrameReader,
  MAX_FRAME_BYTES,
} from "../../../src/engine/control-codec.ts";
import { controlDescriptor } from "../../../src/engine/control-descriptor.ts";
import type { ControlReply, ControlRequest } from "../../../src/engine/control-interface.ts";

const source = readFileSync(new URL("../../../proto/control.proto", import.meta.url), "utf8");

test("the descriptor that the programs load is the one of proto/control.proto", (t) => {
  t.deepEqual(controlDescriptor as object, protobuf.parse(source, { keepCase: false }).root.toJSON() as object);
});

const volumeNumber = fc.option(fc.integer({ min: 0, max: 65535 }), { nil: undefined });
const seconds = fc.integer({ min: 0, max: 300000 });
const on = <Verb extends string>(...verbs: Verb[]) =>
  verbs.map((verb) => fc.record({ verb: fc.constant(verb), volume: volumeNumber }));
const requests = fc.oneof(
  ...on("attach", "secondary", "invalidate", "invalidateRemote", "outdate", "pauseSync", "resumeSync"),
  fc.record({ verb: fc.constantFrom("detach", "primary"), volume: volumeNumber, force: fc.boolean() }),
  fc.record({ verb: fc.constant("connect"), discardMyData: fc.boolean(), tentative: fc.boolean() }),
  fc.record({ verb: fc.constantFrom("disconnect", "down"), force: fc.boolean() }),
  fc.record({
    verb: fc.constantFrom("waitConnect", "waitSync"),
    volume: volumeNumber,
    wfcTimeout: seconds,
    degrWfcTimeout: seconds,
    outdatedWfcTimeout: seconds,
    waitAfterSb: fc.boolean(),
  }),
  fc.record({ verb: fc.constantFrom("status", "watch", "version") }),
  fc.record({ verb: fc.constant("generation"), volume: fc.integer({ min: 0, max: 65535 }) }),
) as fc.Arbitrary<ControlRequest>;

const count = fc.integer({ min: 0, max: 2 ** 50 });
const hex = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((n) => n.toString(16).toUpperCase().padStart(16, "0"));
const volumes: fc.Arbitrary<VolumeStatus> = fc.record({
  volume: fc.integer({ min: 0, max: 65535 }),
  minor: fc.integer({ min: 0, max: 1048575 }),
  size: fc.integer({ min: 0, max: 2 ** 50 }).map(bytes),
  disk: fc.constantFrom(...diskNames),
  peerDisk: fc.constantFrom(...diskNames),
  replication: fc.constantFrom(...connectionNames),
  backingDisk: fc.string(),
  uuids: fc.tuple(hex, hex, hex, hex),
  counters: fc.record({
    ns: count,
    nr: count,
    dw: count,
    dr: count,
    al: count,
    bm: count,
    lo: count,
    pe: count,
    ua: count,
    ap: count,
    ep: count,
    oos: count,
  }),
  sync: fc.option(
    fc.record({
      total: count,
      left: count,
      failed: count,
      rate: fc.double({ min: 0, max: 1e9, noNaN: true }),
      averageRate: fc.double({ min: 0, max: 1e9, noNaN: true }),
      want: fc.option(count, { nil: undefined }),
      secondsLeft: fc.option(count, { nil: undefined }),
      elapsedSeconds: fc.double({ min: 0, max: 1e9, noNaN: true }),
    }),
    { nil: undefined },
  ),
  pausedByUser: fc.boolean(),
  pausedByPeer: fc.boolean(),
  pausedByDependency: fc.boolean(),
  alSuspended: fc.boolean(),
  openCount: fc.integer({ min: 0, max: 100 }),
});
const statuses: fc.Arbitrary<ResourceStatus> = fc.record({
  name: fc.string(),
  node: fc.string(),
  role: fc.constantFrom(...roleNames),
  peerRole: fc.constantFrom(...roleNames),
  connection: fc.constantFrom(...connectionNames),
  protocol: fc.constantFrom("A" as const, "B" as const, "C" as const, "" as const),
  writeOrdering: fc.constantFrom("f" as const, "d" as const, "n" as const),
  suspended: fc.boolean(),
  local: fc.string(),
  remote: fc.string(),
  agreedVersion: fc.integer({ min: 0, max: 200 }),
  reason: fc.string(),
  backend: fc.string(),
  io: fc.constantFrom("direct" as const, "buffered" as const),
  volumes: fc.array(volumes, { maxLength: 4 }),
});
const replies: fc.Arbitrary<ControlReply> = fc.oneof(
  fc.record({
    kind: fc.constant("result" as const),
    outcome: fc.record({ code: fc.integer({ min: -21, max: 170 }), text: fc.string() }),
  }),
  fc.record({ kind: fc.constant("state" as const), status: statuses, skipped: fc.integer({ min: 0, max: 1000 }) }),
  fc.record({
    kind: fc.constant("waited" as const),
    result: fc.constantFrom("reached" as const, "timed-out" as const, "stand-alone" as const),
    reason: fc.string(),
  }),
  fc.record({
    kind: fc.constant("generation" as const),
    view: fc.option(
      fc.record({
        uuids: fc.array(hex, { minLength: 4, maxLength: 4 }),
        flags: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        lastAgreedSectors: count,
        lastAgreedMaxBioBytes: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      }),
      { nil: undefined },
    ),
  }),
  fc.record({ kind: fc.constant("version" as const), engine: fc.string(), pid: fc.integer({ min: 0, max: 4194304 }) }),
  fc.record({ kind: fc.constant("helperCall" as const), helper: fc.string(), volume: volumeNumber }),
  fc.record({
    kind: fc.constant("helperResponse" as const),
    helper: fc.string(),
    volume: volumeNumber,
    status: fc.integer({ min: 0, max: 65535 }),
  }),
);

/** The single message in `framed`. */
function unframed(framed: Uint8Array): Uint8Array {
  const [message, ...more] = new FrameReader().feed(framed);
  if (message === undefined || "violation" in message || more.length > 0) throw new Error("expected one message");
  return message;
}

test("every request comes back as it was sent", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), requests, (id, request) => {
      t.deepEqual(decodeRequest(unframed(encodeRequest(id, request))), { id, request });
    }),
    { numRuns: 300 },
  );
});

test("every reply comes back as it was sent, sizes beyond 2^32 included", (t) => {
  fc.assert(
    fc.property(replies, (reply) => {
      t.deepEqual(decodeReply(unframed(encodeReply(7, reply))), { id: 7, reply });
    }),
    { numRuns: 300 },
  );
});

/** What a newer version would send: control.proto with one more field or request. */
function newer(change: (text: string) => string): protobuf.Root {
  return protobuf.parse(change(source), { keepCase: false }).root;
}

test("a request of a newer version is refused by name of its number, and keeps its id", (t) => {
  const root = newer((text) => text.replace("Version version = 35;", "Version version = 35; Version reboot = 99;"));
  const type = root.lookupType("futago.control.Request");
  t.deepEqual(decodeRequest(type.encode({ id: 5, reboot: {} }).finish()), {
    id: 5,
    unknown: "request number 99 is not known",
  });
});

test("an unknown field of a known request is refused: leaving it out could do more than was asked", (t) => {
  const root = newer((text) =>
    text.replace("message Disconnect { bool force = 1; }", "message Disconnect { bool force = 1; bool dry_run = 2; }"),
  );
  const type = root.lookupType("futago.control.Request");
  t.deepEqual(decodeRequest(type.encode({ id: 6, disconnect: { dryRun: true } }).finish()), {
    id: 6,
    unknown: 'field disconnect.2 of request "disconnect" is not known',
  });
});

test("an empty request is refused", (t) => {
  t.deepEqual(decodeRequest(new Uint8Array([0x08, 0x03])), { id: 3, unknown: "the request is empty" });
});

test("a reply of a newer version is understood without its new fields", (t) => {
  const root = newer((text) => text.replace("string text = 2;", "string text = 2; string colour = 3;"));
  const type = root.lookupType("futago.control.Reply");
  const message = type.encode({ id: 1, result: { code: -2, text: "no", colour: "red" } }).finish();
  t.deepEqual(decodeReply(message), { id: 1, reply: { kind: "result", outcome: { code: -2, text: "no" } } });
});

test("a state name that DRBD does not have is a violation that names it", (t) => {
  const type = protobuf.Root.fromJSON(controlDescriptor).lookupType("futago.control.Reply");
  const message = type.encode({
    id: 1,
    state: { role: "Boss", peerRole: "Unknown", connection: "StandAlone", writeOrdering: "f", io: "direct" },
  });
  t.deepEqual(decodeReply(message.finish()), { violation: 'ResourceStatus: unknown role "Boss"' });
});

test("bytes that are no message are a violation or a refusal, never an exception", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (message) => {
      decodeRequest(message);
      decodeReply(message);
    }),
    { numRuns: 2000 },
  );
  t.true("violation" in decodeRequest(new Uint8Array([0xff, 0xff])));
});

test("messages are cut out of the stream however it is chopped", (t) => {
  const sent = [encodeRequest(1, { verb: "status" }), encodeRequest(300, { verb: "detach", volume: 3, force: true })];
  const stream = Buffer.concat(sent);
  for (let cut = 0; cut <= stream.length; cut++) {
    const reader = new FrameReader();
    const messages = [...reader.feed(stream.subarray(0, cut)), ...reader.feed(stream.subarray(cut))];
    t.deepEqual(
      messages.map((message) => Buffer.from(message as Uint8Array)),
      sent.map((framed) => Buffer.from(unframed(framed))),
    );
  }
});

test("a message longer than 1 MiB is refused from its length alone", (t) => {
  const length = protobuf.Writer.create()
    .uint32(MAX_FRAME_BYTES + 1)
    .finish();
  const [message] = new FrameReader().feed(length);
  t.true(message !== undefined && "violation" in message);
  const endless = new FrameReader().feed(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]));
  t.true(endless[0] !== undefined && "violation" in endless[0]);
});

test("a message of exactly 1 MiB is taken", (t) => {
  const frame = Buffer.concat([
    protobuf.Writer.create().uint32(MAX_FRAME_BYTES).finish(),
    Buffer.alloc(MAX_FRAME_BYTES),
  ]);
  const [message] = new FrameReader().feed(frame);
  t.is((message as Uint8Array).length, MAX_FRAME_BYTES);
});
