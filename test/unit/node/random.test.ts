import test from "ava";
import { SystemRandom } from "../../../src/node/random.ts";

const random = new SystemRandom();

test("fractions are within [0, 1), 64-bit words within 64 bits", (t) => {
  for (let i = 0; i < 1000; i++) {
    const fraction = random.fraction();
    t.true(fraction >= 0 && fraction < 1);
    const word = random.u64();
    t.true(word >= 0n && word < 1n << 64n);
  }
});

test("no two draws of 128 bits are the same, and all of the target is filled", (t) => {
  const seen = new Set<string>();
  for (let i = 0; i < 100; i++) {
    const bytes = new Uint8Array(16);
    random.fill(bytes);
    seen.add(Buffer.from(bytes).toString("hex"));
  }
  t.is(seen.size, 100);
});
