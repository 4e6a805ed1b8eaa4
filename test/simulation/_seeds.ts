/** Runs of fixed seeds as tests. */
import test from "ava";
import { type Report, simulate } from "../../src/simulator/simulate.ts";

/** What a person needs to look into a failed run. */
export function explain({ seed, options, violations, status }: Report): string {
  const lines = violations.map(({ at, oracle, text }) => `${at.toFixed(3)} ${oracle}: ${text}`);
  return [...lines, ...status, JSON.stringify(options), `npm run sim -- --seed ${seed}`].join("\n");
}

/** One test per five seeds from `first` to `last`. */
export function seeds(first: number, last: number): void {
  for (let from = first; from <= last; from += 5) {
    const to = Math.min(from + 4, last);
    test.serial(`seeds ${from} to ${to}: no oracle finds anything`, (t) => {
      t.timeout(170_000);
      for (let seed = from; seed <= to; seed++) {
        const report = simulate(seed);
        t.deepEqual(report.violations, [], explain(report));
        t.true(report.requests >= report.options.requests, `seed ${seed}: the application made its requests`);
      }
    });
  }
}
