// node scripts/run-suites.mjs [SUITE ...]
//
// Runs the test suites one after the other, shows what AVA prints, adds the numbers up and ends with
// `N passed, N failed`. Without arguments: every suite that `npm test` stands for. Exit 0 only if nothing failed.
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * `where` are files or directories; `budget` is the wall time in seconds it should take, told but not enforced (three
 * times of it ends the suite). Laboratories and kernels want the machine for themselves: those suites are serial.
 */
const suites = {
  unit: { where: ["test/tidy.test.ts", "test/unit", "test/contract", "test/fuzz"], budget: 180, ava: ["-c", "2"] },
  sim: { where: ["test/simulation"], budget: 180, ava: ["-c", "2", "--timeout=3m"] },
  engine: { where: ["test/engine"], budget: 300, ava: ["--serial", "--timeout=2m"] },
  interop: { where: ["test/interop"], budget: 300, ava: ["--serial", "--timeout=4m"] },
  heartbeat: { where: ["test/heartbeat"], budget: 240, ava: ["--serial", "--timeout=2m"] },
  long: { where: ["test/long"], budget: 3600, ava: ["--serial", "--timeout=30m"] },
};
const byDefault = ["unit", "sim", "engine", "interop", "heartbeat"];

function testFiles(path) {
  const full = join(root, path);
  if (!existsSync(full)) return [];
  if (path.endsWith(".test.ts")) return [path];
  return readdirSync(full, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".test.ts"))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** The lines of AVA's summary: what they count as, and the words after the number. */
const summaryLines = [
  ["passed", /^ {2}(\d+) tests? passed$/gm],
  ["failed", /^ {2}(\d+) tests? failed$/gm],
  ["failed", /^ {2}(\d+) hooks? failed$/gm],
  ["failed", /^ {2}(\d+) tests? remained pending after a timeout$/gm],
  ["failed", /^ {2}(\d+) unhandled rejections?$/gm],
  ["failed", /^ {2}(\d+) uncaught exceptions?$/gm],
  ["skipped", /^ {2}(\d+) tests? (?:skipped|todo)$/gm],
  ["skipped", /^ {2}(\d+) known failures?$/gm],
];

/** Passed, failed and skipped tests according to what AVA's default reporter printed without a terminal. */
export function countSummary(output) {
  const text = stripVTControlCharacters(output);
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const [column, pattern] of summaryLines) {
    for (const match of text.matchAll(pattern)) sum[column] += Number(match[1]);
  }
  // With a failure the summary is silent about what passed; each test has its line above.
  if (sum.passed === 0) sum.passed = [...text.matchAll(/^ {2}[✔√] /gm)].length;
  return sum;
}

function ava(args, limitSeconds) {
  return new Promise((resolve, reject) => {
    const program = join(root, "node_modules/ava/entrypoints/cli.mjs");
    const child = spawn(process.execPath, [program, ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let limit = "";
    const timer = setTimeout(() => {
      limit = `ended after ${limitSeconds} s, three times its budget`;
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), 10_000).unref();
    }, limitSeconds * 1000);
    const show = (target) => (text) => {
      output += text;
      target.write(text);
    };
    child.stdout.setEncoding("utf8").on("data", show(process.stdout));
    child.stderr.setEncoding("utf8").on("data", show(process.stderr));
    child.once("error", reject);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ output, end: limit || (code === 0 ? "" : `AVA ended with ${code ?? signal}`) });
    });
  });
}

async function runSuite(name) {
  const { where, budget, ava: flags } = suites[name];
  const files = where.flatMap(testFiles);
  if (files.length === 0) {
    console.log(`\n== ${name}: SKIPPED, no test file in ${where.join(", ")}`);
    return { name, passed: 0, failed: 0, skipped: 0, line: "skipped, no test files" };
  }
  console.log(`\n== ${name}: ${files.length} files`);
  const started = performance.now();
  const { output, end } = await ava([...flags, ...files], 3 * budget);
  const seconds = (performance.now() - started) / 1000;
  const sum = countSummary(output);
  // AVA can fail without a failed test: a file that does not load, a worker that dies.
  if (end !== "" && sum.failed === 0) sum.failed = 1;
  if (end === "" && sum.passed + sum.skipped === 0) throw new Error(`${name}: AVA's summary was not understood`);
  const over = seconds > budget ? ", OVER BUDGET" : "";
  const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : "";
  const line = `${sum.passed} passed, ${sum.failed} failed${skipped}; ${seconds.toFixed(1)} s of ${budget} s${over}`;
  return { name, ...sum, line: end === "" ? line : `${line}; ${end}` };
}

/** A test that no suite runs would be green for ever. */
function homeless() {
  const housed = new Set(Object.values(suites).flatMap(({ where }) => where.flatMap(testFiles)));
  return testFiles("test").filter((file) => !housed.has(file));
}

async function main(names) {
  const results = [];
  const add = (result) => results.push(result);
  for (const name of names) add(await runSuite(name));
  const lost = homeless();
  if (lost.length > 0) {
    add({ name: "homeless", passed: 0, failed: lost.length, line: `in no suite: ${lost.join(", ")}` });
  }
  console.log("\n== suites");
  for (const { name, line } of results) console.log(`${name.padEnd(10)} ${line}`);
  const total = (key) => results.reduce((sum, result) => sum + result[key], 0);
  process.exitCode = total("failed") === 0 && total("passed") > 0 ? 0 : 1;
  console.log(`\n${total("passed")} passed, ${total("failed")} failed`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = process.argv.slice(2);
  const unknown = names.filter((name) => !Object.hasOwn(suites, name));
  if (unknown.length > 0) {
    console.error(`no such suite: ${unknown.join(", ")}\nusage: run-suites.mjs [${Object.keys(suites).join("|")}] ...`);
    process.exitCode = 2;
  } else {
    await main(names.length === 0 ? byDefault : names);
  }
}
