import test from "ava";
import fc from "fast-check";
import * as heads from "../../../../src/core/wire/heads.ts";
import * as hot from "../../../../src/core/wire/hot-packets.ts";
import { formOf, packets } from "../../../../src/core/wire/packets.ts";
import { type CapturedPacket, captureNames, readCapture } from "./captured.ts";

const hex = (view: DataView, length: number) => Buffer.from(view.buffer, view.byteOffset, length).toString("hex");
const out = () => new DataView(new ArrayBuffer(64));

test("the write, ack and barrier of §12.2 are written byte for byte", (t) => {
  const view = out();
  const idHigh = 0xe06e51dd;
  const idLow = 0x52fe3eff;
  t.is(hot.writeData(view, 0, 101, packets.P_DATA.code, 0, 4096, 24, idHigh, idLow, 6, 0x112), 40);
  t.is(hex(view, 40), "8620ec200000000000001018000000000000000000000018e06e51dd52fe3eff0000000600000112");
  t.is(hot.writeBlockAck(view, 0, 101, packets.P_WRITE_ACK.code, 0, 24, idHigh, idLow, 4096, 6), 40);
  t.is(hex(view, 40), "8620ec200000001600000018000000000000000000000018e06e51dd52fe3eff0000100000000006");
  t.is(hot.writeBarrier(view, 0, 101, 0x05000000), 24);
  t.is(hex(view, 24), "8620ec200000000300000008000000000500000000000000");
  t.is(hot.writeBarrierAck(view, 0, 101, 0x05000000, 1), 24);
  t.is(hex(view, 24), "8620ec200000001c00000008000000000500000000000001");
});

test("the last request, reply and ack of a resync are written byte for byte (§12.7)", (t) => {
  const view = out();
  const all = 0xffffffff;
  hot.writeBlockRequest(view, 0, 101, packets.P_RS_DATA_REQUEST.code, 0, 0, 0x780, all, all, 0x6000);
  t.is(hex(view, 40), "8620ec200000000900000018000000000000000000000780ffffffffffffffff0000600000000000");
  hot.writeData(view, 0, 101, packets.P_RS_DATA_REPLY.code, 0, 24576, 0x780, all, all, 0, 0);
  t.is(hex(view, 40), "8620ec200000000200006018000000000000000000000780ffffffffffffffff0000000000000000");
  hot.writeBlockAck(view, 0, 101, packets.P_RS_WRITE_ACK.code, 0, 0x780, all, all, 0x6000, 0x22);
  t.is(hex(view, 40), "8620ec200000001700000018000000000000000000000780ffffffffffffffff0000600000000022");
});

test("packets without payload are a header (§12.6)", (t) => {
  const view = out();
  t.is(hot.writeEmpty(view, 0, 101, packets.P_PING.code, 0), 16);
  t.is(hex(view, 16), "8620ec20000000130000000000000000");
  t.is(hot.writeEmpty(view, 0, 86, packets.P_UNPLUG_REMOTE.code, 0), 8);
  t.is(hex(view, 8), "8374026700070000");
});

/** A packet of the data path read and written again by the hot functions; undefined for others. */
function again(packet: CapturedPacket, view: DataView): number | undefined {
  const { row, apv, volume, raw, headerBytes: at } = packet;
  const tail = raw.byteLength - at - formOf(row, apv, packet.features).head.bytes;
  switch (formOf(row, apv, packet.features).head as unknown) {
    case heads.dataHead: {
      const d = hot.emptyDataHead();
      hot.readData(raw, at, d);
      return hot.writeData(view, 0, apv, row.code, volume, tail, d.sector, d.idHigh, d.idLow, d.seqNum, d.dpFlags);
    }
    case heads.trimHead: {
      const d = hot.emptyDataHead();
      hot.readTrim(raw, at, d);
      return hot.writeTrim(view, 0, apv, row.code, volume, d.sector, d.idHigh, d.idLow, d.seqNum, d.dpFlags, d.size);
    }
    case heads.blockAck: {
      const a = hot.emptyBlockAck();
      hot.readBlockAck(raw, at, a);
      return hot.writeBlockAck(view, 0, apv, row.code, volume, a.sector, a.idHigh, a.idLow, a.blksize, a.seqNum);
    }
    case heads.blockRequest: {
      const r = hot.emptyBlockRequest();
      hot.readBlockRequest(raw, at, r);
      return hot.writeBlockRequest(view, 0, apv, row.code, volume, tail, r.sector, r.idHigh, r.idLow, r.blksize);
    }
    case heads.blockDesc: {
      const d = hot.emptyBlockDesc();
      hot.readBlockDesc(raw, at, d);
      return hot.writeBlockDesc(view, 0, apv, row.code, volume, d.sector, d.blksize);
    }
    case heads.barrierHead:
      return hot.writeBarrier(view, 0, apv, hot.readBarrier(raw, at));
    case heads.barrierAck: {
      const a = hot.emptyBarrierAck();
      hot.readBarrierAck(raw, at, a);
      return hot.writeBarrierAck(view, 0, apv, a.barrier, a.setSize);
    }
    default:
      return raw.byteLength === at ? hot.writeEmpty(view, 0, apv, row.code, volume) : undefined;
  }
}

test("every data-path packet of every capture is read and written to the same bytes, stale pads apart (§2.4)", (t) => {
  const done = new Set<string>();
  for (const packet of captureNames().flatMap((name) => readCapture(name).flat())) {
    const view = out();
    const length = again(packet, view);
    if (length === undefined) continue;
    const original = Buffer.from(packet.raw.buffer, packet.raw.byteOffset, length);
    const { head } = formOf(packet.row, packet.apv, packet.features);
    const pad = head.offset["pad"];
    if (pad !== undefined && head.bytes > 0) {
      const cleaned = Buffer.from(original);
      cleaned.fill(0, packet.headerBytes + pad, packet.headerBytes + pad + 4);
      if (hex(view, length) !== cleaned.toString("hex")) t.fail(`${packet.where} ${packet.row.name}`);
    } else if (hex(view, length) !== original.toString("hex")) {
      t.fail(`${packet.where} ${packet.row.name}`);
    }
    done.add(packet.row.name);
  }
  // §2.3 without the handshake, the bitmaps and what no capture holds.
  t.is(done.size, 31);
});

test("hot readers and writers agree with the layouts for every value (§2.4)", (t) => {
  const u32 = fc.nat(0xffffffff);
  const sector = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  const head = fc.record({ sector, idHigh: u32, idLow: u32, seqNum: u32, dpFlags: u32, size: u32 });
  const version = fc.constantFrom(86, 96, 101);
  fc.assert(
    fc.property(head, version, (d, apv) => {
      const view = out();
      const blockId = (BigInt(d.idHigh) << 32n) + BigInt(d.idLow);
      const { code } = packets.P_TRIM;
      const end = hot.writeTrim(view, 0, apv, code, 0, d.sector, d.idHigh, d.idLow, d.seqNum, d.dpFlags, d.size);
      const { sector: at, seqNum, dpFlags, size } = d;
      t.deepEqual(heads.trimHead.decode(view, end - 28), { sector: at, blockId, seqNum, dpFlags, size });
      const read = hot.emptyDataHead();
      hot.readTrim(view, end - 28, read);
      t.deepEqual(read, d);
    }),
  );
});

test("a sector beyond 2^53 reads as one no volume has", (t) => {
  const view = out();
  const head = hot.emptyBlockAck();
  view.setUint32(0, 0x00200000);
  hot.readBlockAck(view, 0, head);
  t.true(head.sector >= 2 ** 53);
});
