/** Carries out the steps of a plan on one resource. */
import { resolve } from "node:path";
import type { Outcome, ResourceStatus } from "../core/status.ts";
import type { StateRequest } from "../engine/control-interface.ts";
import type { ResourcePaths } from "../engine/run-paths.ts";
import { adviceOn } from "./advice.ts";
import type { Session } from "./context.ts";
import type { ControlClient } from "./control-client.ts";
import { awaitEnd, reachEngine, startEngine } from "./engine-process.ts";
import { type ExitName, exitNameOf, isSuccess, refusalLine } from "./exit-codes.ts";
import { planOf, type StateVerb, type Step, stepText } from "./plan.ts";
import type { Target } from "./targets.ts";

/** What drbdsetup answers for a minor, or a resource, that the kernel does not know (drbd-84 §10.6). */
export const notAllocated = { code: 127, text: "Device minor not allocated" };
export const unknownResource = { code: 158, text: "Unknown resource" };

/** A state change may wait for the peer, for I/O, for a fencing handler: only the engine's end bounds it. */
const NO_LIMIT = undefined;

/** Prints refusals; the result is the exit code's name. `configFile`: the file the engine shall read. */
export async function performVerb(
  session: Session,
  verb: StateVerb,
  target: Target,
  paths: ResourcePaths,
  configFile: string,
): Promise<ExitName> {
  const steps = planOf(verb, target, session.given);
  if (session.given["dry-run"]) {
    for (const step of steps) session.out(`${stepText(target, step)}\n`);
    return "ok";
  }
  let client = await reachEngine(paths);
  try {
    if (client === undefined && verb === "down") return "ok";
    if (client === undefined && steps[0]?.kind === "start engine") {
      const started = await startEngine(engineCommand(session, target.resource, configFile), paths, session.env);
      if ("failure" in started) {
        session.err(`${target.resource}: ${started.failure}\n`);
        return "execution";
      }
      client = started;
    }
    if (client === undefined) return refuse(session, verb, target);
    return await performSteps(session, client, steps, target, paths);
  } finally {
    client?.close();
  }
}

/** Program and arguments for the engine of `resource`. */
export function engineCommand(session: Session, resource: string, configFile: string): readonly string[] {
  const { given, paths } = session;
  return [
    ...session.engineCommand,
    resource,
    "-c",
    resolve(session.cwd, configFile),
    ...(paths.named ? ["--node", paths.node] : []),
    ...(given.log === undefined ? [] : ["--log", given.log]),
  ];
}

function refuse(session: Session, verb: StateVerb, target: Target): ExitName {
  const onResource = ["connect", "disconnect", "new-minor", "sh-new-minor"].includes(verb);
  session.err(
    `${refusalLine(onResource ? target.resource : target.object, onResource ? unknownResource : notAllocated)}\n`,
  );
  session.err(`  the engine of ${target.resource} is not running: futago up ${target.resource}\n`);
  return "configuration";
}

async function performSteps(
  session: Session,
  client: ControlClient,
  steps: readonly Step[],
  target: Target,
  paths: ResourcePaths,
): Promise<ExitName> {
  const version = await client.request({ verb: "version" });
  const pid = version.kind === "version" ? version.pid : 0;
  for (const step of steps) {
    if (step.kind === "request") {
      const exit = await performRequest(session, client, step, target);
      if (exit !== "ok") return exit;
    }
    if (step.kind === "await end" && !(await awaitEnd(paths, pid))) {
      session.err(`${target.resource}: the engine (process ${pid}) has not ended yet; see ${paths.log}\n`);
      return "execution";
    }
  }
  return "ok";
}

async function performRequest(
  session: Session,
  client: ControlClient,
  step: Extract<Step, { kind: "request" }>,
  target: Target,
): Promise<ExitName> {
  const requests = step.unlessDone ? stillToDo(step.request, await statusOf(client)) : [step.request];
  for (const request of requests) {
    const reply = await client.request(request, NO_LIMIT);
    if (reply.kind !== "result") throw new Error(`expected a result, got ${reply.kind}`);
    if (!isSuccess(reply.outcome)) return refused(session, request, reply.outcome, target);
  }
  return "ok";
}

function refused(session: Session, request: StateRequest, outcome: Outcome, target: Target): ExitName {
  const onResource = request.verb === "connect" || request.verb === "disconnect" || request.verb === "down";
  session.err(`${refusalLine(onResource ? target.resource : target.object, outcome)}\n`);
  const advice = adviceOn(request.verb, outcome.code, target.resource);
  if (advice !== undefined) session.err(`${advice}\n`);
  return exitNameOf(outcome);
}

/** The status of a running engine. */
export async function statusOf(client: ControlClient): Promise<ResourceStatus> {
  const reply = await client.request({ verb: "status" });
  if (reply.kind !== "state") throw new Error(`expected a status, got ${reply.kind}`);
  return reply.status;
}

/** `up` on a resource that is partly up: only what is missing. */
function stillToDo(request: StateRequest, status: ResourceStatus): readonly StateRequest[] {
  if (request.verb === "connect") return status.connection === "StandAlone" ? [request] : [];
  if (request.verb !== "attach") return [request];
  const missing = status.volumes.filter((volume) => volume.disk === "Diskless");
  if (missing.length === status.volumes.length) return [request];
  return missing.map((volume) => ({ verb: "attach", volume: volume.volume }));
}
