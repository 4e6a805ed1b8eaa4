import test from "ava";
import { crashRounds } from "./crash-rounds.ts";

test.serial("without io_uring the same holds under SIGKILL", async (t) => {
  t.timeout(120_000);
  const seed = Math.floor(Math.random() * 2 ** 32);
  await crashRounds({ rounds: 8, seed, backend: "fallback", log: (text) => t.log(text) });
  t.pass();
});
