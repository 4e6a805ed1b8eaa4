import test from "ava";
import { crashRounds } from "../engine/crash-rounds.ts";

const rounds = 200;

test.serial(`${rounds} rounds of SIGKILL: nothing acknowledged is lost and both copies become equal`, async (t) => {
  t.timeout(3_000_000);
  await crashRounds({ rounds, seed: Math.floor(Math.random() * 2 ** 32), log: (text) => t.log(text) });
  t.pass();
});

test.serial("40 rounds of SIGKILL without io_uring", async (t) => {
  t.timeout(1_000_000);
  const seed = Math.floor(Math.random() * 2 ** 32);
  await crashRounds({ rounds: 40, seed, backend: "fallback", log: (text) => t.log(text) });
  t.pass();
});
