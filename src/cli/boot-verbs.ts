/** What the init script does with all resources after `adjust`: wait for the peers, then become Primary where it is wanted. */
import { setTimeout as delay } from "node:timers/promises";
import { resourcePaths } from "../engine/run-paths.ts";
import { type Configuration, resourceOf } from "./configuration.ts";
import type { Session } from "./context.ts";
import { type ExitName, exitCodes } from "./exit-codes.ts";
import { performVerb } from "./perform.ts";
import type { Target } from "./targets.ts";
import { startupOf, waitVerb } from "./wait-verbs.ts";

/** drbd-84 §10.5: five tries, one second apart. */
const TRIES = 5;
const PAUSE_MS = 1000;

const worse = (a: ExitName, b: ExitName): ExitName => (exitCodes[a].code >= exitCodes[b].code ? a : b);

/** All at the same time, so that the timeouts do not add up. */
export async function waitForAll(
  session: Session,
  configuration: Configuration,
  targets: readonly Target[],
): Promise<ExitName> {
  const ends = await Promise.all(
    targets.map((target) => {
      const paths = resourcePaths(session.paths, target.resource);
      if ("refusal" in paths) return "configuration" as const;
      return waitVerb(session, "wait-connect", target, paths, startupOf(configuration, target.resource));
    }),
  );
  return ends.reduce(worse, "ok");
}

/** Where `become-primary-on` names this node, or both. */
export async function becomePrimary(session: Session, configuration: Configuration, target: Target): Promise<ExitName> {
  const names = resourceOf(configuration, target.resource).startup.values["become-primary-on"];
  if (!names.includes("both") && !names.includes(configuration.node.name)) return "ok";
  const paths = resourcePaths(session.paths, target.resource);
  if ("refusal" in paths) return "configuration";
  for (let tries = 1; ; tries++) {
    const exit = await performVerb(session, "primary", target, paths, configuration.file);
    if (exit === "ok" || tries === TRIES || session.interrupted.aborted) return exit;
    await delay(PAUSE_MS, undefined, { signal: session.interrupted }).catch(() => {});
  }
}
