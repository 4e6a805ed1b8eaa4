/** `status`, `role`, `cstate`, `dstate`: what a running engine says of itself. */
import type { ResourceStatus } from "../core/status.ts";
import { type ResourcePaths, resourcePaths } from "../engine/run-paths.ts";
import type { Session } from "./context.ts";
import type { ControlClient } from "./control-client.ts";
import { reachEngine } from "./engine-process.ts";
import { type ExitName, refusalLine } from "./exit-codes.ts";
import { notAllocated, statusOf } from "./perform.ts";
import { statusJson } from "./status-json.ts";
import { type ShortQuery, shortText, statusText } from "./status-text.ts";
import type { Target } from "./targets.ts";

/** The status of a resource whose engine runs, else undefined. */
export async function statusNow(paths: ResourcePaths): Promise<ResourceStatus | undefined> {
  const client = await reachEngine(paths);
  if (client === undefined) return undefined;
  try {
    return await statusOf(client);
  } finally {
    client.close();
  }
}

/** Called as drbdadm or drbdsetup nothing but their lines: programs read them. */
const forPeople = (status: ResourceStatus, { given, program }: Session): string =>
  statusText(status, given.verbose ?? false)
    .split("\n")
    .filter((line) => program === "futago" || !line.trimStart().startsWith("#"))
    .join("\n");
const jsonText = (statuses: readonly ResourceStatus[]): string =>
  `${JSON.stringify(statuses.map(statusJson), null, 2)}\n`;

/** `status` of several resources at once, because `--json` prints one array. `named`: the user named them. */
export async function statusVerb(session: Session, targets: readonly Target[], named: boolean): Promise<ExitName> {
  if (session.given.watch) return watchVerb(session, targets);
  const statuses: ResourceStatus[] = [];
  let exit: ExitName = "ok";
  for (const { resource } of targets) {
    const paths = resourcePaths(session.paths, resource);
    const status = "refusal" in paths ? undefined : await statusNow(paths);
    if (status !== undefined) {
      statuses.push(status);
      if (!session.given.json) session.out(forPeople(status, session));
      continue;
    }
    session.err(`${resource}: No such resource\n  its engine is not running: futago up ${resource}\n`);
    // Without a name the question was what is there; that nothing is there is an answer.
    if (named) exit = "configuration";
  }
  if (session.given.json) session.out(jsonText(statuses));
  return exit;
}

/** Prints each new status until interrupted, or until every engine has ended. */
async function watchVerb(session: Session, targets: readonly Target[]): Promise<ExitName> {
  const clients: ControlClient[] = [];
  for (const { resource } of targets) {
    const paths = resourcePaths(session.paths, resource);
    const client = "refusal" in paths ? undefined : await reachEngine(paths);
    if (client === undefined) session.err(`${resource}: No such resource\n`);
    else clients.push(client);
  }
  if (clients.length === 0) return "configuration";
  const stop = (): void => {
    for (const client of clients) client.close();
  };
  session.interrupted.addEventListener("abort", stop, { once: true });
  if (session.interrupted.aborted) stop();
  await Promise.all(
    clients.map((client) =>
      client.watch((reply) => {
        if (reply.kind === "result") throw new Error(reply.outcome.text);
        if (reply.kind !== "state") return;
        // One JSON text per line, so that a program can read the stream.
        const { status } = reply;
        session.out(session.given.json ? `${JSON.stringify([statusJson(status)])}\n` : forPeople(status, session));
      }),
    ),
  );
  session.interrupted.removeEventListener("abort", stop);
  return "ok";
}

/** `fallback` answers from the metadata when no engine runs. */
export async function shortVerb(
  session: Session,
  query: ShortQuery,
  target: Target,
  paths: ResourcePaths,
  fallback: (() => Promise<ExitName>) | undefined,
): Promise<ExitName> {
  const status = await statusNow(paths);
  if (status !== undefined) {
    session.out(shortText(query, status, target.volume));
    return "ok";
  }
  if (fallback !== undefined) return fallback();
  session.err(`${refusalLine(target.object, notAllocated)}\n`);
  return "configuration";
}
