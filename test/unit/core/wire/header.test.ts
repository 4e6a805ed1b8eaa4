import test from "ava";
import fc from "fast-check";
import { NOT_AGREED } from "../../../../src/core/wire/agreement.ts";
import { emptyHeader, headerBytes, headerForm, parseHeader, writeHeader } from "../../../../src/core/wire/header.ts";
import { checkPacket } from "../../../../src/core/wire/packets.ts";
import { viewOf } from "./captured.ts";

const versions = [NOT_AGREED, 86, 89, 94, 95, 96, 99, 100, 101];
const written = (apv: number, command: number, volume: number, length: number): string => {
  const view = new DataView(new ArrayBuffer(20));
  const size = writeHeader(view, 2, apv, command, volume, length);
  return Buffer.from(view.buffer, 2, size).toString("hex");
};
const view = (hex: string) => viewOf(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const violation = (hex: string, apv: number) => parseHeader(view(hex), 0, apv, emptyHeader());

test("the worked headers are written byte for byte (§12)", (t) => {
  t.is(written(NOT_AGREED, 0xfff2, 0, 0), "83740267fff20000");
  t.is(written(NOT_AGREED, 0xfffe, 0, 72), "83740267fffe0048");
  t.is(written(101, 0x10, 0, 64), "8620ec20000000100000004000000000");
  t.is(written(101, 0x00, 0, 0x1018), "8620ec20000000000000101800000000");
  t.is(written(100, 0x16, 0xffff, 24), "8620ec20ffff00160000001800000000");
});

test("at 95 to 99 lengths up to 32768 take form 80, longer ones form 95 (§2.1)", (t) => {
  t.is(written(95, 0, 0, 32768), "8374026700008000");
  t.is(written(99, 0, 0, 32769), "835a000000008001");
  t.deepEqual(
    [94, 95, 99, 100].map((apv) => headerForm(apv, 40000)),
    [80, 95, 95, 100],
  );
});

test("a length that 16 bits cannot carry is never written (§2.1)", (t) => {
  t.throws(() => written(94, 2, 0, 65560), { instanceOf: RangeError, message: /P_RS_DATA_REPLY: length 65560 .* 94/ });
  t.is(written(94, 2, 0, 65535), "837402670002ffff");
});

test("both 8-byte forms are accepted at 95 to 99, only form 80 below (§2.1)", (t) => {
  for (const apv of [95, 96, 99]) {
    t.is(violation("83740267 0000 0018", apv), undefined);
    t.is(violation("835a 0000 00000018", apv), undefined);
  }
  for (const apv of [NOT_AGREED, 86, 94]) {
    const text = `header: wrong magic value, expected:83740267 received:835a0000 in protocol version ${apv}`;
    t.is(violation("835a 0000 00000018", apv), text);
  }
});

test("a form that does not belong to the version is a violation (§2.1)", (t) => {
  t.regex(violation("83740267 000e 0004 0000000000000000", 101) ?? "", /expected:8620ec20 received:83740267/);
  t.regex(violation("8620ec20 0000 000e 00000004 00000000", 99) ?? "", /expected:83740267 or 835a received:8620ec20/);
});

test("the last word of form 100 must be zero (§2.1)", (t) => {
  t.is(violation("8620ec20 0000 000e 00000004 00000000", 100), undefined);
  t.is(violation("8620ec20 0000 000e 00000004 00000100", 100), "P_STATE: header pad expected:0 received:0x100");
});

test("what is written is read back, at every version and any offset (§2.1)", (t) => {
  const header = emptyHeader();
  const room = new DataView(new ArrayBuffer(64));
  const any = fc.tuple(fc.constantFrom(...versions), fc.nat(0xffff), fc.nat(0xffff), fc.nat(0xffffffff), fc.nat(40));
  fc.assert(
    fc.property(any, ([apv, command, volume, wanted, at]) => {
      const length = apv < 95 ? wanted % 65536 : wanted;
      t.is(writeHeader(room, at, apv, command, volume, length), headerBytes(apv));
      t.is(parseHeader(room, at, apv, header), undefined);
      t.deepEqual(header, { command, volume: apv >= 100 ? volume : 0, length });
    }),
  );
});

test("one damaged byte of a good header is refused or reads as a bounded packet of another kind", (t) => {
  const header = emptyHeader();
  const damage = fc.tuple(fc.constantFrom(86, 95, 99, 100, 101), fc.nat(15), fc.integer({ min: 1, max: 255 }));
  fc.assert(
    fc.property(damage, ([apv, position, flip]) => {
      const bytes = Buffer.from(written(apv, 0x16, 0, 24), "hex");
      const at = position % bytes.length;
      bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
      if (parseHeader(viewOf(bytes), 0, apv, header) !== undefined) return;
      if (checkPacket(header.command, header.length, "control", apv, 0xf) !== undefined) return;
      t.is(header.length <= 24, true);
    }),
  );
});

test("random bytes never throw, and what passes is bounded to a write of 1 MiB (§2.2)", (t) => {
  const header = emptyHeader();
  const magics = ["83740267", "835a", "8620ec20", ""].map((hex) => Buffer.from(hex, "hex"));
  const noise = fc.tuple(
    fc.constantFrom(...magics),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc.constantFrom(...versions),
  );
  let passed = 0;
  fc.assert(
    fc.property(noise, fc.constantFrom("data" as const, "control" as const), ([magic, rest, apv], stream) => {
      const bytes = Buffer.concat([magic, rest]);
      if (bytes.length > 14 && bytes.readUInt8(4) < 128) bytes.fill(0, 12, 16);
      if (parseHeader(viewOf(bytes), 0, apv, header) !== undefined) return;
      passed++;
      if (checkPacket(header.command, header.length, stream, apv, 0xf) !== undefined) return;
      t.true(header.length <= 28 + 64 + 2 ** 20);
    }),
    { numRuns: 2000 },
  );
  t.true(passed > 50);
});
