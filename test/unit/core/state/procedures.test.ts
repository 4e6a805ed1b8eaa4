/** Promotion and disconnect in several tries: drbd-84 §10.10, §4.4. */
import test from "ava";
import {
  afterFencing,
  nextDisconnectStep,
  nextPromotionStep,
  type Promotion,
  type PromotionStep,
  startDisconnect,
  startPromotion,
} from "../../../../src/core/state/procedures.ts";
import { type SsCode, ss } from "../../../../src/core/state/ss.ts";
import { Conn, DiskState, initialState, Role, type State } from "../../../../src/core/state/state.ts";

const alone: State = { ...initialState, conn: Conn.WFConnection, disk: DiskState.Consistent };
const primary = { role: Role.Primary };

const promotionOf = (step: PromotionStep): Promotion => {
  if ("promotion" in step) return step.promotion;
  throw new Error(step.kind);
};

test("§10.10: success at the first try", (t) => {
  t.deepEqual(startPromotion(false).change, primary);
  t.deepEqual(nextPromotionStep(startPromotion(false), ss.SS_SUCCESS, alone), { kind: "done", forced: false });
  t.deepEqual(nextPromotionStep(startPromotion(true), ss.SS_NOTHING_TO_DO, alone), { kind: "done", forced: false });
});

test("§10.10: -2 with --force and a disk from Inconsistent to Consistent asks for an UpToDate disk", (t) => {
  for (let disk = DiskState.Diskless; disk <= DiskState.UpToDate; disk++) {
    const step = nextPromotionStep(startPromotion(true), ss.SS_NO_UP_TO_DATE_DISK, { ...alone, disk });
    const forcible = disk >= DiskState.Inconsistent && disk < DiskState.UpToDate;
    t.is(step.kind, forcible ? "request" : "refused");
    if (!forcible) continue;
    t.deepEqual(promotionOf(step).change, { ...primary, disk: DiskState.UpToDate });
    const done = nextPromotionStep(promotionOf(step), ss.SS_CW_SUCCESS, alone);
    t.deepEqual(done, { kind: "done", forced: true, warning: "Forced to consider local data as UpToDate!" });
  }
});

test("§10.10: -2 with a Consistent disk fences the peer; only its success makes the disk UpToDate", (t) => {
  const step = nextPromotionStep(startPromotion(false), ss.SS_NO_UP_TO_DATE_DISK, alone);
  t.like(step, { kind: "fence", because: "no data" });
  t.deepEqual(afterFencing(promotionOf(step), "no data", true).promotion.change, {
    ...primary,
    disk: DiskState.UpToDate,
  });
  t.deepEqual(afterFencing(promotionOf(step), "no data", false).promotion.change, primary);
});

test("§10.10: -7 fences the peer; --force goes on as if it were Outdated, and says what that is", (t) => {
  const upToDate = { ...alone, disk: DiskState.UpToDate };
  for (const force of [false, true]) {
    const step = nextPromotionStep(startPromotion(force), ss.SS_PRIMARY_NOP, upToDate);
    t.like(step, { kind: "fence", because: "peer not outdated" });
    const failed = afterFencing(promotionOf(step), "peer not outdated", false);
    t.deepEqual(failed.promotion.change, force ? { ...primary, pdsk: DiskState.Outdated } : primary);
    t.is(failed.warning, force ? "Forced into split brain situation!" : undefined);
    t.deepEqual(afterFencing(promotionOf(step), "peer not outdated", true).promotion.change, primary);
  }
});

test("§10.10: a peer that came back after fencing and refuses is asked again without the pdsk part", (t) => {
  const promotion = { ...startPromotion(true), change: { ...primary, pdsk: DiskState.Outdated } };
  t.deepEqual(promotionOf(nextPromotionStep(promotion, ss.SS_CW_FAILED_BY_PEER, alone)).change, primary);
  t.deepEqual(nextPromotionStep(startPromotion(false), ss.SS_CW_FAILED_BY_PEER, alone), { kind: "refused", code: -10 });
});

test("§10.10: -1 waits once, for a dead peer to be noticed", (t) => {
  const step = nextPromotionStep(startPromotion(false), ss.SS_TWO_PRIMARIES, alone);
  t.is(step.kind, "wait");
  t.deepEqual(nextPromotionStep(promotionOf(step), ss.SS_TWO_PRIMARIES, alone), { kind: "refused", code: -1 });
});

test("§10.10: whatever the verdicts and the handler, it ends after at most four tries", (t) => {
  const codes = Object.values(ss) as SsCode[];
  for (const verdict of codes)
    for (const force of [false, true])
      for (const outdated of [false, true]) {
        let step: PromotionStep = { kind: "request", promotion: startPromotion(force) };
        let requests = 0;
        while (step.kind !== "done" && step.kind !== "refused") {
          if (step.kind === "fence") step = afterFencing(step.promotion, step.because, outdated);
          requests++;
          step = nextPromotionStep(step.promotion, verdict, alone);
        }
        t.true(requests <= 4);
        t.is(step.kind, verdict >= 1 ? "done" : "refused");
      }
});

const request = (more: object, mode: "soft" | "hard", last: boolean) => ({
  kind: "request" as const,
  change: { conn: Conn.Disconnecting, ...more },
  mode,
  last,
});
const connected: State = { ...alone, conn: Conn.Connected, peer: Role.Primary, pdsk: DiskState.UpToDate };

test("§4.4: a disconnect escalates: the peer outdated (-7), me outdated (-10), forced if I am below Outdated", (t) => {
  const first = startDisconnect(false);
  t.deepEqual(first, request({}, "soft", false));
  t.deepEqual(startDisconnect(true), request({}, "hard", true));
  if (first.kind !== "request") return t.fail();
  t.deepEqual(nextDisconnectStep(first, 1, connected), { kind: "done" });
  t.deepEqual(nextDisconnectStep(first, -9, connected), { kind: "done" });
  const outdatePeer = request({ pdsk: DiskState.Outdated }, "soft", false);
  t.deepEqual(nextDisconnectStep(first, -7, connected), outdatePeer);
  t.deepEqual(nextDisconnectStep(outdatePeer, -21, alone), request({}, "soft", true));
  const outdateMe = request({ disk: DiskState.Outdated }, "soft", false);
  t.deepEqual(nextDisconnectStep(first, -10, connected), outdateMe);
  t.deepEqual(nextDisconnectStep(first, -10, alone), request({}, "soft", true));
  for (const code of [-11, -16] as const)
    t.deepEqual(nextDisconnectStep(outdateMe, code, connected), request({}, "hard", true));
  t.deepEqual(nextDisconnectStep(outdateMe, -10, connected), { kind: "refused", code: -10 });
  return t.deepEqual(nextDisconnectStep(first, -18, connected), { kind: "refused", code: -18 });
});
