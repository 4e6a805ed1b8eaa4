import test from "ava";
import {
  agree,
  hasVerifyStopSector,
  maxBioBytes,
  maxTrimBytes,
  ownOffer,
} from "../../../../src/core/wire/agreement.ts";

test("8.4.11's own offer is 86-101 with features 0xf (§3.2)", (t) => {
  t.deepEqual(ownOffer, { min: 86, max: 101, features: 0xf });
});

const agreed = test.macro({
  exec(t, min: number, max: number, features: number, apv: number, common: number) {
    t.deepEqual(agree(ownOffer, { min, max, features }), { agreed: true, apv, features: common });
  },
  title: (_, min, max, features, apv, common) =>
    `an offer ${min}-${max} features ${features} is agreed at ${apv}, ${common} (§3.2)`,
});
test(agreed, 86, 118, 0xff, 101, 0xf);
test(agreed, 101, 0, 0xf, 101, 0xf);
test(agreed, 86, 86, 0, 86, 0);
test(agreed, 86, 99, 0x5, 99, 0x5);

test("ranges that do not meet are refused in DRBD's words (§3.2)", (t) => {
  const text = "incompatible DRBD dialects: I support 86-101, peer supports 102-110";
  t.deepEqual(agree(ownOffer, { min: 102, max: 110, features: 0 }), { agreed: false, text });
  t.false(agree(ownOffer, { min: 80, max: 85, features: 0 }).agreed);
  t.false(agree(ownOffer, { min: 85, max: 0, features: 0 }).agreed);
});

test("request sizes by version and discard sizes by feature (§0)", (t) => {
  t.deepEqual([86, 94, 95, 99, 100, 101].map(maxBioBytes), [32768, 32768, 131072, 131072, 1048576, 1048576]);
  t.deepEqual([maxTrimBytes(0xf), maxTrimBytes(0xb)], [128 * 2 ** 20, 4 * 2 ** 20]);
});

test("the verify stop sector exists at 97 to 99 and 101, not at 100 (§3.2)", (t) => {
  t.deepEqual([96, 97, 99, 100, 101].map(hasVerifyStopSector), [false, true, true, false, true]);
});
