/**
 * One command from its words to its exit code. What a verb needs is loaded only for that verb: help and `version` answer
 * without the configuration, `dump` without the control interface.
 */
import { nodePaths, resourcePaths } from "../engine/run-paths.ts";
import { parseCommandLine } from "./command-line.ts";
import type { Configuration } from "./configuration.ts";
import type { Context, Session } from "./context.ts";
import { type ExitCode, type ExitName, exitCodes, stopsAtOnce } from "./exit-codes.ts";
import { helpOn } from "./help.ts";
import type { MetadataVerbName } from "./metadata-verbs.ts";
import { isStateVerb } from "./plan.ts";
import { selectTargets, type Target } from "./targets.ts";
import type { VerbName } from "./verbs.ts";

/** Runs the words after the program's name. Rejects only for a bug of ours. */
export async function runCommand(argv: readonly string[], context: Context): Promise<ExitCode> {
  return exitCodes[await runWords(argv, context)].code;
}

async function runWords(argv: readonly string[], context: Context): Promise<ExitName> {
  const line = parseCommandLine(argv);
  if (line.kind === "refused") return complain(context, line.text, line.exit);
  if (line.kind === "help") {
    const text = helpOn(line.topic);
    if (text === undefined) return complain(context, `futago: no help on '${line.topic}'\ntry 'futago help'`, "usage");
    context.out(text);
    return line.exit;
  }
  const { verb, given, words } = line;
  if (verb === "version") return version(context);
  const paths = nodePaths(given.node, context.env, context.hostname);
  if ("refusal" in paths) return complain(context, paths.refusal, "syntax");
  return withConfiguration({ ...context, given, paths }, verb, words);
}

function complain(context: Context, text: string, exit: ExitName): ExitName {
  context.err(`${text}\n`);
  return exit;
}

async function version(context: Context): Promise<ExitName> {
  const { engineVersion } = await import("../engine/control-version.ts");
  context.out(
    `FUTAGO_VERSION=${engineVersion}\nDRBD_PROTOCOL_VERSIONS=86-101\nNODE_VERSION=${process.versions.node}\n`,
  );
  return "ok";
}

/** drbdadm checks the node's address for these only. */
const networkVerbs: readonly VerbName[] = ["up", "connect", "engine"];
/** Warnings of the configuration are for those who deal with it, not for every `role` of a script. */
const warningVerbs: readonly VerbName[] = [...networkVerbs, "dump"];

async function withConfiguration(session: Session, verb: VerbName, words: readonly string[]): Promise<ExitName> {
  const { loadConfiguration } = await import("./configuration.ts");
  const configuration = loadConfiguration(session, networkVerbs.includes(verb));
  if ("exit" in configuration) return complain(session, configuration.text, configuration.exit);
  const startsEngine = (verb === "up" || verb === "engine") && !session.given["dry-run"];
  if (startsEngine && configuration.file === "-") {
    return complain(session, `futago ${verb}: the engine reads the configuration itself: give it a file`, "usage");
  }
  if (session.given.verbose || warningVerbs.includes(verb)) {
    for (const warning of configuration.warnings) session.err(`${warning}\n`);
  }
  if (verb === "dump") return (await import("./dump-verb.ts")).dumpVerb(session, configuration, words);
  const targets = selectTargets(verb, words, configuration.known, session.paths.node);
  if ("refusal" in targets) return complain(session, targets.refusal, "usage");
  if (verb === "status") {
    const { statusVerb } = await import("./status-verbs.ts");
    return reachable(session, () => statusVerb(session, targets, words.length > 0 && !words.includes("all")));
  }
  let worst: ExitName = "ok";
  for (const target of targets) {
    const exit = await reachable(session, () => onTarget(session, verb, configuration, target));
    if (exitCodes[exit].code > exitCodes[worst].code) worst = exit;
    if (stopsAtOnce(exitCodes[worst].code)) break;
  }
  return worst;
}

/** An engine that cannot be talked to is an expected failure. */
async function reachable(session: Session, body: () => Promise<ExitName>): Promise<ExitName> {
  try {
    return await body();
  } catch (error) {
    const isControlError = error instanceof Error && error.name === "ControlError";
    if (!isControlError) throw error;
    return session.interrupted.aborted ? "ok" : complain(session, error.message, "execution");
  }
}

async function onTarget(
  session: Session,
  verb: VerbName,
  configuration: Configuration,
  target: Target,
): Promise<ExitName> {
  const paths = resourcePaths(session.paths, target.resource);
  if ("refusal" in paths) return complain(session, paths.refusal, "configuration");
  switch (verb) {
    case "engine":
      return (await import("./engine-verb.ts")).engineVerb(session, target.resource, paths, configuration);
    case "wait-connect":
    case "wait-sync": {
      const { startupOf, waitVerb } = await import("./wait-verbs.ts");
      return waitVerb(session, verb, target, paths, startupOf(configuration, target.resource));
    }
    case "journal":
      return (await import("./journal-verb.ts")).journalVerb(session, target.resource, paths);
    case "role":
    case "cstate":
      return (await import("./status-verbs.ts")).shortVerb(session, verb, target, paths, undefined);
    case "create-md":
    case "wipe-md":
    case "apply-al":
    case "dump-md":
    case "dstate":
    case "get-gi":
    case "show-gi":
    case "outdate":
    case "invalidate":
      return withMetadata(session, verb, configuration, target);
    default:
      if (!isStateVerb(verb)) throw new Error(`verb ${verb} is not carried out`);
      return (await import("./perform.ts")).performVerb(session, verb, target, paths, configuration.file);
  }
}

async function withMetadata(
  session: Session,
  verb: MetadataVerbName,
  configuration: Configuration,
  target: Target,
): Promise<ExitName> {
  const { offlineOrOnline } = await import("./metadata-or-engine.ts");
  return offlineOrOnline(session, verb, configuration, target);
}
