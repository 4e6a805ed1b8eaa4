/** Called as drbdmeta: `drbdmeta [--force] MINOR v08 DEVICE {internal | flex-external | INDEX} COMMAND` (drbd-84 §9.7). */
import { nodePaths } from "../engine/run-paths.ts";
import { type GivenOptions, parseCommandLine } from "./command-line.ts";
import type { Context } from "./context.ts";
import type { ExitName } from "./exit-codes.ts";
import { placementOf } from "./metadata-place.ts";
import { isMetadataVerb, metadataVerbAt, metadataVerbs } from "./metadata-verbs.ts";
import { runningEngines } from "./running.ts";

const usage = (): string =>
  [
    "USAGE: drbdmeta [--force] DEVICE FORMAT [FORMAT ARGS...] COMMAND [CMD ARGS...]",
    "FORMATS:\n  v08 device index",
    `COMMANDS:\n  ${Object.keys(metadataVerbs).join(" ")}`,
  ].join("\n");

interface Words {
  readonly given: GivenOptions;
  readonly minor: number | undefined;
  readonly format: string;
  readonly path: string;
  readonly index: string;
  readonly command: string;
}

function parse(argv: readonly string[]): Words | undefined {
  const dashed = argv.filter((word) => word.startsWith("-"));
  const read = parseCommandLine(["create-md", ...dashed]);
  const [device = "", format = "", path = "", index = "", command = ""] = argv.filter((word) => !word.startsWith("-"));
  if (read.kind !== "command" || command === "") return undefined;
  const digits = /^(?:minor-|\/dev\/drbd)?(\d{1,7})$/.exec(device)?.[1];
  // "-" says that no minor belongs to the disk.
  return { given: read.given, minor: digits === undefined ? undefined : Number(digits), format, path, index, command };
}

/** The disk of an attached volume is refused: its engine has the truth in memory. */
export async function drbdmeta(argv: readonly string[], context: Context): Promise<ExitName> {
  const words = parse(argv);
  const placement = words === undefined ? undefined : placementOf(words.index);
  if (words === undefined || placement === undefined || !isMetadataVerb(words.command)) {
    context.err(`${usage()}\n`);
    return "usage";
  }
  if (words.format !== "v08") {
    context.err(`drbdmeta: format '${words.format}' is not supported, only v08\n`);
    return "usage";
  }
  const paths = nodePaths(undefined, context.env, context.hostname);
  if ("refusal" in paths) throw new Error(paths.refusal);
  const { minor, path, command } = words;
  const session = { ...context, given: words.given, paths };
  const attached = (await runningEngines(paths)).some(({ status }) =>
    status.volumes.some((volume) => volume.minor === minor && volume.disk !== "Diskless"),
  );
  if (attached) {
    context.err(`Device '${minor}' is configured!\n`);
    return "execution";
  }
  return metadataVerbAt(session, command, minor ?? -1, { path, placement });
}
