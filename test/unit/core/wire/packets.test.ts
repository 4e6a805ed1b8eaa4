import { readFileSync } from "node:fs";
import test from "ava";
import { NOT_AGREED } from "../../../../src/core/wire/agreement.ts";
import { emptyHeader, headerForm, parseHeader } from "../../../../src/core/wire/header.ts";
import {
  bufferPayloadBytes,
  checkPacket,
  checkSize,
  dataBytes,
  findPacket,
  formOf,
  headerBytes,
  packetName,
  packets,
} from "../../../../src/core/wire/packets.ts";
import { vectors, viewOf } from "./captured.ts";
import { fieldsOf } from "./decode-words.ts";

/** §2.3 row by row: number, name, socket, fixed size at apv 101 with all features, and "P" if payload may follow. */
const catalogue = `
  0000 P_DATA               D 24 P | 0001 P_DATA_REPLY         D 24 P | 0002 P_RS_DATA_REPLY      D 24 P
  0003 P_BARRIER            D  8   | 0004 P_BITMAP             D  0 P | 0005 P_BECOME_SYNC_TARGET -  0
  0006 P_BECOME_SYNC_SOURCE -  0   | 0007 P_UNPLUG_REMOTE      D  0   | 0008 P_DATA_REQUEST       D 24
  0009 P_RS_DATA_REQUEST    D 24   | 000a P_SYNC_PARAM         D 148  | 000b P_PROTOCOL           D 24 P
  000c P_UUIDS              D 48   | 000d P_SIZES              D 56   | 000e P_STATE              D  4
  000f P_SYNC_UUID          D  8   | 0010 P_AUTH_CHALLENGE     D  0 P | 0011 P_AUTH_RESPONSE      D  0 P
  0012 P_STATE_CHG_REQ      D  8   | 0013 P_PING               M  0   | 0014 P_PING_ACK           M  0
  0015 P_RECV_ACK           M 24   | 0016 P_WRITE_ACK          M 24   | 0017 P_RS_WRITE_ACK       M 24
  0018 P_SUPERSEDED         M 24   | 0019 P_NEG_ACK            M 24   | 001a P_NEG_DREPLY         M 24
  001b P_NEG_RS_DREPLY      M 24   | 001c P_BARRIER_ACK        M  8   | 001d P_STATE_CHG_REPLY    M  4
  001e P_OV_REQUEST         D 24   | 001f P_OV_REPLY           D 24 P | 0020 P_OV_RESULT          M 24
  0021 P_CSUM_RS_REQUEST    D 24 P | 0022 P_RS_IS_IN_SYNC      M 24   | 0023 P_SYNC_PARAM89       D 148
  0024 P_COMPRESSED_BITMAP  D  0 P | 0027 P_DELAY_PROBE        B  8   | 0028 P_OUT_OF_SYNC        D 16
  0029 P_RS_CANCEL          M 24   | 002a P_CONN_ST_CHG_REQ    D  8   | 002b P_CONN_ST_CHG_REPLY  M  4
  002c P_RETRY_WRITE        M 24   | 002d P_PROTOCOL_UPDATE    D 24 P | 0031 P_TRIM               D 28
  0032 P_RS_THIN_REQ        D 24   | 0033 P_RS_DEALLOCATED     D 16   | 0034 P_WSAME              D 28 P
  0036 P_ZEROES             D 28   | fff1 P_INITIAL_META       M  0   | fff2 P_INITIAL_DATA       D  0
  fffe P_CONNECTION_FEATURES D 72`;

interface CatalogueRow {
  readonly code: number;
  readonly name: string;
  readonly socket: string;
  readonly size: number;
  readonly payload: boolean;
}

const rows: CatalogueRow[] = catalogue.split(/[|\n]/).flatMap((cell) => {
  const [code, name, socket, size, payload] = cell.trim().split(/\s+/);
  if (code === undefined || name === undefined || socket === undefined) return [];
  return [{ code: Number.parseInt(code, 16), name, socket, size: Number(size), payload: payload === "P" }];
});
const streams: Readonly<Record<string, string>> = { D: "data", M: "control", B: "both", "-": "none" };

test("the table has the rows of §2.3 and no other", (t) => {
  const ours = Object.values(packets).map((row) => [row.code, row.name, row.stream]);
  t.deepEqual(
    ours,
    rows.map(({ code, name, socket }) => [code, name, streams[socket]]),
  );
});

test("every unlisted number is unknown (§2.3)", (t) => {
  const known = new Set(rows.map(({ code }) => code));
  for (let code = 0; code <= 0xffff; code++) t.is(findPacket(code) === undefined, !known.has(code));
  t.is(packetName(0x0105), "0x0105");
  t.is(checkPacket(0x25, 0, "data", 101, 0xf), "unexpected packet 0x0025 on the data stream, length 0");
});

for (const { name, code, size, payload, socket } of rows) {
  const row = packets[name as keyof typeof packets];
  const { head, tail } = formOf(row, 101, 0xf);

  test(`${name}: fixed size ${size}, ${payload ? "payload may follow" : "nothing may follow"} (§2.2, §2.3)`, (t) => {
    t.is(head.bytes, size);
    t.is(tail.max > 0, payload);
    const most = size + (tail.inBuffer === true ? 4080 : tail.max);
    const least = size + tail.min;
    t.is(checkSize(row, least, 101, 0xf), undefined);
    t.is(checkSize(row, most, 101, 0xf), undefined);
    const expected = least === most ? `${size}` : `${least}..${most}`;
    for (const length of [least - 1, most + 1, 0xffffffff]) {
      if (length < 0) continue;
      t.is(
        checkSize(row, length, 101, 0xf),
        `${name}: unexpected packet size, expected:${expected} received:${length}`,
      );
    }
  });

  test(`${name}: good on its own stream, bad on the other (§2.3)`, (t) => {
    const length = size + tail.min;
    const onData = checkPacket(code, length, "data", 101, 0xf);
    const onControl = checkPacket(code, length, "control", 101, 0xf);
    t.is(onData === undefined, socket === "D" || socket === "B");
    t.is(onControl === undefined, socket === "M" || socket === "B");
    if (socket === "M") t.is(onData, `${name}: unexpected packet on the data stream, expected:control`);
  });
}

test("packets of the connection carry volume 0 (§2.1)", (t) => {
  const ofConnection = Object.values(packets).filter(({ scope }) => scope === "connection");
  t.deepEqual(
    ofConnection.map(({ name }) => name),
    [
      ...["P_BARRIER", "P_PROTOCOL", "P_AUTH_CHALLENGE", "P_AUTH_RESPONSE", "P_PING", "P_PING_ACK", "P_BARRIER_ACK"],
      ...["P_CONN_ST_CHG_REQ", "P_CONN_ST_CHG_REPLY", "P_PROTOCOL_UPDATE", "P_INITIAL_META", "P_INITIAL_DATA"],
      "P_CONNECTION_FEATURES",
    ],
  );
});

test("P_SIZES is 56 bytes with feature WSAME and 32 without, at every version (§2.2)", (t) => {
  for (const apv of [86, 94, 95, 99, 100, 101]) {
    t.is(checkSize(packets.P_SIZES, 56, apv, 0xf), undefined);
    t.is(checkSize(packets.P_SIZES, 32, apv, 0xb), undefined);
    t.is(checkSize(packets.P_SIZES, 32, apv, 4), "P_SIZES: unexpected packet size, expected:56 received:32");
    t.is(checkSize(packets.P_SIZES, 56, apv, 0), "P_SIZES: unexpected packet size, expected:32 received:56");
  }
});

const sizesAt = test.macro({
  exec(t, name: "P_SYNC_PARAM" | "P_SYNC_PARAM89" | "P_PROTOCOL", apv: number, least: number, most: number) {
    for (let length = 0; length < 200; length++) {
      const good = length >= least && length <= most;
      t.is(checkSize(packets[name], length, apv, 0xf) === undefined, good, `${length}`);
    }
  },
  title: (_, name: string, apv: number, least: number, most: number) =>
    `${name} at ${apv}: ${least} to ${most} bytes (§2.4)`,
});
test(sizesAt, "P_SYNC_PARAM", 86, 4, 4);
test(sizesAt, "P_SYNC_PARAM", 87, 4, 4);
test(sizesAt, "P_SYNC_PARAM", 88, 5, 68);
test(sizesAt, "P_SYNC_PARAM89", 89, 132, 132);
test(sizesAt, "P_SYNC_PARAM89", 94, 132, 132);
test(sizesAt, "P_SYNC_PARAM89", 95, 148, 148);
test(sizesAt, "P_SYNC_PARAM89", 101, 148, 148);
test(sizesAt, "P_PROTOCOL", 86, 24, 24);
test(sizesAt, "P_PROTOCOL", 87, 25, 88);
test(sizesAt, "P_PROTOCOL", 101, 25, 88);

test("a bitmap packet and its header fit into 4096 bytes in both header sizes (§6.2)", (t) => {
  t.deepEqual([bufferPayloadBytes(101), bufferPayloadBytes(99)], [4080, 4088]);
  for (const row of [packets.P_BITMAP, packets.P_COMPRESSED_BITMAP]) {
    t.is(checkSize(row, 4088, 99, 0), undefined);
    t.not(checkSize(row, 4089, 99, 0), undefined);
    t.not(checkSize(row, 4088, 100, 0), undefined);
  }
  t.not(checkSize(packets.P_COMPRESSED_BITMAP, 1, 100, 0), undefined);
});

test("data: whole sectors up to 1 MiB after the digest (§2.4, §8.5)", (t) => {
  t.is(dataBytes("P_DATA", 24 + 4096, 0), 4096);
  t.is(dataBytes("P_DATA", 24 + 20 + 2 ** 20, 20), 2 ** 20);
  const violation = (size: number, digest: number) =>
    `P_DATA: data size expected:512..1048576 in whole sectors received:${size} (digest ${digest})`;
  t.is(dataBytes("P_DATA", 24, 0), violation(0, 0));
  t.is(dataBytes("P_DATA", 24 + 10, 20), violation(-10, 20));
  t.is(dataBytes("P_DATA", 24 + 513, 0), violation(513, 0));
  t.is(dataBytes("P_DATA", 24 + 2 ** 20 + 512, 0), violation(2 ** 20 + 512, 0));
});

interface PacketVector {
  readonly file: string;
  readonly header: number;
  readonly volume: number;
  readonly command: string;
  readonly command_hex: string;
  readonly payload_length: number;
  readonly fields: string;
  readonly raw: string;
}
const packetVectors: readonly PacketVector[] = JSON.parse(readFileSync(`${vectors}packets.json`, "utf8"));

/** Version and features of a scripted run by its name, else those of two kernels. */
function agreedIn(file: string): { apv: number; features: number } {
  const [, version, none] = /peer-(\d+)(f0)?/.exec(file) ?? [];
  return { apv: Number(version ?? 101), features: none === undefined ? 0xf : 0 };
}

/** Integrity algorithm by capture (vectors' README). */
function digestIn(file: string): number {
  if (/\d(f0)?p\.pcap/.test(file)) return 16;
  if (/16-data-integrity/.test(file)) return 4;
  return /15-data-integrity|18-zeroes/.test(file) ? 20 : 0;
}

test("each of the 159 single packets decodes to its header and fields (packets.json)", (t) => {
  t.is(packetVectors.length, 159);
  const header = emptyHeader();
  for (const vector of packetVectors) {
    const raw = viewOf(Buffer.from(vector.raw, "hex"));
    const agreed = agreedIn(vector.file);
    const early = ["P_INITIAL_META", "P_INITIAL_DATA", "P_CONNECTION_FEATURES"].includes(vector.command);
    const apv = early ? NOT_AGREED : agreed.apv;
    t.is(parseHeader(raw, 0, apv, header), undefined, vector.file);
    t.deepEqual(header, {
      ...{ command: Number(vector.command_hex), volume: vector.volume, length: vector.payload_length },
    });
    t.is(headerForm(apv, header.length), vector.header as 80 | 95 | 100);
    const row = findPacket(header.command);
    if (row === undefined) throw new Error(vector.command);
    t.is(row.name, vector.command);
    t.is(checkSize(row, header.length, agreed.apv, agreed.features), undefined);
    const packet = { where: vector.file, offset: 0, row, volume: header.volume, raw, headerBytes: headerBytes(apv) };
    const fields = fieldsOf({ ...packet, apv, features: agreed.features, digestBytes: digestIn(vector.file) });
    t.is(fields, vector.fields.replace(/ data=".*"$/, "").trimEnd(), `${vector.file} ${vector.command}`);
  }
});
