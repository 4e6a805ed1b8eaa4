import test from "ava";
import fc from "fast-check";
import { session } from "./_fuzz.ts";

for (const [name, options] of [
  ["protocol C", {}],
  ["protocol A, disk errors passed on", { net: { protocol: "A" }, volume: { onIoError: "pass_on" } }],
  ["protocol B, two volumes, metadata elsewhere", { net: { protocol: "B" }, volumes: 2, external: true }],
] as const) {
  test(`whatever a peer says, nothing throws and nothing is left behind: ${name}`, (t) => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), (seed) => session(seed, options)),
      { numRuns: Number(process.env["FUTAGO_FUZZ_RUNS"] ?? 6), seed: 4, endOnFailure: true },
    );
    t.pass();
  });
}
