import test from "ava";
import { discardSteps, zeroSteps } from "../../../src/node/ranges.ts";

// Modes of fallocate(2): 3 is PUNCH_HOLE | KEEP_SIZE, 17 is ZERO_RANGE | KEEP_SIZE.
const text = (steps: ReturnType<typeof zeroSteps>): string =>
  steps.map((step) => (step.how === "allocate" ? `allocate ${step.mode}` : step.how)).join(", ");

const rows: readonly (readonly ["file" | "block", boolean, boolean, string])[] = [
  ["file", true, false, "allocate 3, allocate 17, write"],
  ["file", true, true, "allocate 3, allocate 17"],
  ["file", false, false, "allocate 17, write"],
  ["file", false, true, "allocate 17"],
  ["block", true, false, "allocate 3, allocate 17, write"],
  ["block", true, true, "allocate 3"],
  ["block", false, false, "allocate 17, write"],
  ["block", false, true, ""],
];
for (const [kind, mayUnmap, fastOnly, expected] of rows) {
  test(`zeroing a ${kind}, mayUnmap ${mayUnmap}, fastOnly ${fastOnly}: ${expected || "not supported"}`, (t) => {
    t.is(text(zeroSteps(kind, mayUnmap, fastOnly)), expected);
  });
}

test("a file gives back by a hole, a device by its own commands", (t) => {
  t.is(text(discardSteps("file")), "allocate 3");
  t.is(text(discardSteps("block")), "discard, ioctl");
});
