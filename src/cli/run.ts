/**
 * One command from its words to its exit code. What a verb needs is loaded only for that verb: help and `version` answer
 * without the configuration, `dump` without the control interface.
 */
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodePaths, resourcePaths } from "../engine/run-paths.ts";
import { parseCommandLine } from "./command-line.ts";
import type { Configuration } from "./configuration.ts";
import type { Context, Session } from "./context.ts";
import { type ExitName, exitCodes, stopsAtOnce } from "./exit-codes.ts";
import { helpOn, hiddenHelp } from "./help.ts";
import type { MetadataVerbName } from "./metadata-verbs.ts";
import { isStateVerb } from "./plan.ts";
import { selectTargets, type Target } from "./targets.ts";
import { type VerbName, verbOf } from "./verbs.ts";

/** How a command ended: by the table of exit codes, or with the code of a handler that it ran. */
type End = ExitName | number;
const codeOf = (end: End): number => (typeof end === "number" ? end : exitCodes[end].code);

/** Runs the words after the program's name as the program of that name would. Rejects only for a bug of ours. */
export async function runCommand(argv: readonly string[], context: Context): Promise<number> {
  return codeOf(await runProgram(argv, context));
}

async function runProgram(argv: readonly string[], context: Context): Promise<End> {
  switch (context.program) {
    case "futago":
    case "drbdadm":
      return runWords(argv, context);
    case "drbd-overview":
      return runWords(["overview"], context);
    case "drbdsetup":
      return reachable(context, async () => (await import("./drbdsetup.ts")).drbdsetup(argv, context));
    case "drbdmeta":
      return (await import("./drbdmeta.ts")).drbdmeta(argv, context);
    default:
      return context.program satisfies never;
  }
}

async function runWords(argv: readonly string[], context: Context): Promise<End> {
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
  if (verb === "hidden-commands") {
    context.out(hiddenHelp());
    return "ok";
  }
  const paths = nodePaths(given.node, context.env, context.hostname);
  if ("refusal" in paths) return complain(context, paths.refusal, "syntax");
  const session = { ...context, given, paths };
  if (verb === "install-names") {
    const { installNames } = await import("./install-names.ts");
    return installNames(session, words[0] ?? ".", programPath());
  }
  if (verb === "proc" || verb === "initd-status" || verb === "overview") {
    return reachable(session, async () => (await import("./table-verbs.ts")).tableVerb(session, verb));
  }
  return withConfiguration(session, verb, words);
}

/** The file that is executed: this one where all are bundled into one, else `main` beside it. */
function programPath(): string {
  const own = fileURLToPath(import.meta.url);
  return join(dirname(own), `main${extname(own)}`);
}

function complain(context: Context, text: string, exit: ExitName): ExitName {
  context.err(`${text}\n`);
  return exit;
}

async function version(context: Context): Promise<ExitName> {
  const { PROTOCOL_VERSIONS, versionAssignments } = await import("./drbd-version.ts");
  const { engineVersion } = await import("../engine/control-version.ts");
  context.out(
    context.program === "drbdadm"
      ? versionAssignments()
      : `FUTAGO_VERSION=${engineVersion}\nDRBD_PROTOCOL_VERSIONS=${PROTOCOL_VERSIONS}\nNODE_VERSION=${process.versions.node}\n`,
  );
  return "ok";
}

/** drbdadm checks the node's address for these only. */
const networkVerbs: readonly VerbName[] = ["up", "adjust", "adjust-with-progress", "connect", "new-resource", "engine"];
const engineStarters: readonly VerbName[] = ["up", "adjust", "adjust-with-progress", "new-resource", "engine"];
/** Warnings of the configuration are for those who deal with it, not for every `role` of a script. */
const warningVerbs: readonly VerbName[] = [...networkVerbs, "dump", "dump-xml", "sh-nop"];

async function withConfiguration(session: Session, verb: VerbName, words: readonly string[]): Promise<End> {
  const { loadConfiguration } = await import("./configuration.ts");
  const configuration = loadConfiguration(session, networkVerbs.includes(verb));
  if ("exit" in configuration) return complain(session, configuration.text, configuration.exit);
  const startsEngine = engineStarters.includes(verb) && !session.given["dry-run"];
  if (startsEngine && configuration.file === "-") {
    return complain(session, `futago ${verb}: the engine reads the configuration itself: give it a file`, "usage");
  }
  if (session.given.verbose || warningVerbs.includes(verb)) {
    for (const warning of configuration.warnings) session.err(`${warning}\n`);
  }
  if (verb === "dump" || verb === "dump-xml") {
    return (await import("./dump-verb.ts")).dumpVerb(session, verb, configuration, words);
  }
  if (verbOf(verb).scope === "ignored" && words.length > 0) session.err("This command will ignore resource names!\n");
  const { stacked = false } = session.given;
  const chosen = verb === "wait-con-int" ? ["all"] : words;
  const targets = selectTargets(verb, chosen, configuration.known, session.paths.node, stacked);
  if ("refusal" in targets) return complain(session, targets.refusal, "usage");
  const named = words.length > 0 && !words.includes("all");
  return (await onAll(session, verb, configuration, targets, named)) ?? oneByOne(session, verb, configuration, targets);
}

/** Verbs that look at all of their targets at once; undefined for the others. */
async function onAll(
  session: Session,
  verb: VerbName,
  configuration: Configuration,
  targets: readonly Target[],
  named: boolean,
): Promise<End | undefined> {
  switch (verb) {
    case "status": {
      const { statusVerb } = await import("./status-verbs.ts");
      return reachable(session, () => statusVerb(session, targets, named));
    }
    case "events":
    case "events2": {
      const { eventsVerb } = await import("./events-verb.ts");
      return reachable(session, () => eventsVerb(session, verb, targets));
    }
    case "wait-con-int": {
      const { waitForAll } = await import("./boot-verbs.ts");
      return reachable(session, () => waitForAll(session, configuration, targets));
    }
    default: {
      if (!verb.startsWith("sh-")) return undefined;
      const { isShVerb, shVerb } = await import("./sh-verbs.ts");
      return isShVerb(verb) ? reachable(session, () => shVerb(session, verb, configuration, targets)) : undefined;
    }
  }
}

/** One target after the other; the worst exit code counts. */
async function oneByOne(
  session: Session,
  verb: VerbName,
  configuration: Configuration,
  targets: readonly Target[],
): Promise<End> {
  let worst: End = "ok";
  for (const target of targets) {
    const exit = await reachable(session, () => onTarget(session, verb, configuration, target));
    if (codeOf(exit) > codeOf(worst)) worst = exit;
    if (stopsAtOnce(codeOf(worst))) break;
  }
  return worst;
}

/** An engine that cannot be talked to is an expected failure. */
async function reachable(context: Context, body: () => Promise<End>): Promise<End> {
  try {
    return await body();
  } catch (error) {
    const isControlError = error instanceof Error && error.name === "ControlError";
    if (!isControlError) throw error;
    return context.interrupted.aborted ? "ok" : complain(context, error.message, "execution");
  }
}

async function onTarget(session: Session, verb: VerbName, configuration: Configuration, target: Target): Promise<End> {
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
    case "sh-b-pri":
      return (await import("./boot-verbs.ts")).becomePrimary(session, configuration, target);
    case "check-resize":
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
    default: {
      const { handlerVerb, isHandlerVerb } = await import("./handler-verb.ts");
      if (isHandlerVerb(verb)) return handlerVerb(session, verb, configuration, target);
      if (!isStateVerb(verb)) throw new Error(`verb ${verb} is not carried out`);
      return (await import("./perform.ts")).performVerb(session, verb, target, paths, configuration.file);
    }
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
