/**
 * Called as drbdsetup: its commands, texts and exit codes (drbd-84 §10.6), carried out by the engines that run. Only `new-resource`
 * and `show` need the configuration file: everything else works without it, as it does in the kernel.
 */
import { nodePaths, resourcePaths } from "../engine/run-paths.ts";
import { type GivenOptions, parseCommandLine } from "./command-line.ts";
import type { Context, Session } from "./context.ts";
import { isSetupVerb, type SetupVerb, type SetupVerbName, setupVerbNames, setupVerbs } from "./drbdsetup-verbs.ts";
import { type ExitName, refusalLine } from "./exit-codes.ts";
import { notAllocated, performVerb, unknownResource } from "./perform.ts";
import { isStateVerb } from "./plan.ts";
import { foldersOf, type Running, runningEngines } from "./running.ts";
import { shStatus, shStatusOfNothing } from "./sh-status-text.ts";
import type { Target } from "./targets.ts";

interface Command {
  readonly name: SetupVerbName;
  readonly row: SetupVerb;
  readonly object: string;
  readonly more: readonly string[];
  readonly given: GivenOptions;
  /** Options left to the configuration file. */
  readonly left: readonly string[];
}

interface Refusal {
  readonly refusal: string;
}

/** The minor of `0`, `minor-0`, `/dev/drbd0`. */
const minorOf = (word: string): number | undefined => {
  const digits = /^(?:minor-|\/dev\/drbd)?(\d{1,7})$/.exec(word)?.[1];
  return digits === undefined ? undefined : Number(digits);
};

/** Both orders of command and object, as drbdsetup takes them: `primary 0` and `0 primary`. */
function parse(argv: readonly string[]): Command | Refusal {
  const [first = "", second = ""] = argv;
  const swapped = !isSetupVerb(first) && isSetupVerb(second);
  const [name, ...words] = swapped ? [second, first, ...argv.slice(2)] : argv;
  if (name === undefined || !isSetupVerb(name)) return { refusal: `${usage()}\ninvalid command` };
  const row: SetupVerb = setupVerbs[name];
  const plain = words.filter((word) => !word.startsWith("-"));
  const isTaken = (word: string): boolean =>
    row.options.some((option) => word === `--${option}` || word.startsWith(`--${option}=`));
  const dashed = words.filter((word) => word.startsWith("-"));
  const left = dashed.filter((word) => !isTaken(word));
  if (left.length > 0 && !row.configured) return { refusal: `drbdsetup: unrecognized option '${left[0]}'` };
  const object = plain[0] ?? (row.optional ? "all" : "");
  if (object === "" || plain.length > 1 + row.more) return { refusal: `USAGE: drbdsetup ${usageOf(name)}` };
  if (plain.length > 0 && plain.length < 1 + row.more) return { refusal: `USAGE: drbdsetup ${usageOf(name)}` };
  // The words of options are the same as futago's, so its reader takes them.
  const read = parseCommandLine([row.does === "show" ? "status" : row.does, ...dashed.filter(isTaken)]);
  if (read.kind === "refused") return { refusal: read.text };
  return { name, row, object, more: plain.slice(1), given: read.kind === "command" ? read.given : {}, left };
}

const usage = (): string =>
  `USAGE: drbdsetup command device arguments options\nCommands are:\n  ${setupVerbNames.join(" ")}`;
const moreWords: Readonly<Partial<Record<SetupVerbName, string>>> = {
  attach: " lower_dev meta_data_dev meta_data_index",
  connect: " local_addr remote_addr",
  disconnect: " remote_addr",
  "new-minor": " minor volume",
};
const objectWords = { minor: "minor", resource: "resource", addresses: "local_addr", any: "{resource|minor|all}" };
const usageOf = (name: SetupVerbName): string =>
  `${name} ${objectWords[setupVerbs[name].object]}${moreWords[name] ?? ""}`;

/** Exit code 20 for wrong usage, unlike drbdadm's 1. */
export async function drbdsetup(argv: readonly string[], context: Context): Promise<ExitName> {
  const command = parse(argv);
  if ("refusal" in command) {
    context.err(`${command.refusal}\n`);
    return "execution";
  }
  const { given, left } = command;
  const paths = nodePaths(undefined, context.env, context.hostname);
  if ("refusal" in paths) {
    context.err(`${paths.refusal}\n`);
    return "execution";
  }
  if (left.length > 0) context.err(`futago: the engine has options from the configuration file: ${left.join(" ")}\n`);
  const session: Session = { ...context, given, paths };
  const running = await runningEngines(paths);
  return carryOut(session, command, running);
}

async function carryOut(session: Session, command: Command, running: readonly Running[]): Promise<ExitName> {
  const { row, object } = command;
  switch (row.does) {
    case "sh-status":
      return shellStatus(session, object, running);
    case "show":
      return (await import("./drbdsetup-show.ts")).show(session, object, running);
    case "events":
    case "events2": {
      const { eventsVerb } = await import("./events-verb.ts");
      const all = foldersOf(session.paths).map((resource) => ({ resource, volume: undefined, object: resource }));
      const one = targetOf(command, running) ?? { resource: object, volume: undefined, object };
      return eventsVerb(session, row.does, object === "all" ? all : [one]);
    }
    case "status": {
      const { statusVerb } = await import("./status-verbs.ts");
      const all = running.map(({ status: { name } }) => ({ resource: name, volume: undefined, object: name }));
      const one = { resource: object, volume: undefined, object };
      return statusVerb(session, object === "all" ? all : [one], object !== "all");
    }
    default:
      return onOne(session, command, running);
  }
}

/** The volume or resource that the words name, if an engine has it. */
function targetOf({ row, object, more }: Command, running: readonly Running[]): Target | undefined {
  if (row.object === "addresses") {
    const [local, remote] = [object, more[0] ?? ""].map(withoutFamily);
    const found = running.find(({ status }) => status.local === local && status.remote === remote);
    return found && { resource: found.status.name, volume: undefined, object: found.status.name };
  }
  const named = running.find(({ status }) => status.name === object);
  if (row.object !== "minor" && named !== undefined) return { resource: object, volume: undefined, object };
  const minor = minorOf(object);
  for (const { status } of running) {
    const volume = status.volumes.find((one) => one.minor === minor);
    if (volume !== undefined) return { resource: status.name, volume: volume.volume, object: String(minor) };
  }
  return undefined;
}

/** `ipv4:10.0.0.1:7789` as a status shows it. */
const withoutFamily = (word: string): string => word.replace(/^(?:ipv4|ipv6|sdp|ssocks):/, "");

async function onOne(session: Session, command: Command, running: readonly Running[]): Promise<ExitName> {
  const { row, object } = command;
  if (row.does === "new-resource") return newResource(session, object);
  const target = targetOf(command, running);
  if (target === undefined) return absent(session, command);
  const paths = resourcePaths(session.paths, target.resource);
  if ("refusal" in paths) throw new Error(paths.refusal);
  const engine = running.find(({ status }) => status.name === target.resource);
  const mismatch = engine === undefined ? undefined : otherThanConfigured(command, engine);
  if (mismatch !== undefined) {
    session.err(`${target.object}: Failure: (162) Invalid configuration request\n${mismatch}\n`);
    return "configuration";
  }
  switch (row.does) {
    case "role":
    case "cstate":
    case "dstate":
      return (await import("./status-verbs.ts")).shortVerb(session, row.does, target, paths, undefined);
    case "wait-connect":
    case "wait-sync": {
      const { waitVerb, usualTimeouts } = await import("./wait-verbs.ts");
      return waitVerb(session, row.does, target, paths, usualTimeouts);
    }
    case "get-gi":
    case "show-gi":
      return generation(session, row.does, target, paths.control);
    case "new-minor":
      return "ok";
    default:
      if (row.does === "show" || !isStateVerb(row.does)) throw new Error(`verb ${row.does} is not carried out`);
      return performVerb(session, row.does, target, paths, "");
  }
}

async function generation(
  session: Session,
  verb: "get-gi" | "show-gi",
  target: Target,
  control: string,
): Promise<ExitName> {
  const { ControlClient } = await import("./control-client.ts");
  const { generationOf, generationText } = await import("./generation-verbs.ts");
  const client = await ControlClient.connect(control);
  try {
    const view = await generationOf(client, target.volume ?? 0);
    if (view !== undefined) session.out(generationText(verb, view));
    else session.err(`${refusalLine(target.object, { code: 138, text: "Device does not have a disk" })}\n`);
    return view === undefined ? "configuration" : "ok";
  } finally {
    client.close();
  }
}

/** The engine uses the disks and addresses of the configuration file; others cannot be given here. Undefined: they are the same. */
function otherThanConfigured({ name, object, more }: Command, { status }: Running): string | undefined {
  if (name === "attach") {
    const volume = status.volumes.find((one) => one.minor === minorOf(object));
    return volume?.backingDisk === more[0] ? undefined : `the configuration file says disk ${volume?.backingDisk}`;
  }
  if (name === "connect") {
    const [local, remote] = more.map(withoutFamily);
    if (status.local === local && status.remote === remote) return undefined;
    return `the configuration file says ${status.local} to ${status.remote}`;
  }
  if (name === "new-minor") {
    const volume = status.volumes.find((one) => one.volume === Number(more[1]));
    return String(volume?.minor) === more[0] ? undefined : "the configuration file has another minor for this volume";
  }
  return undefined;
}

/** What the kernel answers for an object that it does not have. */
function absent(session: Session, { name, row, object }: Command): ExitName {
  if (name === "down") return "ok";
  if (row.object === "addresses") {
    session.err("??: Failure: (162) Invalid configuration request\nunknown connection\n");
  } else if (row.object === "minor") session.err(`${refusalLine(object.replace(/^\D+/, ""), notAllocated)}\n`);
  else session.err(`${refusalLine(object, unknownResource)}\n`);
  return "configuration";
}

async function newResource(session: Session, resource: string): Promise<ExitName> {
  const { loadConfiguration } = await import("./configuration.ts");
  const configuration = loadConfiguration(session, true);
  if ("exit" in configuration) {
    session.err(`${configuration.text}\n`);
    return configuration.exit;
  }
  const paths = resourcePaths(session.paths, resource);
  const known = configuration.known.find((one) => one.name === resource);
  if ("refusal" in paths || known === undefined || known.ignored) {
    session.err(`${refusalLine(resource, { code: 162, text: "Invalid configuration request" })}\n`);
    session.err(`the engine of a resource reads ${configuration.file}, which does not define it for this host\n`);
    return "configuration";
  }
  const target = { resource, volume: undefined, object: resource };
  return performVerb(session, "new-resource", target, paths, configuration.file);
}

/** Assignments for each volume of the object. A minor that is not there is told as such; a resource that is not there fails. */
function shellStatus(session: Session, object: string, running: readonly Running[]): ExitName {
  const minor = minorOf(object);
  const named = running.some(({ status }) => status.name === object);
  let printed = false;
  for (const { status } of running) {
    for (const volume of status.volumes) {
      const wanted = object === "all" || status.name === object || (!named && volume.minor === minor);
      if (!wanted) continue;
      session.out(shStatus(status, volume));
      printed = true;
    }
  }
  if (printed || object === "all") return "ok";
  if (minor === undefined) return "configuration";
  session.out(shStatusOfNothing(minor, "", -1));
  return "ok";
}
