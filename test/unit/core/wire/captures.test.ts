import test from "ava";
import { headerForm, writeHeader } from "../../../../src/core/wire/header.ts";
import { stateHead, stateRequest, syncParam } from "../../../../src/core/wire/heads.ts";
import { formOf, packets } from "../../../../src/core/wire/packets.ts";
import { packChange, packState, unpackChange, unpackState } from "../../../../src/core/wire/state-word.ts";
import { tracePacket } from "../../../../src/core/wire/trace.ts";
import { type CapturedPacket, captureNames, type DecodedLine, readCapture, readDecode, viewOf } from "./captured.ts";
import { fieldsOf } from "./decode-words.ts";

/** A line without what the decode shows of the data itself. */
function withoutExcerpt(line: DecodedLine): string {
  const { offset, header, volume, command, length, fields } = line;
  return `@${offset} h${header} v${volume} ${command} len=${length} ${fields.replace(/ data=".*"$/, "")}`.trimEnd();
}

function lineOf(packet: CapturedPacket): string {
  const length = packet.raw.byteLength - packet.headerBytes;
  const form = headerForm(packet.apv, length);
  return `@${packet.offset} h${form} v${packet.volume} ${packet.row.name} len=${length} ${fieldsOf(packet)}`.trimEnd();
}

/** Packets whose pad word carries stale memory: the vectors' README ("Padding is not zero"), and P_CSUM_RS_REQUEST in capture 67. */
const stalePads = new Set(["P_RS_DATA_REQUEST", "P_DATA_REQUEST", "P_OUT_OF_SYNC", "P_CSUM_RS_REQUEST"]);

/** Bytes that differ between a packet and what our encoder makes of its decoded fields. */
function differences(packet: CapturedPacket): string[] {
  const { row, apv, features, volume, raw, headerBytes } = packet;
  const again = new DataView(new ArrayBuffer(raw.byteLength));
  const length = raw.byteLength - headerBytes;
  writeHeader(again, 0, apv, row.code, volume, length);
  const { head } = formOf(row, apv, features);
  const values = head.decode(raw, headerBytes);
  const pads = Object.entries(head.fields).filter(([, type]) => type.reserved === true);
  for (const [name] of pads) delete values[name];
  head.encode(again, headerBytes, values);
  const tail = headerBytes + head.bytes;
  new Uint8Array(again.buffer, tail).set(new Uint8Array(raw.buffer, raw.byteOffset + tail, length - head.bytes));
  const found: string[] = [];
  const padAt = headerBytes + (head.offset["pad"] ?? 0);
  for (let at = 0; at < raw.byteLength; at++) {
    if (raw.getUint8(at) === again.getUint8(at)) continue;
    const stale = stalePads.has(row.name) && at >= padAt && at < padAt + 4;
    if (!stale) found.push(`${packet.where} ${row.name}: byte ${at}`);
  }
  return found;
}

function byFlow(lines: readonly DecodedLine[]): string[] {
  const flows = new Map<string, string[]>();
  for (const line of lines) flows.set(line.flow, [...(flows.get(line.flow) ?? []), withoutExcerpt(line)]);
  return [...flows.values()].map((flow) => flow.join("\n")).toSorted();
}

for (const name of captureNames()) {
  test(`${name}: every packet decodes as the independent decode says and encodes to the same bytes (§2)`, (t) => {
    const flows = readCapture(name);
    const decode = readDecode(name);
    t.deepEqual(flows.map((flow) => flow.map(lineOf).join("\n")).toSorted(), byFlow(decode));
    t.true(decode.length > 0);
    for (const packet of flows.flat()) {
      const wrong = differences(packet);
      if (wrong.length > 0) t.fail(wrong.slice(0, 5).join("; "));
      const { apv, features, digestBytes, volume, row, headerBytes, raw } = packet;
      const header = { command: row.code, volume, length: raw.byteLength - headerBytes };
      const line = tracePacket(header, raw, headerBytes, header.length, { apv, features, digestBytes });
      if (!line.startsWith(`h${headerForm(apv, header.length)} v${volume} ${row.name} len=${header.length}`))
        t.fail(line);
    }
  });
}

test("every state word and state change of the captures survives unpacking and packing (§4.2)", (t) => {
  let words = 0;
  for (const packet of captureNames().flatMap((name) => readCapture(name).flat())) {
    const at = packet.headerBytes;
    if (packet.row.name === "P_STATE") {
      const word = stateHead.decode(packet.raw, at).state;
      const state = unpackState(word);
      t.true(typeof state !== "string" && packState(state) === word, packet.where);
      words++;
    } else if (packet.row.name.endsWith("_CHG_REQ")) {
      const { mask, val } = stateRequest.decode(packet.raw, at);
      const change = unpackChange(mask, val);
      t.true(typeof change !== "string");
      if (typeof change !== "string") t.deepEqual(packChange(change), { mask, val });
      words++;
    }
  }
  t.is(words, 270 + 60);
});

test("the captures hold every command but five, each as often as the decodes and the vectors' README say", (t) => {
  const framed = captureNames().flatMap((name) => readCapture(name).flat());
  const decoded = captureNames().flatMap(readDecode);
  const counts = countOf(framed.map(({ row }) => row.name));
  t.deepEqual(counts, countOf(decoded.map(({ command }) => command)));
  const absent = Object.keys(packets).filter((name) => !counts.has(name));
  t.deepEqual(absent, ["P_BECOME_SYNC_TARGET", "P_BECOME_SYNC_SOURCE", "P_DELAY_PROBE", "P_RS_CANCEL", "P_WSAME"]);
});

function countOf(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names.toSorted()) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

test("a view of part of a buffer is read at its own offset", (t) => {
  const bytes = new Uint8Array([9, 9, 0, 0, 0, 7]).subarray(2);
  t.is(syncParam.decode(viewOf(bytes), 0).resyncRate, 7);
});
