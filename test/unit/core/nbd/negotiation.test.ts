import test from "ava";
import {
  BLOCK_STATUS,
  Connection,
  connect,
  connected,
  DISC,
  hex,
  infoOption,
  metaOption,
  option,
  Reader,
  readError,
  request,
  text,
  u16,
  u32,
} from "./client.ts";
import { MemoryDevice } from "./memory-device.ts";
import { concat } from "./memory-stream.ts";

const ACK = 1;
const UNSUP = 0x80000001;
const INVALID = 0x80000003;
const UNKNOWN = 0x80000006;
const SHUTDOWN = 0x80000007;
const TOO_BIG = 0x80000009;
const types = (replies: readonly { type: number }[]) => replies.map(({ type }) => type);
const string = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** A connection whose client has sent its flags. */
function haggling(device = new MemoryDevice()): Connection {
  const connection = new Connection(device);
  connection.exchange(u32(3));
  return connection;
}

test("the greeting is NBDMAGIC, IHAVEOPT and FIXED_NEWSTYLE|NO_ZEROES (proto.md, Newstyle negotiation)", (t) => {
  const connection = connect();
  t.deepEqual(connection.exchange(), hex("4e42444d41474943 49484156454f5054 0003"));
  t.deepEqual(connection.faults(), []);
});

test("client flags 0 to 3 are accepted, fixed newstyle is honoured without its flag (Client flags)", (t) => {
  for (const flags of [0, 1, 2, 3]) {
    const connection = connect();
    connection.exchange(u32(flags));
    t.deepEqual(types(connection.options(option(3))), [2, 2, ACK]);
    t.deepEqual(connection.faults(), []);
  }
});

test("an unknown client flag drops the connection (Client flags)", (t) => {
  for (const flags of [4, 7, 0x80000000, 0xffffffff]) {
    const connection = connect();
    connection.exchange(u32(flags));
    t.true(connection.stream.isDestroyed);
    t.regex(connection.violations.join(), /client flags: expected .*, actual 0x/);
    t.deepEqual(connection.faults(), []);
  }
});

test("a wrong option magic drops the connection", (t) => {
  const connection = haggling();
  connection.exchange(concat([hex("49484156454f5055"), u32(3), u32(0)]));
  t.true(connection.stream.isDestroyed);
  t.deepEqual(connection.violations, ["option magic: expected 0x49484156454f5054, actual 0x49484156454f5055"]);
});

test("NBD_OPT_LIST names every export, then acknowledges", (t) => {
  const connection = haggling();
  const replies = connection.options(option(3));
  t.deepEqual(types(replies), [2, 2, ACK]);
  t.deepEqual(replies[0]?.data, concat([u32(2), text("r0")]));
  t.deepEqual(replies[1]?.data, concat([u32(4), text("r0/1")]));
  t.deepEqual(replies[2]?.data.length, 0);
});

test("NBD_OPT_LIST and NBD_OPT_STRUCTURED_REPLY with data are INVALID, and say so", (t) => {
  for (const code of [3, 8]) {
    const [reply] = haggling().options(option(code, text("x")));
    t.is(reply?.type, INVALID);
    t.is(string(reply?.data ?? u32(0)), "option data: expected none");
  }
});

test("NBD_OPT_GO sends EXPORT and BLOCK_SIZE, acknowledges and enters transmission", (t) => {
  const connection = haggling(new MemoryDevice({ size: 12345 * 512 }));
  const replies = connection.options(infoOption(7, "r0"));
  t.deepEqual(types(replies), [3, 3, ACK]);
  // HAS_FLAGS 1, FLUSH 4, FUA 8, TRIM 32, WRITE_ZEROES 64, MULTI_CONN 256, CACHE 1024, FAST_ZERO 2048.
  t.deepEqual(replies[0]?.data, concat([u16(0), u32(0), u32(12345 * 512), u16(0xd6d)]));
  t.deepEqual(replies[1]?.data, concat([u16(3), u32(512), u32(4096), u32(33554432)]));
  t.is(connection.session.exportName, "r0");
  t.is(connection.device.openers.size, 1);
  t.deepEqual(connection.faults(), []);
});

test("NBD_OPT_INFO answers like NBD_OPT_GO and stays in the handshake", (t) => {
  const connection = haggling();
  const info = connection.options(infoOption(6, "r0", [1, 2, 3]));
  t.is(connection.device.openers.size, 0);
  const go = connection.options(infoOption(7, "r0", [1, 2, 3]));
  t.deepEqual(
    go.map(({ type, data }) => ({ type, data })),
    info.map(({ type, data }) => ({ type, data })),
  );
});

test("NAME is the canonical name and DESCRIPTION is sent where there is one, both only if asked for", (t) => {
  const of = (name: string, wanted: number[]) =>
    haggling()
      .options(infoOption(6, name, wanted))
      .filter(({ type }) => type === 3)
      .map(({ data }) => [new Reader(data).number(2), string(data.subarray(2))] as const)
      .filter(([type]) => type === 1 || type === 2);
  t.deepEqual(of("", [1, 2]), [
    [1, "r0"],
    [2, "mirrored"],
  ]);
  t.deepEqual(of("r0/1", [1, 2]), [[1, "r0/1"]]);
  t.deepEqual(of("r0", []), []);
});

test("information requests a server does not understand are ignored", (t) => {
  t.deepEqual(types(haggling().options(infoOption(6, "r0", [9, 0, 65535, 3]))), [3, 3, ACK]);
});

test("INFO and GO refuse an unknown export with UNKNOWN, and haggling goes on", (t) => {
  const connection = haggling();
  t.deepEqual(types(connection.options(infoOption(7, "r1"))), [UNKNOWN]);
  t.deepEqual(types(connection.options(infoOption(6, "R0"))), [UNKNOWN]);
  t.deepEqual(types(connection.options(infoOption(7, "r0"))), [3, 3, ACK]);
  t.deepEqual(connection.faults(), []);
});

test("INFO and GO whose lengths do not agree are INVALID, and haggling goes on", (t) => {
  const connection = haggling();
  const bad: readonly Uint8Array[] = [
    new Uint8Array(0),
    new Uint8Array(5),
    concat([u32(3), text("r0"), u16(0)]),
    concat([u32(0xffffffff), text("r0"), u16(0)]),
    concat([u32(2), text("r0"), u16(1)]),
    concat([u32(2), text("r0"), u16(0), u16(0)]),
    concat([u32(2), text("r0"), u16(65535), u16(0)]),
    concat([u32(2), hex("72 00"), u16(0)]),
    concat([u32(2), hex("c3 28"), u16(0)]),
  ];
  for (const data of bad) {
    t.deepEqual(types(connection.options(option(7, data))), [INVALID]);
    t.deepEqual(types(connection.options(option(6, data))), [INVALID]);
  }
  t.deepEqual(types(connection.options(infoOption(7, "r0"))), [3, 3, ACK]);
});

test("NBD_OPT_EXPORT_NAME answers size, flags and 124 zeroes, or none if NO_ZEROES was agreed", (t) => {
  for (const [flags, zeroes] of [
    [0, 124],
    [1, 124],
    [2, 0],
    [3, 0],
  ] as const) {
    const connection = connect({ size: 1024 * 1024 });
    connection.exchange(u32(flags));
    t.deepEqual(
      connection.exchange(option(1, text("r0/1"))),
      concat([hex("0000000000100000 0d6d"), new Uint8Array(zeroes)]),
    );
    t.deepEqual(connection.faults(), []);
  }
});

test("NBD_OPT_EXPORT_NAME without data takes the default export", (t) => {
  const connection = haggling();
  t.is(connection.exchange(option(1)).length, 10);
  t.is(connection.session.exportName, "");
});

test("NBD_OPT_EXPORT_NAME for an unknown, malformed or oversized name drops the connection: it has no error reply", (t) => {
  for (const bad of [option(1, text("r1")), option(1, hex("ff")), option(1, new Uint8Array(0), 4097)]) {
    const connection = haggling();
    t.is(connection.exchange(bad).length, 0);
    t.true(connection.stream.isDestroyed);
    t.is(connection.violations.length, 1);
    t.deepEqual(connection.faults(), []);
  }
});

test("NBD_OPT_ABORT is acknowledged, with or without data of any length, and ends the session", (t) => {
  for (const data of [new Uint8Array(0), text("bye"), new Uint8Array(70000)]) {
    const connection = haggling();
    t.deepEqual(types(connection.options(option(2, data))), [ACK]);
    t.true(connection.stream.isEnded);
    // Noticing the client's end needs an open expectation.
    t.true(connection.stream.isReading);
    t.deepEqual(connection.faults(), []);
  }
});

test("NBD_OPT_STARTTLS is UNSUP: no TLS here (NOTLS mode)", (t) => {
  const connection = haggling();
  t.deepEqual(types(connection.options(option(5))), [UNSUP]);
  t.deepEqual(types(connection.options(option(5, text("x")))), [UNSUP]);
  t.deepEqual(types(connection.options(option(3))), [2, 2, ACK]);
});

test("unknown options are UNSUP whatever they carry, and the next option is understood", (t) => {
  const connection = haggling();
  for (const code of [0, 4, 11, 12, 0x7fffffff, 0xffffffff]) {
    for (const data of [new Uint8Array(0), text("data"), new Uint8Array(4096), new Uint8Array(100000)]) {
      const replies = connection.options(option(code, data));
      t.deepEqual(
        replies.map((reply) => [reply.option, reply.type]),
        [[code, UNSUP]],
      );
    }
  }
  t.deepEqual(types(connection.options(infoOption(7, "r0"))), [3, 3, ACK]);
});

test("known options longer than 4096 bytes are drained and refused with TOO_BIG", (t) => {
  for (const code of [3, 6, 7, 8, 9, 10]) {
    const connection = haggling();
    t.deepEqual(types(connection.options(option(code, new Uint8Array(4097)))), [TOO_BIG]);
    t.deepEqual(types(connection.options(option(3))), [2, 2, ACK]);
  }
});

test("a known option of exactly 4096 bytes is read", (t) => {
  const [reply] = haggling().options(infoOption(6, "x".repeat(4090)));
  t.is(reply?.type, UNKNOWN);
});

test("a client that haggles for ever is disconnected after 256 options", (t) => {
  const connection = haggling();
  for (let i = 0; i < 256; i++) t.is(connection.options(option(99)).length, 1);
  t.true(connection.stream.isDestroyed);
  t.deepEqual(connection.violations, ["options: expected at most 256"]);
});

test("a client that leaves its option replies unread is disconnected before they fill our memory", (t) => {
  const names = Array.from({ length: 200 }, (_, i) => `r${i}${"x".repeat(200)}`);
  const device = new MemoryDevice();
  const connection = new Connection(device, false, { list: () => names, find: () => device, describe: () => "" });
  connection.exchange(u32(3));
  for (let i = 0; i < 200; i++) connection.stream.feed(option(3));
  t.true(connection.stream.isDestroyed);
  t.true(connection.stream.queuedMost < 5 * 1024 * 1024);
});

test("SET_META_CONTEXT and LIST_META_CONTEXT before structured replies are INVALID", (t) => {
  const connection = haggling();
  t.deepEqual(types(connection.options(metaOption(9, "r0", []))), [INVALID]);
  t.deepEqual(types(connection.options(metaOption(10, "r0", ["base:allocation"]))), [INVALID]);
});

test("LIST_META_CONTEXT: no query and `base:` list base:allocation with id 0, unknown ones list nothing", (t) => {
  const connection = haggling();
  connection.exchange(option(8));
  const listed = concat([u32(0), text("base:allocation")]);
  for (const queries of [[], ["base:"], ["base:allocation"], ["x-a:b", "base:allocation", "base:"]]) {
    const replies = connection.options(metaOption(9, "r0", queries));
    t.deepEqual(types(replies), [4, ACK]);
    t.deepEqual(replies[0]?.data, listed);
  }
  for (const queries of [["base:alloc"], ["qemu:"], ["x-a:b"], [""], ["base"]]) {
    t.deepEqual(types(connection.options(metaOption(9, "r0", queries))), [ACK]);
  }
});

test("SET_META_CONTEXT selects exact names only, once each, with a non-zero id", (t) => {
  const connection = haggling();
  connection.exchange(option(8));
  const replies = connection.options(metaOption(10, "r0", ["base:allocation", "base:allocation", "qemu:dirty"]));
  t.deepEqual(types(replies), [4, ACK]);
  t.deepEqual(replies[0]?.data, concat([u32(1), text("base:allocation")]));
  for (const queries of [[], ["base:"], ["base:other"], ["x-a:b"]]) {
    t.deepEqual(types(connection.options(metaOption(10, "r0", queries))), [ACK]);
  }
});

test("META_CONTEXT options with a bad name, length or count are refused, and haggling goes on", (t) => {
  const connection = haggling();
  connection.exchange(option(8));
  t.deepEqual(types(connection.options(metaOption(10, "r1", ["base:allocation"]))), [UNKNOWN]);
  const bad = [
    new Uint8Array(0),
    new Uint8Array(7),
    concat([u32(5), text("r0"), u32(0)]),
    concat([u32(2), text("r0"), u32(1)]),
    concat([u32(2), text("r0"), u32(0xffffffff)]),
    concat([u32(2), text("r0"), u32(1), u32(16), text("base:allocation")]),
    concat([u32(2), text("r0"), u32(1), u32(0xffffffff), text("base:allocation")]),
    concat([u32(2), text("r0"), u32(1), u32(14), text("base:allocation")]),
    concat([u32(2), text("r0"), u32(0), u32(0)]),
    concat([u32(2), text("r0"), u32(1), u32(1), hex("00")]),
  ];
  for (const data of bad) {
    t.deepEqual(types(connection.options(option(9, data))), [INVALID]);
    t.deepEqual(types(connection.options(option(10, data))), [INVALID]);
  }
  t.deepEqual(types(connection.options(option(3))), [2, 2, ACK]);
});

/** The error of a BLOCK_STATUS after these options, 0 for success. */
function blockStatusAfter(...haggle: Uint8Array[]): number {
  const connection = haggling();
  connection.exchange(...haggle);
  const [reply] = connection.replies(new Map(), request({ type: BLOCK_STATUS, length: 4096 }));
  if (reply?.kind !== "chunk") return reply?.error ?? -1;
  return reply.type === 5 ? 0 : readError(reply.data, reply.type === 0x8002).error;
}

test("BLOCK_STATUS needs the context selected last, for the very export chosen (NBD_OPT_SET_META_CONTEXT)", (t) => {
  const structured = option(8);
  const set = metaOption(10, "r0", ["base:allocation"]);
  const go = infoOption(7, "r0");
  t.is(blockStatusAfter(structured, set, go), 0);
  t.is(blockStatusAfter(structured, set, option(1, text("r0"))), 0);
  t.is(blockStatusAfter(go), 22, "nothing negotiated");
  t.is(blockStatusAfter(structured, go), 22, "nothing selected");
  t.is(blockStatusAfter(structured, set, infoOption(7, "r0/1")), 22, "selected for another export");
  t.is(blockStatusAfter(structured, set, metaOption(10, "r0", []), go), 22, "replaced by nothing");
  t.is(blockStatusAfter(structured, set, metaOption(10, "r1", ["base:allocation"]), go), 22, "replaced by a failure");
  t.is(blockStatusAfter(structured, set, option(10, text("x")), go), 22, "replaced by an invalid one");
  t.is(blockStatusAfter(structured, set, option(10, new Uint8Array(5000)), go), 22, "replaced by an oversized one");
  t.is(blockStatusAfter(structured, set, metaOption(9, "r0", []), go), 0, "listing selects nothing away");
});

test("transmission flags come from the device and from what was agreed (Transmission flags)", (t) => {
  const flagsOf = (device: MemoryDevice, structured: boolean) => {
    const connection = haggling(device);
    if (structured) connection.exchange(option(8));
    const [info] = connection.options(infoOption(6, "r0"));
    return new Reader(info?.data.subarray(10) ?? u16(0)).number(2);
  };
  t.is(flagsOf(new MemoryDevice(), false), 0xd6d);
  t.is(flagsOf(new MemoryDevice(), true), 0xd6d | 0x80);
  t.is(flagsOf(new MemoryDevice({ multiConnection: false }), false), 0xc6d);
  const secondary = new MemoryDevice();
  secondary.readOnly = true;
  // HAS_FLAGS, READ_ONLY, FLUSH, FUA, MULTI_CONN, CACHE.
  t.is(flagsOf(secondary, false), 0x50f);
});

test("block sizes come from the device, preferred at least the minimum", (t) => {
  const replies = haggling(new MemoryDevice({ block: 8192 })).options(infoOption(6, "r0"));
  t.deepEqual(replies[1]?.data, concat([u16(3), u32(8192), u32(8192), u32(33554432)]));
});

test("while shutting down options get SHUTDOWN, ABORT its acknowledgement, EXPORT_NAME a disconnect", (t) => {
  const connection = haggling();
  connection.session.shutdown();
  for (const code of [3, 6, 7, 8, 9, 10, 5, 77]) t.deepEqual(types(connection.options(option(code))), [SHUTDOWN]);
  t.deepEqual(types(connection.options(option(2))), [ACK]);
  const other = haggling();
  other.session.shutdown();
  other.exchange(option(1, text("r0")));
  t.true(other.stream.isDestroyed);
});

test("a client that vanishes while haggling leaves nothing behind", (t) => {
  const whole = concat([u32(3), option(8), metaOption(10, "r0", ["base:allocation"]), infoOption(6, "r0")]);
  for (let length = 0; length <= whole.length; length++) {
    const connection = connect();
    connection.exchange(whole.subarray(0, length));
    t.deepEqual(connection.faults(), []);
    t.is(connection.closed, "eof");
  }
});

test("a whole session byte by byte is the same as in one piece", (t) => {
  const whole = concat([
    u32(3),
    option(3),
    option(99, new Uint8Array(5000)),
    option(8),
    metaOption(10, "r0", ["base:allocation"]),
    infoOption(7, "r0", [1, 2, 3]),
    request({ type: BLOCK_STATUS, length: 8192 }),
    request({ type: DISC }),
  ]);
  const inOne = connect().exchange(whole);
  const connection = connect();
  const parts = [...whole].map((byte) => connection.exchange(Uint8Array.of(byte)));
  t.deepEqual(concat(parts), inOne);
  t.true(connection.stream.isEnded);
  t.deepEqual(connection.faults(), []);
});

test("every option and its answer is one trace line", (t) => {
  const connection = connect();
  connection.exchange(u32(3), option(8), option(5), option(77), infoOption(6, "nope"));
  t.deepEqual(connection.lines, [
    "NBD_OPT_STRUCTURED_REPLY NBD_REP_ACK",
    "NBD_OPT_STARTTLS NBD_REP_ERR_UNSUP",
    "0x4d NBD_REP_ERR_UNSUP",
    "NBD_OPT_INFO NBD_REP_ERR_UNKNOWN",
  ]);
});

test("requests may follow NBD_OPT_GO in the same segment", (t) => {
  const connection = connect();
  const sent = connection.exchange(
    concat([u32(3), infoOption(7, "r0"), request({ type: 3, cookie: 9 }), request({ type: DISC })]),
  );
  t.true(sent.length > 0);
  t.deepEqual(connection.settle(), hex("67446698 00000000 0000000000000009"));
  t.true(connection.stream.isEnded);
  t.deepEqual(connection.faults(), []);
  t.notThrows(() => connected().faults());
});
