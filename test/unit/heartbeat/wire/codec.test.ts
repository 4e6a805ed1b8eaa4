/** Both forms as languages: what is written is read again, and nothing that is no message is taken for one. */
import test from "ava";
import fc from "fast-check";
import { base64OfBytes, bytesOfBase64, bytesOfText } from "../../../../src/heartbeat/core/wire/bytes.ts";
import { decodeClassic, encodeClassic } from "../../../../src/heartbeat/core/wire/classic.ts";
import { heartbeatCrc } from "../../../../src/heartbeat/core/wire/crc.ts";
import { type Field, isViolation, type Message, stringField } from "../../../../src/heartbeat/core/wire/message.ts";
import { decodeNetstring, encodeNetstring } from "../../../../src/heartbeat/core/wire/netstring.ts";
import {
  decodePacket,
  defaultForm,
  encodePacket,
  type PacketForm,
} from "../../../../src/heartbeat/core/wire/packet.ts";
import { capturedPackets, captureNames, contextFor, labKeys } from "../_captures.ts";

const byteText = (least: number): fc.Arbitrary<string> =>
  fc.array(fc.integer({ min: least, max: 255 }), { maxLength: 40 }).map((codes) => String.fromCharCode(...codes));
const name = fc.stringMatching(/^[A-Za-z_][\w-]{0,19}$/).filter((word) => word !== "auth");

/** `least`: the classic form keeps control characters below 32 for itself, except that a newline survives in a string. */
function messages(least: number): fc.Arbitrary<Message> {
  const leaf: fc.Arbitrary<Field> = fc.oneof(
    fc.record({ type: fc.constant(0 as const), name, value: byteText(least) }),
    fc.record({ type: fc.constantFrom(1 as const, 4 as const), name, value: fc.uint8Array({ maxLength: 40 }) }),
    fc.record({ type: fc.constant(3 as const), name, value: fc.array(byteText(least), { maxLength: 4 }) }),
  );
  const flat = fc.array(leaf, { maxLength: 6 });
  const nest = (inner: fc.Arbitrary<Message>): fc.Arbitrary<Message> =>
    fc.array(fc.oneof(leaf, fc.record({ type: fc.constantFrom(2 as const, 5 as const), name, value: inner })), {
      maxLength: 4,
    });
  return fc.oneof(flat, nest(flat), nest(nest(nest(flat))));
}

test("§3.1: every message in netstring form is read as it was written, also with newlines, commas and zero bytes", (t) => {
  fc.assert(
    fc.property(messages(0), (message) => {
      const bytes = encodeNetstring(message);
      t.deepEqual(decodeNetstring(bytes), { message, end: bytes.length });
    }),
  );
});

test("§3.2: every message in classic form is read as it was written, also nested, with and without the NUL of 2.1.x", (t) => {
  fc.assert(
    fc.property(messages(32), fc.boolean(), (message, endsWithNul) => {
      t.deepEqual(decodeClassic(encodeClassic(message, endsWithNul)), { message, endsWithNul });
    }),
  );
});

test("§3.2: a newline in a string travels as byte 0x13; nested newlines as 20, 21 by depth", (t) => {
  const nested: Message = [{ type: 2, name: "c", value: [{ type: 2, name: "d", value: [stringField("e", "f")] }] }];
  const text = Buffer.from(encodeClassic([stringField("a", "1\n2"), ...nested], false)).toString("latin1");
  t.is(text, ">>>\na=1\x132\n(2)c=>>>\x14(2)d=>>>\x15e=f\x15<<<\x15\x14<<<\x14\n<<<\n");
});

test("§3: a message without fields is one", (t) => {
  t.deepEqual(decodeNetstring(bytesOfText("###\n%%%\n")), { message: [], end: 8 });
  t.deepEqual(decodeClassic(bytesOfText(">>>\n<<<\n")), { message: [], endsWithNul: false });
});

const netstringViolations: readonly (readonly [string, RegExp])[] = [
  ["", /expected ###/],
  ["###", /expected ###/],
  ["###\n", /expected a length/],
  ["###\n%%%", /expected a length/],
  ["###\n5:(0)a=", /5, but 5 bytes follow/],
  ["###\n5:(0)a=;%%%\n", /expected ','/],
  ["###\n05:(0)a=,%%%\n", /expected a length, found "05:"/],
  ["###\n99999999:(0)a=,%%%\n", /expected a length and ':'/],
  ["###\n-5:(0)a=,%%%\n", /expected a length and ':'/],
  ["###\n4:(0)a,%%%\n", /expected \(T\)name=value/],
  ["###\n3:a=b,%%%\n", /expected \(T\)name=value/],
  ["###\n4:(0)=,%%%\n", /expected \(T\)name=value/],
  ["###\n5:(7)a=,%%%\n", /a: expected type 0 to 5, found 7/],
  ["###\n6:(2)a=x,%%%\n", /a: expected ###/],
  ["###\n14:(2)a=###\n%%%\nx,%%%\n", /a: 1 bytes after %%%/],
  ["###\n7:(3)a=3:,%%%\n", /a: offset 0/],
];
for (const [text, pattern] of netstringViolations) {
  test(`§3.1: no message: ${JSON.stringify(text)}`, (t) => {
    const decoded = decodeNetstring(bytesOfText(text));
    t.regex("violation" in decoded ? decoded.violation : "accepted", pattern);
  });
}

const classicViolations: readonly (readonly [string, RegExp])[] = [
  ["a=b\n<<<\n", /expected >>>/],
  [">>>\na=b\n", /expected <<< at the end/],
  [">>>\na=b<<<\n", /expected <<< at the end/],
  [">>>\nab\n<<<\n", /expected name=value, found "ab"/],
  [">>>\n=b\n<<<\n", /expected name=value/],
  [">>>\n\n<<<\n", /expected name=value/],
  [">>>\n(1)a=AAA\n<<<\n", /a: not base64/],
  [">>>\n(1)a=AB==\n<<<\n", /a: not base64/],
  [">>>\n(8)a=b\n<<<\n", /a: expected type 0 to 5, found 8/],
  [">>>\n(2)a=b\n<<<\n", /a: expected >>>/],
];
for (const [text, pattern] of classicViolations) {
  test(`§3.2: no message: ${JSON.stringify(text)}`, (t) => {
    const decoded = decodeClassic(bytesOfText(text));
    t.regex("violation" in decoded ? decoded.violation : "accepted", pattern);
  });
}

test("a message nested deeper than there are control bytes for is refused, in both forms, without running out of stack", (t) => {
  let deep: Message = [];
  for (let n = 0; n < 40; n++) deep = [{ type: 2, name: "a", value: deep }];
  t.true(isViolation(decodeNetstring(encodeNetstring(deep))));
  t.true(isViolation(decodeClassic(encodeClassic(deep, false))));
});

test("§4.1: the crc is cksum's without the length; cksum(1) of nothing is the complement of zero", (t) => {
  t.is(heartbeatCrc(new Uint8Array(0)), 0xffffffff);
  // cksum appends the length, least significant byte first: fed by hand it gives cksum's answer for "123456789".
  t.is(heartbeatCrc(bytesOfText("123456789\x09")), 930766865);
});

test("§3.2: base64 with padding, RFC 4648's test vectors; anything else is refused", (t) => {
  const vectors = [
    ["", ""],
    ["f", "Zg=="],
    ["fo", "Zm8="],
    ["foo", "Zm9v"],
    ["foob", "Zm9vYg=="],
    ["fooba", "Zm9vYmE="],
    ["foobar", "Zm9vYmFy"],
  ] as const;
  for (const [plain, coded] of vectors) {
    t.is(base64OfBytes(bytesOfText(plain)), coded);
    t.deepEqual(bytesOfBase64(coded), bytesOfText(plain));
  }
  for (const bad of ["Z", "Zg", "Zg=", "Zh==", "Z===", "====", "Zm9v\n", "Zm=v", "Zm 9"])
    t.is(bytesOfBase64(bad), undefined, bad);
});

const context = contextFor(labKeys(3));
const forms: readonly PacketForm[] = [
  defaultForm,
  { ...defaultForm, innerAuth: false },
  { ...defaultForm, innerAuth: false, compression: { algorithm: "zlib", threshold: 0 } },
  { ...defaultForm, form: "classic" },
  { ...defaultForm, form: "classic", endsWithNul: true },
];

test("§4: every message survives signing, compression and both forms, with each method", (t) => {
  fc.assert(
    fc.property(messages(32), fc.constantFrom(...forms), fc.constantFrom(1, 2, 3), (message, form, number) => {
      const packet = decodePacket(encodePacket(message, form, contextFor(labKeys(number))), context);
      if (isViolation(packet)) return t.fail(packet.violation);
      t.deepEqual(
        packet.message.filter((field) => field.name !== "auth"),
        message,
      );
      t.deepEqual(packet.form.form, form.form);
      t.is(packet.authNumber, number);
      return undefined;
    }),
  );
});

/** Real packets of every capture, and some of ours in the remaining forms. */
const seeds: readonly Uint8Array[] = [
  ...captureNames
    .flatMap((file) => capturedPackets(file).filter((_, n) => n % 20 === 0))
    .map((packet) => packet.payload),
  ...forms.map((form) => encodePacket([stringField("t", "status"), stringField("ld", "a\nb")], form, context)),
];

test("fuzz: a packet with any byte changed, removed or added is refused, unless its meaning is the same", (t) => {
  const mutation = fc.record({
    seed: fc.constantFrom(...seeds),
    at: fc.nat(),
    with: fc.uint8Array({ maxLength: 3 }),
    drop: fc.integer({ min: 0, max: 3 }),
  });
  let refused = 0;
  fc.assert(
    fc.property(mutation, (m) => {
      const at = m.at % m.seed.length;
      const bytes = Buffer.concat([m.seed.subarray(0, at), m.with, m.seed.subarray(at + m.drop)]);
      if (bytes.equals(m.seed)) return;
      const before = decodePacket(m.seed, context);
      const after = decodePacket(bytes, context);
      if (isViolation(before)) return t.fail(before.violation);
      if (isViolation(after)) {
        refused++;
        return;
      }
      // The classic form does not sign its NUL at the end, nor where the field `auth` stands.
      t.deepEqual(
        new Set(after.message.filter((field) => field.name !== "auth")),
        new Set(before.message.filter((field) => field.name !== "auth")),
      );
    }),
    { numRuns: 3000 },
  );
  t.true(refused > 2500);
});

test("fuzz: no bytes make the decoder throw", (t) => {
  const pieces = [
    "###\n",
    ">>>\n",
    "%%%\n",
    "<<<\n",
    "5:(0)a=,",
    "(2)a=",
    "(3)",
    "=",
    "\n",
    ":",
    ",",
    "\0",
    "9",
    "(1)_compressed_payload=",
  ];
  const noise = fc
    .array(fc.oneof(fc.constantFrom(...pieces), byteText(0)), { maxLength: 12 })
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(noise, fc.constantFrom("", "###\n", ">>>\n"), (text, head) => {
      decodePacket(bytesOfText(head + text), context);
      decodeNetstring(bytesOfText(head + text));
      decodeClassic(bytesOfText(head + text));
    }),
    { numRuns: 3000 },
  );
  t.pass();
});
