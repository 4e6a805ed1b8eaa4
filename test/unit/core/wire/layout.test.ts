import test from "ava";
import fc from "fast-check";
import * as heads from "../../../../src/core/wire/heads.ts";
import {
  layout,
  octets,
  opaque8,
  pad32,
  readText,
  readU64,
  text,
  u8,
  u16,
  u32,
  u64,
  uuid64,
  writeText,
  writeU64,
} from "../../../../src/core/wire/layout.ts";
import { packets } from "../../../../src/core/wire/packets.ts";

const viewFor = (bytes: number) => new DataView(new ArrayBuffer(bytes));

test("fields are packed in order: offsets and size add up (§0)", (t) => {
  const mixed = layout({ first: u8, second: u64, third: u16, pad: pad32, last: text(5) });
  t.deepEqual(mixed.offset, { first: 0, second: 1, third: 9, pad: 11, last: 15 });
  t.is(mixed.bytes, 20);
});

test("sizes and offsets of every structure are those of §2.4", (t) => {
  t.deepEqual(heads.dataHead.offset, { sector: 0, blockId: 8, seqNum: 16, dpFlags: 20 });
  t.deepEqual(heads.trimHead.offset, { sector: 0, blockId: 8, seqNum: 16, dpFlags: 20, size: 24 });
  t.deepEqual(heads.blockAck.offset, { sector: 0, blockId: 8, blksize: 16, seqNum: 20 });
  t.deepEqual(heads.blockRequest.offset, { sector: 0, blockId: 8, blksize: 16, pad: 20 });
  t.deepEqual(heads.blockDesc.offset, { sector: 0, blksize: 8, pad: 12 });
  t.deepEqual(heads.barrierHead.offset, { barrier: 0, pad: 4 });
  t.deepEqual(heads.barrierAck.offset, { barrier: 0, setSize: 4 });
  t.deepEqual(heads.connectionFeatures.offset, {
    ...{ protocolMin: 0, featureFlags: 4, protocolMax: 8, pad: 12, reserved: 16 },
  });
  t.deepEqual(heads.protocolHead.offset, {
    ...{ protocol: 0, afterSb0p: 4, afterSb1p: 8, afterSb2p: 12, connFlags: 16, twoPrimaries: 20 },
  });
  t.deepEqual(heads.syncParam95.offset, {
    ...{
      resyncRate: 0,
      verifyAlg: 4,
      csumsAlg: 68,
      cPlanAhead: 132,
      cDelayTarget: 136,
      cFillTarget: 140,
      cMaxRate: 144,
    },
  });
  t.deepEqual(heads.uuidsHead.offset, {
    ...{ current: 0, bitmap: 8, history1: 16, history2: 24, dirtyBits: 32, uuidFlags: 40 },
  });
  t.deepEqual(heads.sizesWithLimits.offset, {
    ...{ dSize: 0, uSize: 8, cSize: 16, maxBioSize: 24, queueOrderType: 28, ddsFlags: 30 },
    ...{ physicalBlockSize: 32, logicalBlockSize: 36, alignmentOffset: 40, ioMin: 44, ioOpt: 48 },
    ...{ discardEnabled: 52, discardZeroesData: 53, writeSameCapable: 54, pad: 55 },
  });
  const { dataHead, trimHead, blockAck, blockRequest, blockDesc, connectionFeatures, protocolHead } = heads;
  t.deepEqual(
    [dataHead, trimHead, blockAck, blockRequest, blockDesc].map((head) => head.bytes),
    [24, 28, 24, 24, 16],
  );
  t.deepEqual([connectionFeatures.bytes, protocolHead.bytes, heads.uuidsHead.bytes], [72, 24, 48]);
  t.deepEqual([heads.syncParam.bytes, heads.syncParam89.bytes, heads.syncParam95.bytes], [4, 132, 148]);
  t.deepEqual([heads.sizesHead.bytes, heads.sizesWithLimits.bytes], [32, 56]);
  t.deepEqual(
    [heads.stateHead.bytes, heads.stateRequest.bytes, heads.stateReply.bytes, heads.syncUuid.bytes],
    [4, 8, 4, 8],
  );
  t.is(heads.delayProbe.bytes, 8);
});

test("a sector up to 2^53 is written as two big-endian halves and read back (§2.4)", (t) => {
  const view = viewFor(8);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (sector) => {
      writeU64(view, 0, sector);
      t.is(view.getBigUint64(0), BigInt(sector));
      t.is(readU64(view, 0), sector);
    }),
  );
});

test("a number of 2^53 or more on the wire never reads as a smaller one", (t) => {
  const view = viewFor(8);
  fc.assert(
    fc.property(fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }), (sector) => {
      view.setBigUint64(0, sector);
      t.true(readU64(view, 0) >= 2 ** 53);
    }),
  );
});

test("UUIDs and block ids keep all 64 bits", (t) => {
  const ids = layout({ uuid: uuid64, blockId: opaque8 });
  const view = viewFor(16);
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (uuid, blockId) => {
        ids.encode(view, 0, { uuid, blockId });
        t.deepEqual(ids.decode(view, 0), { uuid, blockId });
      },
    ),
  );
});

test("reserved words are written as zero over whatever stood there", (t) => {
  const padded = layout({ value: u32, pad: pad32 });
  const view = viewFor(8);
  view.setUint32(4, 0xdeadbeef);
  t.is(padded.encode(view, 0, { value: 1 }), 8);
  t.deepEqual(padded.decode(view, 0), { value: 1, pad: 0 });
});

test("a fixed text is zero filled, ends at its NUL and at the latest before its last byte", (t) => {
  const name = layout({ name: text(8) });
  const view = viewFor(8);
  new Uint8Array(view.buffer).fill(0x78);
  t.is(name.decode(view, 0).name, "xxxxxxx");
  name.encode(view, 0, { name: "sha1" });
  t.is(Buffer.from(view.buffer).toString("hex"), "7368613100000000");
  t.throws(() => name.encode(view, 0, { name: "too long" }), { instanceOf: RangeError });
  t.throws(() => name.encode(view, 0, { name: "é" }), { instanceOf: RangeError });
  t.throws(() => name.encode(view, 0, { name: "a\0b" }), { instanceOf: RangeError });
});

test("a trailing text ends at its NUL or with the packet", (t) => {
  const view = viewFor(8);
  t.is(writeText(view, 0, "md5"), 4);
  t.is(readText(view, 0, 8), "md5");
  t.is(readText(view, 0, 2), "md");
  t.is(writeText(view, 0, ""), 1);
  t.is(readText(view, 0, 1), "");
});

test("decoded octets are a copy", (t) => {
  const raw = layout({ raw: octets(4) });
  const view = viewFor(4);
  const { raw: before } = raw.decode(view, 0);
  view.setUint32(0, 0xffffffff);
  t.deepEqual([...before], [0, 0, 0, 0]);
  t.throws(() => raw.encode(view, 0, { raw: new Uint8Array(3) }), { instanceOf: RangeError });
});

test("the head of every form decodes from any bytes, and what it decodes to it encodes (§2.4)", (t) => {
  const layouts = Object.values(packets).flatMap(({ forms }) => forms.map(({ head }) => head));
  const most = Math.max(...layouts.map(({ bytes }) => bytes));
  fc.assert(
    fc.property(fc.constantFrom(...layouts), fc.uint8Array({ minLength: most, maxLength: most }), (head, noise) => {
      const view = viewFor(most);
      new Uint8Array(view.buffer).set(noise);
      for (const [name, type] of Object.entries(head.fields)) {
        const at = head.offset[name] ?? 0;
        // What cannot be represented: 64-bit numbers beyond 2^53 (they read as too large), texts outside ASCII.
        if (typeof type.read(view, at) === "number" && type.bytes === 8) view.setUint16(at, 0);
        if (type.bytes === 64) for (let n = 0; n < 64; n++) view.setUint8(at + n, view.getUint8(at + n) % 128);
      }
      const values = head.decode(view, 0);
      const again = viewFor(most);
      t.is(head.encode(again, 0, values), head.bytes);
      t.deepEqual(head.decode(again, 0), values);
    }),
    { numRuns: 500 },
  );
});
