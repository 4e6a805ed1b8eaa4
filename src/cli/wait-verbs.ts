/** `wait-connect` and `wait-sync`: the engine waits, this prints why it ended and turns it into an exit code (drbd-84 §10.5). */
import type { WaitRequest } from "../engine/control-interface.ts";
import type { ResourcePaths } from "../engine/run-paths.ts";
import type { GivenOptions } from "./command-line.ts";
import { type Configuration, resourceOf } from "./configuration.ts";
import type { Session } from "./context.ts";
import { reachEngine } from "./engine-process.ts";
import { type ExitName, refusalLine } from "./exit-codes.ts";
import { notAllocated } from "./perform.ts";
import type { Target } from "./targets.ts";

/** drbd.conf's startup section, in seconds; 0 for ever. */
export interface StartupTimeouts {
  readonly wfcTimeout: number;
  readonly degrWfcTimeout: number;
  readonly outdatedWfcTimeout: number;
  readonly waitAfterSb: boolean;
}

/**
 * The timeouts in force: options win over the file. As drbdsetup, where a rarer case would wait longer than a commoner one
 * (0 is the longest): degraded waits as the plain one, and so does outdated if it would wait longer than degraded.
 */
export function waitTimeouts(startup: StartupTimeouts, given: GivenOptions): StartupTimeouts {
  const waitsLonger = (value: number, than: number): boolean => than > 0 && (value === 0 || value > than);
  const wfcTimeout = given["wfc-timeout"] ?? startup.wfcTimeout;
  const degr = given["degr-wfc-timeout"] ?? startup.degrWfcTimeout;
  const degrWfcTimeout = waitsLonger(degr, wfcTimeout) ? wfcTimeout : degr;
  const outdated = given["outdated-wfc-timeout"] ?? startup.outdatedWfcTimeout;
  const outdatedWfcTimeout = waitsLonger(outdated, degrWfcTimeout) ? wfcTimeout : outdated;
  return { wfcTimeout, degrWfcTimeout, outdatedWfcTimeout, waitAfterSb: given["wait-after-sb"] ?? startup.waitAfterSb };
}

/** Where no configuration is asked: as drbdsetup, for ever (drbd-84 §10.5). */
export const usualTimeouts: StartupTimeouts = {
  wfcTimeout: 0,
  degrWfcTimeout: 0,
  outdatedWfcTimeout: 0,
  waitAfterSb: false,
};

/** The startup section of a resource, in seconds. */
export function startupOf(configuration: Configuration, resource: string): StartupTimeouts {
  const { values } = resourceOf(configuration, resource).startup;
  return {
    wfcTimeout: values["wfc-timeout"] / 1000,
    degrWfcTimeout: values["degr-wfc-timeout"] / 1000,
    outdatedWfcTimeout: values["outdated-wfc-timeout"] / 1000,
    waitAfterSb: values["wait-after-sb"],
  };
}

export async function waitVerb(
  session: Session,
  verb: "wait-connect" | "wait-sync",
  target: Target,
  paths: ResourcePaths,
  startup: StartupTimeouts,
): Promise<ExitName> {
  const request: WaitRequest = {
    verb: verb === "wait-connect" ? "waitConnect" : "waitSync",
    volume: target.volume,
    ...waitTimeouts(startup, session.given),
  };
  if (session.given["dry-run"]) {
    const { wfcTimeout, degrWfcTimeout, outdatedWfcTimeout } = request;
    session.out(
      `${target.resource}: ${verb}, seconds ${wfcTimeout} (degraded ${degrWfcTimeout}, outdated ${outdatedWfcTimeout})\n`,
    );
    return "ok";
  }
  const client = await reachEngine(paths);
  if (client === undefined) {
    session.err(`${refusalLine(target.object, notAllocated)}\n`);
    return "configuration";
  }
  const stop = (): void => client.close();
  session.interrupted.addEventListener("abort", stop, { once: true });
  try {
    const reply = await client.request(request, undefined);
    if (reply.kind !== "waited") throw new Error(`expected the end of the wait, got ${reply.kind}`);
    return waitExit(session, target, reply);
  } finally {
    session.interrupted.removeEventListener("abort", stop);
    client.close();
  }
}

function waitExit(session: Session, target: Target, waited: { result: string; reason: string }): ExitName {
  const why = waited.reason === "" ? "" : ` (${waited.reason})`;
  if (waited.result === "timed-out") {
    session.err(`${target.resource}: no connection in time${why}\n`);
    return "waitOrOutdated";
  }
  // Success in DRBD too: the init script must not hang where a person has to decide.
  if (waited.result === "stand-alone")
    session.err(`${target.resource}: not waiting, the connection is StandAlone${why}\n`);
  return "ok";
}
