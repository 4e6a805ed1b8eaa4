import test from "ava";
import { parseFio } from "../../../bench/fio.ts";
import { parseOptions } from "../../../bench/options.ts";
import { cpuPerOperation, type Run, ratioWithinRounds, spreadOf, summaryOf, tableOf } from "../../../bench/report.ts";

const run = (round: number, target: string, iops: number, medium = "tmpfs", job = "w4k1"): Run => ({
  ...{ round, target, iops, medium, job },
  ...{ megabytesPerSecond: 1, p50: 100, p99: 200, operations: 1000 },
  servers: [
    { role: "primary", user: 2, system: 3, switches: 1 },
    { role: "secondary", user: 1, system: 4, switches: 0.5 },
  ],
});

test("a spread is the least, the median and the greatest; the median of an even number is the middle of two", (t) => {
  t.deepEqual(spreadOf([3, 1, 2]), { least: 1, median: 2, greatest: 3, rounds: 3 });
  t.deepEqual(spreadOf([4, 1, 2, 3]), { least: 1, median: 2.5, greatest: 4, rounds: 4 });
  t.is(spreadOf([]), undefined);
  t.is(spreadOf([Number.NaN]), undefined);
});

test("ratios are taken within a round, so that a slow round does not count against anybody", (t) => {
  const runs = [run(0, "a", 200), run(0, "b", 100), run(1, "a", 20), run(1, "b", 10)];
  t.deepEqual(
    ratioWithinRounds(runs, "a", "b", ({ iops }) => iops),
    { least: 2, median: 2, greatest: 2, rounds: 2 },
  );
});

test("a round without the reference, another job or another medium gives no ratio", (t) => {
  const runs = [run(0, "a", 200), run(1, "b", 100), run(0, "b", 100, "direct"), run(0, "b", 100, "tmpfs", "w4k32")];
  t.is(
    ratioWithinRounds(runs, "a", "b", ({ iops }) => iops),
    undefined,
  );
});

test("CPU per operation is user and system time of both nodes", (t) => {
  t.is(cpuPerOperation(run(0, "a", 1)), 10);
});

test("a table has a row for each target and two columns for each reference that ran", (t) => {
  const lines = tableOf([run(0, "futago", 300), run(0, "a4b", 100)], ["a4b", "a3u"]).split("\n");
  t.is(lines.length, 4);
  t.regex(lines[0] ?? "", /IOPS \/ a4b \| CPU \/ a4b \|$/);
  t.regex(lines[2] ?? "", /^\| futago \| 1 \| 300 \|.* 3\.00 - \*\*3\.00\*\* - 3\.00 \| 1\.00 \|$/);
});

test("a summary has a row for each medium and job of one target", (t) => {
  const runs = [
    run(0, "futago", 300),
    run(0, "a4b", 100),
    run(0, "futago", 50, "direct"),
    run(0, "a4b", 100, "direct"),
  ];
  const lines = summaryOf(runs, "futago", ["a4b", "a3u"]).split("\n");
  t.is(lines[2], "| tmpfs w4k1 | 300 | 10.0 | 3.00 - **3.00** - 3.00 | 1.00 |");
  t.is(lines[3], "| direct w4k1 | 50 | 10.0 | 0.50 - **0.50** - 0.50 | 1.00 |");
  t.is(lines.length, 4);
});

test("fio's JSON is read behind its notes: operations and latencies in microseconds of the direction asked for", (t) => {
  const direction = (ios: number) => ({
    ...{ total_ios: ios, iops: 5, bw_bytes: 20_480_000 },
    clat_ns: { percentile: { "50.000000": 36_096, "99.000000": 99_840 } },
  });
  const text = `note\n${JSON.stringify({ jobs: [{ error: 0, read: direction(0), write: direction(10) }] })}`;
  t.deepEqual(parseFio(text, "write"), {
    ...{ operations: 10, iops: 5, megabytesPerSecond: 20.48, p50: 36.096, p99: 99.84 },
  });
  t.throws(() => parseFio(text, "read"), { message: /no operation/ });
  const failed = JSON.stringify({ jobs: [{ error: 5, read: direction(1), write: direction(1) }] });
  t.throws(() => parseFio(failed, "write"), { message: /error 5/ });
});

test("an option that cannot be meant names itself and what it could be", (t) => {
  t.throws(() => parseOptions(["--jobs", "w4k2"]), { message: /^--jobs: 'w4k2' is none of w4k1, / });
  t.throws(() => parseOptions(["--media", "disk"]), { message: /^--media: 'disk' is none of tmpfs, direct/ });
  t.throws(() => parseOptions(["--targets", "a9"]), { message: /^--targets: 'a9' is none of futago, / });
  t.throws(() => parseOptions(["--seconds=-1"]), { message: /^--seconds: '-1' is no number above 0/ });
});
