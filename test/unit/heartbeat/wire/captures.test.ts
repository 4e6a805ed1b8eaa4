/** Every packet that real daemons sent is read, verified and written again byte for byte (heartbeat §3, §4, §20). */
import test from "ava";
import { digestText } from "../../../../src/heartbeat/core/wire/authentication.ts";
import { signedClassicText } from "../../../../src/heartbeat/core/wire/classic.ts";
import { isViolation, textOf } from "../../../../src/heartbeat/core/wire/message.ts";
import { decodeNetstring } from "../../../../src/heartbeat/core/wire/netstring.ts";
import { decodePacket, encodePacket } from "../../../../src/heartbeat/core/wire/packet.ts";
import {
  envelopeOf,
  fieldFormats,
  isMessageType,
  isSequenced,
  messageTypes,
} from "../../../../src/heartbeat/core/wire/vocabulary.ts";
import { capturedPackets, captureNames, contextFor, digests, knownAnswers, labKeys } from "../_captures.ts";

/** From the description of the captures: 2223 UDP packets in all. */
const UDP_PACKETS = 2223;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

for (const name of captureNames) {
  test(`${name}: every packet verifies and is written again byte for byte`, (t) => {
    const packets = capturedPackets(name);
    t.true(packets.length > 100);
    for (const { payload } of packets) {
      const packet = decodePacket(payload, contextFor(labKeys(3)));
      if (isViolation(packet)) return t.fail(`${packet.violation}: ${Buffer.from(payload).toString("latin1")}`);
      const again = encodePacket(packet.message, packet.form, contextFor(labKeys(packet.authNumber)));
      t.is(hex(again), hex(payload));
    }
    return undefined;
  });

  test(`${name}: each message has an envelope, and fields of the known formats`, (t) => {
    for (const { payload, carrier } of capturedPackets(name)) {
      const packet = decodePacket(payload, contextFor(labKeys(3)));
      if (isViolation(packet)) return t.fail(packet.violation);
      const envelope = envelopeOf(packet.message);
      if ("violation" in envelope) return t.fail(envelope.violation);
      if (isMessageType(envelope.type)) t.is(messageTypes[envelope.type].sequenced, isSequenced(envelope.type));
      else t.is(envelope.type, "labtest");
      t.is(envelope.seq !== undefined, isSequenced(envelope.type));
      t.is(carrier === "udp", envelope.type !== "NS_st");
      for (const field of packet.message) {
        if (envelope.type === "labtest" && field.name.startsWith("pad")) continue;
        const format = fieldFormats[field.name as keyof typeof fieldFormats];
        t.truthy(format, field.name);
        if (format === "uuid") t.true(field.type === 1 && field.value.length === 16);
        const text = textOf(packet.message, field.name) ?? "";
        if (format === "hex") t.regex(text, /^[1-9a-f][0-9a-f]*$/, field.name);
        if (format === "decimal") t.regex(text, /^[0-9]+$/, field.name);
        if (format === "word") t.regex(text, /^[\w.-]+$/, field.name);
      }
    }
    return undefined;
  });
}

test("the captures hold the 2223 UDP packets their description names", (t) => {
  const udp = captureNames.flatMap((name) => capturedPackets(name).filter((packet) => packet.carrier === "udp"));
  t.is(udp.length, UDP_PACKETS);
});

for (const [index, answer] of knownAnswers.entries()) {
  test(`known answer ${index} (${answer.source}, ${answer.method}): fields, signed ranges, digests`, (t) => {
    const bytes = new Uint8Array(Buffer.from(answer.packet_hex, "hex"));
    const entry = { method: answer.method, key: answer.key };
    const keys = { current: answer.authnum, entries: new Map([[answer.authnum, entry]]) };
    const packet = decodePacket(bytes, contextFor(keys));
    if (isViolation(packet)) return t.fail(packet.violation);
    t.is(packet.form.form, answer.form);
    t.is(packet.authNumber, answer.authnum);
    t.is(hex(encodePacket(packet.message, packet.form, contextFor(keys))), answer.packet_hex);

    // A compressed packet is described as it stands on the wire.
    const onWire = decodeNetstring(bytes);
    const described = packet.form.compression === undefined || isViolation(onWire) ? packet.message : onWire.message;
    const fields = described.map(({ type, name, value }) =>
      typeof value === "string" ? { type, name, value } : { type, name, hex: hex(value as Uint8Array) },
    );
    t.deepEqual(fields, answer.fields as typeof fields);

    if (answer.trailer_signed_bytes !== undefined) {
      const digest = digestText(entry, bytes.subarray(0, answer.trailer_signed_bytes), digests);
      t.is(`${answer.authnum} ${digest}`, answer.trailer ?? "");
    }
    if (answer.inner !== undefined) {
      const signed = signedClassicText(packet.message);
      t.is(Buffer.from(signed).toString("base64"), answer.inner_signed_text_base64 ?? "");
      t.is(`${answer.authnum} ${digestText(entry, signed, digests)}`, answer.inner ?? "");
      t.is(textOf(packet.message, "auth"), answer.inner);
    }
    return undefined;
  });
}
