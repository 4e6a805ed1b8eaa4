import { fileURLToPath } from "node:url";
import ava from "ava";
import { runCommand } from "../lab/command.ts";
import { requireRoot } from "../lab/require-root.ts";
import { ensureCompiled } from "./compiled.ts";

const test = requireRoot(ava.serial);
const demo = fileURLToPath(new URL("../../scripts/demo.ts", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));

test("the demo succeeds within a minute", async (t) => {
  t.timeout(120_000);
  ensureCompiled();
  const argv = ["sh", "-c", 'cd "$1" && exec "$2" --import tsx "$3"', "sh", root, process.execPath, demo];
  const started = performance.now();
  const { code, stdout, stderr } = await runCommand(argv, { timeout: 110_000 });
  const seconds = (performance.now() - started) / 1000;
  t.is(code, 0, stdout + stderr);
  t.regex(stdout, /Everything matched\./);
  t.true(seconds < 60, `${seconds} s`);
});
