import { setImmediate as nextRound } from "node:timers/promises";
import test from "ava";
import { after, type Instant, ms, NEVER } from "../../../src/core/units.ts";
import { monotonicNow } from "../../../src/node/clock.ts";
import { EngineLoop, type Settling } from "../../../src/node/engine-loop.ts";

function recording(): { loop: EngineLoop; log: string[]; task: (name: string, more?: () => void) => Settling } {
  const loop = new EngineLoop();
  const log: string[] = [];
  loop.setHooks({
    onTurnStart: () => log.push("start"),
    onDeadline: () => log.push("deadline"),
    onTurnEnd: () => log.push("end"),
  });
  loop.setBackend({ submit: () => log.push("submit") });
  const task = (name: string, more?: () => void): Settling => ({
    settle() {
      log.push(name);
      more?.();
    },
  });
  return { loop, log, task };
}

test("a turn is: start, work, what became ready, end, flushes, submit", (t) => {
  const { loop, log, task } = recording();
  loop.run(() => {
    loop.flushAtEnd({ flush: () => log.push("flush") });
    loop.settleInTurn(task("first", () => loop.settleInTurn(task("second"))));
    log.push("work");
  });
  t.deepEqual(log, ["start", "work", "first", "second", "end", "flush", "submit"]);
});

test("what onTurnEnd makes ready is delivered in the same turn, and ends once more", (t) => {
  const { loop, log, task } = recording();
  let ends = 0;
  loop.setHooks({
    onTurnStart() {},
    onDeadline() {},
    onTurnEnd() {
      log.push("end");
      if (ends++ === 0) loop.settleInTurn(task("late"));
    },
  });
  loop.run(() => {});
  t.deepEqual(log, ["end", "late", "end", "submit"]);
});

test("run within a turn joins it", (t) => {
  const { loop, log } = recording();
  loop.run(() => loop.run(() => log.push("inner")));
  t.deepEqual(log, ["start", "inner", "end", "submit"]);
});

test("now does not move within a turn", (t) => {
  const { loop } = recording();
  loop.run(() => {
    const before = loop.now;
    while (monotonicNow() <= before);
    t.is(loop.now, before);
  });
});

test("between turns nothing is called back; a turn follows", async (t) => {
  const { loop, log, task } = recording();
  loop.settleInTurn(task("ready"));
  t.deepEqual(log, []);
  await nextRound();
  t.deepEqual(log, ["start", "ready", "end", "submit"]);
});

test("what is put off to the next turn is not called in this one", async (t) => {
  const { loop, log, task } = recording();
  loop.run(() => loop.settleInNextTurn(task("later")));
  t.deepEqual(log, ["start", "end", "submit"]);
  await nextRound();
  t.deepEqual(log.slice(3), ["start", "later", "end", "submit"]);
});

test("a deadline is met once, in a turn, not before its time", async (t) => {
  const loop = new EngineLoop();
  const at = after(monotonicNow(), ms(5));
  const met = await new Promise<Instant>((resolve) => {
    loop.setHooks({ onTurnStart() {}, onDeadline: resolve, onTurnEnd() {} });
    loop.setDeadline(at);
  });
  t.true(met >= at);
});

test("a deadline that moves away or is unset is not met", async (t) => {
  const { loop, log } = recording();
  loop.setDeadline(after(monotonicNow(), ms(1)));
  loop.setDeadline(NEVER);
  const probe = new EngineLoop();
  await new Promise<void>((resolve) => {
    probe.setHooks({ onTurnStart() {}, onDeadline: () => resolve(), onTurnEnd() {} });
    probe.setDeadline(after(monotonicNow(), ms(20)));
  });
  t.false(log.includes("deadline"));
  loop.close();
});

test("the worst stall is the longest turn, submitting included", (t) => {
  const loop = new EngineLoop();
  loop.setBackend({
    submit() {
      while (monotonicNow() < loop.now + 5);
    },
  });
  loop.run(() => {});
  t.true(loop.worstStall >= 5);
});
