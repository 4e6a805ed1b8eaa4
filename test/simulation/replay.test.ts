import test from "ava";
import { simulate } from "../../src/simulator/simulate.ts";

function traceOf(seed: number): string[] {
  const lines: string[] = [];
  simulate(seed, { print: (line) => lines.push(line), fixed: { duration: 4000, requests: 300 } });
  return lines;
}

test("a seed is replayed exactly: every line of its trace is the same, and another seed gives another run", (t) => {
  t.timeout(60_000);
  const first = traceOf(5);
  t.true(first.length > 500);
  t.deepEqual(traceOf(5), first);
  t.notDeepEqual(traceOf(6), first);
});

test("the trace shows packets, states, faults and requests", (t) => {
  const text = traceOf(5).join("\n");
  for (const kind of ["op   ", "fault", "do   ", "state", "log  ", "uuid ", "wire ", "check"]) {
    t.regex(text, new RegExp(`^ *\\d+\\.\\d{3} .{4} ${kind} `, "m"));
  }
  t.regex(text, /wire {2}#\d+ data h100 v0 P_DATA .*dp_flags=/);
});

test("watching does not change the run", (t) => {
  const fixed = { duration: 4000, requests: 300 };
  const watched = simulate(5, { print: () => undefined, fixed });
  const silent = simulate(5, { fixed });
  t.deepEqual(silent.status, watched.status);
  t.is(silent.steps, watched.steps);
  t.is(silent.time, watched.time);
});
