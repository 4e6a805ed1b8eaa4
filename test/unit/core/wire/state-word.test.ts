import test from "ava";
import {
  packChange,
  packState,
  showChange,
  showState,
  stateMask,
  stateNumber,
  unpackChange,
  unpackState,
} from "../../../../src/core/wire/state-word.ts";

const shown = test.macro({
  exec(t, word: number, text: string) {
    t.is(showState(word), text);
    const state = unpackState(word);
    t.true(typeof state !== "string" && packState(state) === word);
  },
  title: (_, word: number) => `the word ${word.toString(16)} is read and written as §4.2 says`,
});
test(shown, 0x0000c882, "role=Secondary peer=Unknown conn=WFConnection disk=Inconsistent pdsk=DUnknown");
test(shown, 0x0000d082, "role=Secondary peer=Unknown conn=WFConnection disk=UpToDate pdsk=DUnknown");
test(shown, 0x0000d081, "role=Primary peer=Unknown conn=WFConnection disk=UpToDate pdsk=DUnknown");
test(shown, 0x000088aa, "role=Secondary peer=Secondary conn=Connected disk=Inconsistent pdsk=Inconsistent");
test(shown, 0x000110a9, "role=Primary peer=Secondary conn=Connected disk=UpToDate pdsk=UpToDate");
test(shown, 0x0000f0d9, "role=Primary peer=Secondary conn=WFBitMapS disk=UpToDate pdsk=Consistent");
test(shown, 0x00010ae6, "role=Secondary peer=Primary conn=WFBitMapT disk=Outdated pdsk=UpToDate");
test(shown, 0x000110a6, "role=Secondary peer=Primary conn=Connected disk=UpToDate pdsk=UpToDate");

test("flags stand at bits 17 to 22 (§4.2)", (t) => {
  const flags = ["susp", "aftr_isp", "peer_isp", "user_isp", "susp_nod", "susp_fen"] as const;
  t.deepEqual(flags.map(stateMask), [1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22]);
  const state = unpackState(0x007e0000 + 0x88aa);
  t.true(typeof state !== "string" && flags.every((flag) => state[flag]));
  t.true(showState(1 << 20).endsWith(" user_isp=1"));
});

test("bits 23 to 31 are ignored (§4.2)", (t) => {
  t.deepEqual(unpackState(0xff8088aa), unpackState(0x88aa));
});

test("a number without a name is a violation that names field, expected, actual", (t) => {
  t.is(unpackState(0x3), "state word: field role expected:0..2 received:3");
  t.is(unpackState(24 << 4), "state word: field conn expected:0..23 received:24");
  t.is(unpackState(9 << 9), "state word: field disk expected:0..8 received:9");
  t.is(unpackState(15 << 13), "state word: field pdsk expected:0..8 received:15");
});

const change = test.macro({
  exec(t, mask: number, val: number, fields: Parameters<typeof packChange>[0], text: string) {
    t.deepEqual(unpackChange(mask, val), fields);
    t.deepEqual(packChange(fields), { mask, val });
    t.is(showChange(mask, val), text);
  },
  title: (_, mask: number, val: number, __, text: string) =>
    `mask ${mask.toString(16)} value ${val.toString(16)} asks for ${text} (§12.6)`,
});
test(change, 0x1e03, 0x1001, { role: "Primary", disk: "UpToDate" }, "role=Primary disk=UpToDate");
test(change, 0x1f0, 0x10, { conn: "Disconnecting" }, "conn=Disconnecting");
test(change, 0x1e00, 0x400, { disk: "Failed" }, "disk=Failed");
test(change, 0x3, 0x1, { role: "Primary" }, "role=Primary");
test(change, 0x100000, 0, { user_isp: false }, "user_isp=0");

test("a field masked in part is a violation, bits of the value outside the mask are not", (t) => {
  t.is(unpackChange(0x1, 0x1), "state change: mask of field role expected:3 received:1");
  t.deepEqual(unpackChange(0x3, 0xffffff01), { role: "Primary" });
  t.is(unpackChange(0x3, 0x3), "state word: field role expected:0..2 received:3");
});

test("every field of every word can be read as a number", (t) => {
  t.is(stateNumber(0xffffffff, "conn"), 31);
  t.is(stateNumber(0xffffffff, "pdsk"), 15);
  t.is(stateNumber(0x80000000, "susp_fen"), 0);
});
