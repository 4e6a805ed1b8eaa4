import test from "ava";
import fc from "fast-check";
import { emptyHeader, headerBytes, parseHeader } from "../../../../src/core/wire/header.ts";
import { packets } from "../../../../src/core/wire/packets.ts";
import { tracePacket } from "../../../../src/core/wire/trace.ts";
import { viewOf } from "./captured.ts";

const context = { apv: 101, features: 0xf, digestBytes: 0 };

const line = test.macro({
  exec(t, hex: string, expected: string, digestBytes: number = 0) {
    const view = viewOf(Buffer.from(hex.replace(/\s/g, ""), "hex"));
    const header = emptyHeader();
    t.is(parseHeader(view, 0, 101, header), undefined);
    t.is(tracePacket(header, view, 16, view.byteLength - 16, { ...context, digestBytes }), expected);
  },
  title: (_, __, expected: string) => expected,
});

const data = "8620ec20 0000 0000 00001018 00000000 0000000000000018 e06e51dd52fe3eff 00000006 00000112";
test(
  line,
  data,
  "h100 v0 P_DATA len=4120 sector=24 block_id=e06e51dd52fe3eff seq_num=6 dp_flags=RW_SYNC|FUA|SEND_WRITE_ACK data=4096",
);
test(
  line,
  `${data} 01020304`,
  "h100 v0 P_DATA len=4120 sector=24 block_id=e06e51dd52fe3eff seq_num=6 dp_flags=RW_SYNC|FUA|SEND_WRITE_ACK digest=01020304 data=4092",
  4,
);
test(
  line,
  "8620ec20 0001 0017 00000018 00000000 0000000000000780 ffffffffffffffff 00006000 00000022",
  "h100 v1 P_RS_WRITE_ACK len=24 sector=1920 block_id=ID_SYNCER blksize=24576 seq_num=34",
);
test(line, "8620ec20 0000 0013 00000000 00000000", "h100 v0 P_PING len=0");
test(
  line,
  "8620ec20 0000 0012 00000008 00000000 00001e03 00001001",
  "h100 v0 P_STATE_CHG_REQ len=8 mask=0x1e03 val=0x1001 {role=Primary disk=UpToDate}",
);
test(
  line,
  "8620ec20 0000 000e 00000004 00000000 000110a6",
  "h100 v0 P_STATE len=4 state=0x000110a6 role=Secondary peer=Primary conn=Connected disk=UpToDate pdsk=UpToDate",
);
test(
  line,
  "8620ec20 0000 000b 0000001d 00000000 00000003 00000004 00000008 00000000 00000001 00000000 73686131 00",
  'h100 v0 P_PROTOCOL len=29 protocol=C after_sb_0p=discard-least-changes after_sb_1p=discard-secondary after_sb_2p=disconnect conn_flags=DISCARD_MY_DATA two_primaries=0 alg="sha1"',
);
test(
  line,
  "8620ec20 0000 0024 00000008 00000000 32b0fd06ee3f7500",
  "h100 v0 P_COMPRESSED_BITMAP len=8 enc=0x32 (code=2 pad=3 start=clr)",
);
test(
  line,
  "8620ec20 0000 0009 00000018 00000000 0000000000000780 ffffffffffffffff 00006000 0000d1f8",
  "h100 v0 P_RS_DATA_REQUEST len=24 sector=1920 block_id=ID_SYNCER blksize=24576 pad=0xd1f8",
);

test("a packet of which less than the head is at hand says so", (t) => {
  const header = { command: packets.P_DATA.code, volume: 0, length: 4120 };
  t.is(tracePacket(header, new DataView(new ArrayBuffer(8)), 0, 8, context), "h100 v0 P_DATA len=4120 (cut off)");
});

test("any command with any bytes gives one line and never throws", (t) => {
  const commands = fc.oneof(fc.constantFrom(...Object.values(packets).map(({ code }) => code)), fc.nat(0xffff));
  const version = fc.constantFrom(0, 86, 88, 95, 101);
  const any = fc.tuple(commands, fc.nat(0xffff), fc.nat(300), version, fc.nat(15), fc.constantFrom(0, 4, 20));
  fc.assert(
    fc.property(
      any,
      fc.uint8Array({ maxLength: 200 }),
      ([command, volume, length, apv, features, digestBytes], bytes) => {
        const header = { command, volume, length };
        const text = tracePacket(header, viewOf(bytes), 0, bytes.length, { apv, features, digestBytes });
        t.notRegex(text, /[\n\r]/);
        t.true(headerBytes(apv) > 0 && text.length < 1000);
      },
    ),
    { numRuns: 3000 },
  );
});
