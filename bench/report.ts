/** Runs, and what is read from them: medians, and ratios between targets within one round. */

/** One fio run. CPU in microseconds per operation; switches per operation. */
export interface Run {
  readonly round: number;
  readonly medium: string;
  readonly job: string;
  readonly target: string;
  readonly iops: number;
  readonly megabytesPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly operations: number;
  readonly servers: readonly ServerCost[];
}

export interface ServerCost {
  readonly role: "primary" | "secondary";
  readonly user: number;
  readonly system: number;
  readonly switches: number;
}

export interface Spread {
  readonly least: number;
  readonly median: number;
  readonly greatest: number;
  /** How many rounds had both. */
  readonly rounds: number;
}

export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const [least] = sorted;
  const greatest = sorted.at(-1);
  if (least === undefined || greatest === undefined) return undefined;
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? least;
  const high = sorted[Math.floor(middle)] ?? greatest;
  return { least, median: (low + high) / 2, greatest, rounds: sorted.length };
}

/** User and system time of all servers. */
export const cpuPerOperation = (run: Run): number =>
  run.servers.reduce((sum, { user, system }) => sum + user + system, 0);
/** Not a number where all threads that worked ended with the connection, as nbdkit's do: the kernel no longer tells. */
export const switchesPerOperation = (run: Run): number =>
  run.servers.reduce((sum, { switches }) => sum + switches, 0) || Number.NaN;

/**
 * `value` of `target` divided by that of `reference`, in each round where both ran this job on this medium. The machine may be three
 * times slower in one round than in the next: only neighbours are comparable.
 */
export function ratioWithinRounds(
  runs: readonly Run[],
  target: string,
  reference: string,
  value: (run: Run) => number,
): Spread | undefined {
  const ratios = runs
    .filter((run) => run.target === target)
    .flatMap((run) => {
      const other = runs.find(
        (one) =>
          one.target === reference && one.round === run.round && one.medium === run.medium && one.job === run.job,
      );
      return other === undefined ? [] : [value(run) / value(other)];
    });
  return spreadOf(ratios);
}

const fixed = (value: number | undefined, digits: number): string =>
  value === undefined || !Number.isFinite(value) ? "-" : value.toFixed(digits);

const median = (runs: readonly Run[], value: (run: Run) => number): number | undefined =>
  spreadOf(runs.map(value))?.median;

export const spreadText = (spread: Spread | undefined): string =>
  spread === undefined
    ? "-"
    : `${fixed(spread.least, 2)} - **${fixed(spread.median, 2)}** - ${fixed(spread.greatest, 2)}`;

/** Latency, CPU and switches of one role: `user + system`. */
function costText(runs: readonly Run[], role: ServerCost["role"]): string {
  const part = (key: "user" | "system"): number | undefined =>
    median(runs, ({ servers }) => servers.find((server) => server.role === role)?.[key] ?? Number.NaN);
  const user = part("user");
  return user === undefined ? "-" : `${fixed(user, 1)} + ${fixed(part("system"), 1)}`;
}

/** One Markdown table: the runs of one job on one medium, in the order in which the targets first ran. */
export function tableOf(runs: readonly Run[], references: readonly string[]): string {
  const names = [...new Set(runs.map((run) => run.target))];
  const shown = references.filter((reference) => names.includes(reference));
  const heads = ["target", "rounds", "IOPS", "MB/s", "p50 us", "p99 us", "primary us/op", "secondary us/op", "cs/op"];
  const ratioHeads = shown.flatMap((reference) => [`IOPS / ${reference}`, `CPU / ${reference}`]);
  const rows = names.map((name) => {
    const own = runs.filter((run) => run.target === name);
    const ratios = shown.flatMap((reference) => [
      spreadText(ratioWithinRounds(runs, name, reference, (run) => run.iops)),
      fixed(ratioWithinRounds(runs, name, reference, cpuPerOperation)?.median, 2),
    ]);
    return [
      name,
      String(own.length),
      fixed(
        median(own, (run) => run.iops),
        0,
      ),
      fixed(
        median(own, (run) => run.megabytesPerSecond),
        1,
      ),
      fixed(
        median(own, (run) => run.p50),
        0,
      ),
      fixed(
        median(own, (run) => run.p99),
        0,
      ),
      costText(own, "primary"),
      costText(own, "secondary"),
      fixed(median(own, switchesPerOperation), 2),
      ...ratios,
    ];
  });
  const all = [...heads, ...ratioHeads];
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(all), line(all.map(() => "---")), ...rows.map(line)].join("\n");
}

/** One Markdown table for a target: a row for each medium and job, its ratios to every reference that ran. */
export function summaryOf(runs: readonly Run[], target: string, references: readonly string[]): string {
  const shown = references.filter((reference) => runs.some((run) => run.target === reference));
  const own = runs.filter((run) => run.target === target);
  const kinds = [...new Set(own.map(({ medium, job }) => `${medium} ${job}`))];
  const rows = kinds.map((kind) => {
    const here = runs.filter(({ medium, job }) => `${medium} ${job}` === kind);
    const mine = here.filter((run) => run.target === target);
    const ratios = shown.flatMap((reference) => [
      spreadText(ratioWithinRounds(here, target, reference, ({ iops }) => iops)),
      fixed(ratioWithinRounds(here, target, reference, cpuPerOperation)?.median, 2),
    ]);
    const iops = fixed(
      median(mine, (run) => run.iops),
      0,
    );
    return [kind, iops, fixed(median(mine, cpuPerOperation), 1), ...ratios];
  });
  const heads = [target, "IOPS", "us/op", ...shown.flatMap((name) => [`IOPS / ${name}`, `CPU / ${name}`])];
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(heads), line(heads.map(() => "---")), ...rows.map(line)].join("\n");
}
