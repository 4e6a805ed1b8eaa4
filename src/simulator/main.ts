/**
 * npm run sim -- --seed N                 one run, with its trace
 * npm run sim -- --seeds A..B             many runs, one line each
 *   --trace / --no-trace                  print the trace, or do not
 *   --steps N                             most events of a run
 *   --tail N                              after a failure of one of many: the last N lines of its trace (default 60)
 *
 * The legend of the trace is in journal.ts. Exit 1 if an oracle found something.
 */
import { parseArgs } from "node:util";
import type { Report } from "./simulate.ts";
import { simulate } from "./simulate.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    steps: { type: "string" },
    tail: { type: "string", default: "60" },
    trace: { type: "boolean" },
    "no-trace": { type: "boolean" },
  },
});

const mostSteps = values.steps === undefined ? {} : { mostSteps: Number(values.steps) };

function summary(report: Report): string {
  const { seed, violations, time, steps, requests } = report;
  const verdict = violations.length === 0 ? "ok  " : "FAIL";
  return `${verdict} seed ${seed}: ${(time / 1000).toFixed(1)} s virtual, ${steps} events, ${requests} requests`;
}

function tell(report: Report): void {
  console.log(summary(report));
  for (const { at, oracle, text } of report.violations) console.log(`  ${at.toFixed(3)} ${oracle}: ${text}`);
  if (report.violations.length === 0) return;
  for (const line of report.status) console.log(`  ${line}`);
  console.log(`  options ${JSON.stringify(report.options)}`);
}

/** The same run again, now with its trace. */
function tailOf(seed: number, count: number): string[] {
  const lines: string[] = [];
  simulate(seed, {
    ...mostSteps,
    print: (line) => {
      lines.push(line);
      if (lines.length > 2 * count) lines.splice(0, count);
    },
  });
  return count === 0 ? [] : lines.slice(-count);
}

function one(seed: number): boolean {
  const print = values["no-trace"] === true ? {} : { print: (line: string) => console.log(line) };
  const report = simulate(seed, { ...mostSteps, ...print });
  tell(report);
  return report.violations.length === 0;
}

function many(from: number, to: number): boolean {
  let failures = 0;
  for (let seed = from; seed <= to; seed++) {
    const report = simulate(seed, mostSteps);
    if (values.trace === true || report.violations.length > 0) tell(report);
    else console.log(summary(report));
    if (report.violations.length === 0) continue;
    failures++;
    for (const line of tailOf(seed, Number(values.tail))) console.log(`  | ${line}`);
    console.log(`  replay: npm run sim -- --seed ${seed}`);
  }
  console.log(`${to - from + 1} runs, ${failures} failed`);
  return failures === 0;
}

const range = /^(\d+)\.\.(\d+)$/.exec(values.seeds ?? "");
if (values.seed !== undefined && /^\d+$/.test(values.seed)) process.exitCode = one(Number(values.seed)) ? 0 : 1;
else if (range !== null) process.exitCode = many(Number(range[1]), Number(range[2])) ? 0 : 1;
else {
  console.error("usage: sim --seed N | --seeds A..B [--trace | --no-trace] [--steps N] [--tail N]");
  process.exitCode = 2;
}
