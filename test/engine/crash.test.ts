import test from "ava";
import { crashRounds } from "./crash-rounds.ts";

test.serial(
  "whatever SIGKILL hits at whatever moment, nothing acknowledged is lost and both copies become equal",
  async (t) => {
    t.timeout(180_000);
    await crashRounds({ rounds: 24, seed: Math.floor(Math.random() * 2 ** 32), log: (text) => t.log(text) });
    t.pass();
  },
);
