/**
 * `npm run demo`: a mirrored volume survives the death of the node that uses it. As root on two machines of the laboratory, else with
 * two engines on 127.0.0.1 and 127.0.0.2. Exit 0 only if everything was as it has to be.
 */
import { ensureCompiled } from "../test/engine/compiled.ts";
import { whyNoLab } from "../test/lab/require-root.ts";
import { demoInLab } from "./demo-lab.ts";
import { demoOnLoopback } from "./demo-loopback.ts";
import { elapsed } from "./demo-screen.ts";

try {
  ensureCompiled();
  const reason = whyNoLab();
  if (reason === undefined) await demoInLab();
  else await demoOnLoopback(reason);
  console.log(`\nEverything matched.  (${elapsed().trim()})`);
} catch (error) {
  console.log(`\nFAILED: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
