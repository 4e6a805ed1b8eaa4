/** The command line of the benchmark. */
import { parseArgs } from "node:util";
import { type JobName, jobNames } from "./jobs.ts";
import { missingPrograms, targetOf, targets } from "./targets.ts";
import { type MediumName, mediumNames } from "./volume.ts";

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly targets: readonly string[];
  readonly jobs: readonly JobName[];
  readonly media: readonly MediumName[];
  /** Folder on the file system that is measured as `direct`; default: the temporary folder. */
  readonly disk: string | undefined;
  readonly json: string | undefined;
  /** Folder for CPU profiles of Futago's engines. */
  readonly profile: string | undefined;
  /** Targets of the default list that this machine cannot run, with the reason. */
  readonly skipped: readonly string[];
}

export const usage = `npm run bench -- [options]
  --quick           a sign of life: one round of 0.3 s per job, small volumes
  --rounds N        rounds, each with every target (3)
  --seconds S       length of one fio run (4)
  --size MIB        size of each volume (512)
  --targets A,B     of ${Object.keys(targets).join(", ")},
                    and futago@DIR and so on: another build of Futago, DIR being its compiled src
  --jobs A,B        of ${jobNames.join(", ")}
  --media A,B       of ${mediumNames.join(", ")}
  --disk DIR        where the volumes of \`direct\` lie (the temporary folder)
  --json FILE       where the results go (bench/results/TIME.json)
  --profile DIR     CPU profiles of Futago's engines go there; the numbers of such a run are no results`;

const MiB = 1024 * 1024;

function list<T extends string>(option: string, text: string, known: readonly T[]): readonly T[] {
  return text.split(",").map((word) => {
    const found = known.find((name) => name === word);
    if (found === undefined) throw new Error(`--${option}: '${word}' is none of ${known.join(", ")}`);
    return found;
  });
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1e6)) throw new Error(`--${option}: '${text}' is no number above 0`);
  return value;
}

/** Throws a sentence that names the option. */
export function parseOptions(argv: readonly string[]): Options {
  const string = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      ...{ quick: { type: "boolean", default: false }, rounds: string, seconds: string, size: string },
      ...{ targets: string, jobs: string, media: string, disk: string, json: string, profile: string },
    },
  });
  const asked = values.targets?.split(",") ?? Object.keys(targets);
  const problems = asked.flatMap((name) => {
    const target = targetOf(name);
    if (target === undefined) throw new Error(`--targets: '${name}' is none of ${Object.keys(targets).join(", ")}`);
    const missing = missingPrograms(target);
    return missing.length === 0 ? [] : [{ name, why: `${name}: needs ${missing.join(", ")}` }];
  });
  // What was asked for by name must not silently be absent.
  if (values.targets !== undefined && problems.length > 0) throw new Error(problems.map(({ why }) => why).join("\n"));
  const { quick } = values;
  return {
    rounds: Math.ceil(positive("rounds", values.rounds ?? (quick ? "1" : "3"))),
    seconds: positive("seconds", values.seconds ?? (quick ? "0.3" : "4")),
    bytes: Math.ceil(positive("size", values.size ?? (quick ? "48" : "512"))) * MiB,
    targets: asked.filter((name) => !problems.some((problem) => problem.name === name)),
    jobs: list("jobs", values.jobs ?? jobNames.join(","), jobNames),
    media: list("media", values.media ?? mediumNames.join(","), mediumNames),
    disk: values.disk,
    json: values.json,
    profile: values.profile,
    skipped: problems.map(({ why }) => why),
  };
}
