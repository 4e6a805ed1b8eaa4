/** The decision tables, every input of each: what may never be decided, and what must be. */
import test from "ava";
import {
  ALL,
  common,
  FOREIGN,
  LOCAL,
  minus,
  NONE,
  type Share,
  seenFromOther,
  shareOf,
  shares,
  union,
  wordOf,
} from "../../../../src/heartbeat/core/membership/holdings.ts";
import {
  conflictRule,
  deathRule,
  pingRule,
  returnRule,
  type StandbyInfo,
  type StandbyRole,
  standbyRule,
  startRule,
} from "../../../../src/heartbeat/core/membership/rules.ts";

const booleans = [false, true];

test("§5: rsc_hold's words are two bits, and each side's local is the other's foreign", (t) => {
  t.deepEqual(shares.map(wordOf), ["none", "local", "foreign", "all"]);
  for (const share of shares) {
    t.is(shareOf(wordOf(share)), share);
    t.is(seenFromOther(seenFromOther(share)), share);
    for (const other of shares) t.is(union(minus(share, other), common(share, other)), share);
  }
  t.is(seenFromOther(LOCAL), FOREIGN);
  t.is(seenFromOther(ALL), ALL);
});

test("§9.1: at the start nothing is ever taken that the peer may hold, and nobody waits longer than the window", (t) => {
  for (const peerStable of booleans) {
    for (const windowOver of booleans) {
      for (const peerMayHold of shares) {
        const verdict = startRule(peerStable, windowOver, peerMayHold);
        const peerHasOurs = peerMayHold === FOREIGN || peerMayHold === ALL;
        if (peerHasOurs) t.not(verdict, "take");
        t.is(verdict === "wait", !peerStable && !windowOver);
        if (verdict !== "wait") t.is(verdict, peerHasOurs ? "leave" : "take");
      }
    }
  }
});

test("§10: groups are given only after `other`, started only after `done`; every other word changes nothing", (t) => {
  const roles: readonly StandbyRole[] = ["none", "asked", "giving", "given", "offered", "taking"];
  for (const role of roles) {
    for (const bothStable of booleans) {
      for (const peerGives of booleans) {
        const of = (info: StandbyInfo): string => standbyRule(info, role, bothStable, peerGives);
        t.is(of("me") === "offer", role === "offered" || (role === "none" && bothStable));
        t.is(of("other") === "give", role === "asked");
        t.is(of("done") === "take", role === "offered" || (role === "none" && peerGives));
        t.is(of("done") === "finish", role === "given");
        for (const info of ["me", "other", "done"] as const) t.regex(of(info), /^(offer|give|take|finish|ignore, .+)$/);
      }
    }
  }
});

test("§11.1: with STONITH nothing is taken from a node that may hold something before it is fenced; alone in the dark nothing at all", (t) => {
  for (const mayHold of booleans) {
    for (const isolated of booleans) {
      for (const hasStonith of booleans) {
        for (const fenced of booleans) {
          const verdict = deathRule(mayHold, isolated, hasStonith, fenced);
          if (!mayHold) t.is(verdict, "take, unneeded");
          else if (hasStonith) t.is(verdict, fenced ? "take, fenced" : isolated ? "hold back" : "fence");
          else t.is(verdict, isolated ? "hold back" : "take, unprotected");
        }
      }
    }
  }
});

test("§11.3: a node that was never away makes us start anew exactly if we took something from it", (t) => {
  t.is(returnRule(true, true), "rejoin");
  t.is(returnRule(true, false), "rejoin");
  t.is(returnRule(false, true), "restart");
  t.is(returnRule(false, false), "resume");
});

test("§16.3: the node that sees more ping nodes never gives up", (t) => {
  for (let ours = 0; ours < 4; ours++) {
    for (let theirs = 0; theirs < 4; theirs++) {
      for (const failsBack of booleans) {
        for (const stable of booleans) {
          const verdict = pingRule(ours, theirs, failsBack, stable);
          if (ours > theirs) t.is(verdict, "tell the peer it is dead");
          else if (ours < theirs) t.is(verdict, "give up all");
          else t.is(verdict, failsBack && stable ? "abort, give up foreign" : "abort");
        }
      }
    }
  }
});

test("both claim: of every doubled group exactly one side lets go at once, and that is not its home", (t) => {
  for (const ours of shares) {
    for (const theirs of shares) {
      const here = conflictRule(ours, theirs);
      const there = conflictRule(theirs, ours);
      const doubled: Share = common(ours, seenFromOther(theirs));
      t.is(union(here.yieldNow, seenFromOther(there.yieldNow)), doubled);
      t.is(common(here.yieldNow, seenFromOther(there.yieldNow)), NONE);
      t.is(common(here.yieldNow, LOCAL), NONE);
    }
  }
});
