/** Who may speak (heartbeat §4, §14). */
import test from "ava";
import type { AuthKeys } from "../../../../src/heartbeat/core/wire/authentication.ts";
import { bytesOfText } from "../../../../src/heartbeat/core/wire/bytes.ts";
import { isViolation, stringField, textOf } from "../../../../src/heartbeat/core/wire/message.ts";
import { decodePacket, defaultForm, encodePacket } from "../../../../src/heartbeat/core/wire/packet.ts";
import { contextFor, labKeys } from "../_captures.ts";

const message = [stringField("t", "status"), stringField("src", "host01"), stringField("ts", "1")];
const keys = (
  current: number,
  ...entries: readonly (readonly [number, "crc" | "md5" | "sha1", string])[]
): AuthKeys => ({
  current,
  entries: new Map(entries.map(([number, method, key]) => [number, { method, key }])),
});
const refusal = (bytes: Uint8Array, by: AuthKeys): string => {
  const packet = decodePacket(bytes, contextFor(by));
  return isViolation(packet) ? packet.violation : "accepted";
};

for (const form of [defaultForm, { ...defaultForm, form: "classic" as const }]) {
  const written = (by: AuthKeys): Uint8Array => encodePacket(message, form, contextFor(by));
  test(`§4.2, ${form.form}: a wrong key, an unknown entry and another method are refused, each by its reason`, (t) => {
    const receiver = keys(1, [1, "sha1", "KeyA"]);
    t.is(refusal(written(keys(1, [1, "sha1", "KeyA"])), receiver), "accepted");
    t.is(refusal(written(keys(1, [1, "sha1", "KeyB"])), receiver), "auth: sha1 digest of entry 1 does not match");
    t.is(refusal(written(keys(1, [1, "md5", "KeyA"])), receiver), "auth: sha1 digest of entry 1 does not match");
    t.is(refusal(written(keys(2, [2, "sha1", "KeyA"])), receiver), "auth: our authkeys have no entry 2");
  });

  test(`§4.2, ${form.form}: an entry that is not our current one is verified with its own key (3.0.6 errs here)`, (t) => {
    const receiver = keys(3, [2, "md5", "KeyA"], [3, "sha1", "KeyB"]);
    t.is(refusal(written(keys(2, [2, "md5", "KeyA"])), receiver), "accepted");
    t.is(refusal(written(keys(2, [2, "md5", "KeyB"])), receiver), "auth: md5 digest of entry 2 does not match");
  });

  test(`§4.1, ${form.form}: keys longer than a block of the hash are taken as HMAC says`, (t) => {
    const long = keys(1, [1, "md5", "k".repeat(100)]);
    t.is(refusal(written(long), long), "accepted");
    t.not(refusal(written(long), keys(1, [1, "md5", "k".repeat(99)])), "accepted");
  });
}

test("§4.2: tokens that are none are refused", (t) => {
  const body = "###\n8:(0)t=abc,%%%\n";
  for (const token of ["", "1", "1 ", " 1 abc", "1 ABC", "one abc", "100 abc", "-1 abc"]) {
    t.regex(refusal(bytesOfText(`${body}${token.length}:${token},`), labKeys(1)), /^auth: expected|^auth: our/, token);
  }
  t.regex(refusal(bytesOfText(body), labKeys(1)), /^trailer: /);
  t.regex(refusal(bytesOfText(`${body}5:1 abc,x`), labKeys(1)), /1 bytes after the trailer/);
  t.is(refusal(bytesOfText(">>>\nt=abc\n<<<\n"), labKeys(1)), "auth: the field is missing");
});

test("§3.3: a compressed packet that lies about itself is refused: wrong algorithm, damaged, or without limit", (t) => {
  const context = contextFor(labKeys(1));
  const refused = (payload: Uint8Array, algorithm: string): string => {
    const outer = [
      { type: 1 as const, name: "_compressed_payload", value: payload },
      stringField("_compression_algorithm", algorithm),
    ];
    return refusal(encodePacket(outer, { ...defaultForm, innerAuth: false }, context), labKeys(1));
  };
  const bomb = context.compression.compress("zlib", new Uint8Array(3 * 1024 * 1024)) ?? new Uint8Array(0);
  t.regex(refused(bomb, "zlib"), /cannot be expanded/);
  t.regex(refused(bomb.subarray(0, 20), "zlib"), /cannot be expanded/);
  t.regex(refused(bomb, "bz2"), /cannot be expanded/);
  t.regex(refused(context.compression.compress("zlib", bytesOfText("hello")) ?? bomb, "zlib"), /expected ###/);
});

test("§3.2: classic packets whose fields come in any order are one message; the signature follows the order given", (t) => {
  const context = contextFor(labKeys(2));
  const turned = encodePacket([...message].reverse(), { ...defaultForm, form: "classic" }, context);
  const packet = decodePacket(turned, context);
  if (isViolation(packet)) return t.fail(packet.violation);
  t.is(textOf(packet.message, "src"), "host01");
  return undefined;
});
