import test from "ava";
import { ResyncController } from "../../../../src/core/volume/resync-controller.ts";

/** drbd.conf's defaults (drbd-84 §7.5). */
const defaults = {
  planAhead: 20,
  delayTarget: 10,
  fillTarget: 100,
  maxRate: 102_400,
  resyncRate: 250,
  maxBuffers: 2048,
};

/** Rounds on a fast link: everything asked for has come before the next step; the kernel asks for `extra` bits more than the budget. */
function rounds(controller: ResyncController, count: number, extra: number): number[] {
  return Array.from({ length: count }, () => {
    const bits = controller.step();
    controller.inFlight += (bits + extra) * 8;
    controller.received += (bits + extra) * 8;
    return bits;
  });
}

test("with the defaults, a fast link and the kernel's extra bit the budgets are 6, 8, 10 … bits (drbd-84 §7.5, live)", (t) => {
  const budgets = rounds(new ResyncController(defaults), 16, 1);
  t.deepEqual(
    budgets,
    Array.from({ length: 16 }, (_, n) => 6 + 2 * n),
  );
});

test("asking for exactly the budget, as a verify does, the budgets are 6, 7, 8 … bits (drbd-84 §7.5, live)", (t) => {
  t.deepEqual(rounds(new ResyncController(defaults), 6, 0), [6, 7, 8, 9, 10, 11]);
});

test("c-plan-ahead 0 is the fixed rate: 10M asks for 256 bits in every step (drbd-84 §7.5)", (t) => {
  const controller = new ResyncController({ ...defaults, planAhead: 0, resyncRate: 10_240 });
  t.deepEqual(rounds(controller, 5, 0), [256, 256, 256, 256, 256]);
  t.is(controller.want, 10_240);
});

test("never more than max-buffers/2 pages are under way (drbd-84 §7.5)", (t) => {
  const controller = new ResyncController({ ...defaults, planAhead: 0, resyncRate: 10_240, maxBuffers: 600 });
  const asked = Array.from({ length: 3 }, () => {
    const bits = controller.step();
    controller.inFlight += bits * 8;
    return bits;
  });
  t.deepEqual(asked, [256, 44, 0]);
});

test("c-max-rate bounds a step (drbd-84 §7.5)", (t) => {
  const controller = new ResyncController({ ...defaults, maxRate: 4000, fillTarget: 1_000_000 });
  for (const bits of rounds(controller, 50, 0)) t.true(bits <= 100);
});

test("a reset begins with an empty plan; only another c-plan-ahead empties it between (drbd-84 §7.5)", (t) => {
  const controller = new ResyncController(defaults);
  rounds(controller, 10, 1);
  controller.reset();
  t.is(controller.step(), 6);
  controller.rates = { ...defaults, planAhead: 10 };
  t.is(controller.step(), new ResyncController({ ...defaults, planAhead: 10 }).step());
});
