import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const script = join(root, "scripts/run-suites.mjs");

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}
const { countSummary } = (await import(script)) as { countSummary: (output: string) => Counts };

/** What this AVA prints for a file of tests, in a project of its own. */
function avaOutput(source: string, flags: readonly string[] = []): string {
  const directory = mkdtempSync(join(tmpdir(), "futago-suites-"));
  try {
    writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
    writeFileSync(join(directory, "some.test.js"), source);
    symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
    const ava = join(root, "node_modules/ava/entrypoints/cli.mjs");
    const env = { PATH: process.env["PATH"], HOME: directory, CI: "1" };
    const options = { cwd: directory, env, encoding: "utf8", timeout: 50_000 } as const;
    return spawnSync(process.execPath, [ava, ...flags], options).stdout;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const pass = (title: string): string => `test(${JSON.stringify(title)}, (t) => t.pass());\n`;
const head = 'import test from "ava";\n';

test("passed and skipped tests are counted as AVA counts them", (t) => {
  const output = avaOutput(`${head}${pass("a")}${pass("b")}test.skip("c", (t) => t.fail());\ntest.todo("d");\n`);
  t.deepEqual(countSummary(output), { passed: 2, failed: 0, skipped: 2 });
});

test("a failed test does not hide those that passed", (t) => {
  const output = avaOutput(`${head}${pass("a")}${pass("b")}test("c", (t) => t.fail());\n`);
  t.deepEqual(countSummary(output), { passed: 2, failed: 1, skipped: 0 });
});

test("an uncaught exception, a failed hook and a test that never ends are failures", (t) => {
  const uncaught = avaOutput(
    `${head}${pass("a")}test.after(() => { setImmediate(() => { throw new Error("x"); }); });\n`,
  );
  t.is(countSummary(uncaught).failed, 1, uncaught);
  const hook = avaOutput(`${head}test.before(() => { throw new Error("x"); });\n${pass("a")}`);
  t.is(countSummary(hook).failed, 1, hook);
  const pending = `${head}${pass("a")}test("b", () => new Promise((done) => setTimeout(done, 40_000)));\n`;
  const output = avaOutput(pending, ["--timeout=1s"]);
  t.is(countSummary(output).failed, 1, output);
});

test("colours do not disturb the count", (t) => {
  t.deepEqual(countSummary("  \u001b[32m3 tests passed\u001b[39m\n"), { passed: 3, failed: 0, skipped: 0 });
});

test("an unknown suite is refused with the list of those there are", (t) => {
  const { status, stderr } = spawnSync(process.execPath, [script, "nonsense"], { encoding: "utf8" });
  t.is(status, 2);
  t.regex(stderr, /no such suite: nonsense\n.*unit\|sim\|engine\|interop\|heartbeat\|long/);
});
