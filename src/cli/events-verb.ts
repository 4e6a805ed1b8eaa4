/** `events2` and the legacy `events`: one line for each change of any resource, also of those that come up later. */
import { setTimeout as delay } from "node:timers/promises";
import type { ResourceStatus } from "../core/status.ts";
import type { ControlReply } from "../engine/control-interface.ts";
import { resourcePaths } from "../engine/run-paths.ts";
import { dateOf } from "../node/clock.ts";
import type { Session } from "./context.ts";
import { reachEngine } from "./engine-process.ts";
import { changes, existing, helperLine, legacyChanges, legacyHelper, legacyLine, timestamp } from "./events-text.ts";
import type { ExitName } from "./exit-codes.ts";
import { statusNow } from "./status-verbs.ts";
import type { Target } from "./targets.ts";

/** How soon an engine that was not running is noticed. */
const LOOK_MS = 500;

/** How one of the two formats tells what there is and what changes. */
interface Teller {
  readonly exists: (status: ResourceStatus) => readonly string[];
  readonly end: readonly string[];
  readonly changes: (before: ResourceStatus | undefined, after: ResourceStatus | undefined) => readonly string[];
  readonly helper: (
    status: ResourceStatus,
    helper: string,
    volume: number | undefined,
    waitStatus: number | undefined,
  ) => string;
  readonly skipped: (count: number) => readonly string[];
}

function newTeller(statistics: boolean): Teller {
  return {
    exists: (status) => existing(status, statistics),
    end: ["exists -"],
    changes: (before, after) => changes(before, after, statistics),
    helper: helperLine,
    skipped: (count) => [`- skipped ${count}`],
  };
}

/** `wanted`: the volumes asked for, undefined for all. */
function legacyTeller(wanted: (status: ResourceStatus) => ResourceStatus): Teller {
  let sequence = 0;
  const next = (): number => ++sequence;
  const all = (status: ResourceStatus): readonly string[] =>
    status.volumes.map((volume) => legacyLine(next(), status, volume));
  return {
    exists: (status) => all(wanted(status)),
    end: [],
    changes: (before, after) => {
      if (after === undefined) return [];
      return before === undefined ? all(wanted(after)) : legacyChanges(wanted(before), wanted(after), next);
    },
    helper: (status, helper, volume, waitStatus) => legacyHelper(next(), status, helper, volume, waitStatus),
    skipped: () => [],
  };
}

/** Follows one resource from the status it is known with until interrupted. */
async function follow(
  session: Session,
  resource: string,
  start: ResourceStatus | undefined,
  teller: Teller,
  say: (lines: readonly string[]) => void,
): Promise<void> {
  const paths = resourcePaths(session.paths, resource);
  if ("refusal" in paths) return;
  let known = start;
  const hear = (reply: ControlReply): void => {
    if (reply.kind === "result") throw new Error(reply.outcome.text);
    if (reply.kind === "state") {
      if (reply.skipped > 0) say(teller.skipped(reply.skipped));
      say(teller.changes(known, reply.status));
      known = reply.status;
    } else if (known !== undefined && reply.kind === "helperCall") {
      say([teller.helper(known, reply.helper, reply.volume, undefined)]);
    } else if (known !== undefined && reply.kind === "helperResponse") {
      say([teller.helper(known, reply.helper, reply.volume, reply.status)]);
    }
  };
  while (!session.interrupted.aborted) {
    const client = await reachEngine(paths);
    if (client !== undefined) {
      const stop = (): void => client.close();
      session.interrupted.addEventListener("abort", stop, { once: true });
      await client.watch(hear);
      session.interrupted.removeEventListener("abort", stop);
      if (session.interrupted.aborted) return;
    }
    // Also an engine that ended between the first status and the watch.
    say(teller.changes(known, undefined));
    known = undefined;
    await delay(LOOK_MS, undefined, { signal: session.interrupted }).catch(() => {});
  }
}

/** Prints until interrupted; with `--now` only what is there. */
export async function eventsVerb(
  session: Session,
  verb: "events2" | "events",
  targets: readonly Target[],
): Promise<ExitName> {
  const { now, statistics, timestamps } = session.given;
  const names = [...new Set(targets.map(({ resource }) => resource))];
  const asked = (resource: string, volume: number): boolean =>
    targets.some((one) => one.resource === resource && (one.volume === undefined || one.volume === volume));
  const teller =
    verb === "events2"
      ? newTeller(statistics ?? false)
      : legacyTeller((status) => ({
          ...status,
          volumes: status.volumes.filter(({ volume }) => asked(status.name, volume)),
        }));
  const say = (lines: readonly string[]): void => {
    const prefix = timestamps ? `${timestamp(dateOf())} ` : "";
    if (lines.length > 0) session.out(lines.map((line) => `${prefix}${line}\n`).join(""));
  };
  const found: (readonly [string, ResourceStatus | undefined])[] = [];
  for (const name of names) {
    const paths = resourcePaths(session.paths, name);
    const status = "refusal" in paths ? undefined : await statusNow(paths);
    if (status !== undefined) say(teller.exists(status));
    found.push([name, status]);
  }
  say(teller.end);
  if (now) return "ok";
  await Promise.all(found.map(([name, status]) => follow(session, name, status, teller, say)));
  return "ok";
}
