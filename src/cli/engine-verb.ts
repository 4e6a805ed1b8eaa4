/** `futago engine RES`: the engine in this very process, for systemd and for looking at it. */
import { mkdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { ResourcePaths } from "../engine/run-paths.ts";
import type { Configuration } from "./configuration.ts";
import type { Session } from "./context.ts";
import { reachEngine, writePid } from "./engine-process.ts";
import type { ExitName } from "./exit-codes.ts";
import { engineCommand } from "./perform.ts";
import { notifyReady } from "./service-notify.ts";

/** Returns when the engine's module has started; the process lives on until the engine ends it. */
export async function engineVerb(
  session: Session,
  resource: string,
  paths: ResourcePaths,
  { file }: Configuration,
): Promise<ExitName> {
  const command = engineCommand(session, resource, file);
  if (session.given["dry-run"]) {
    session.out(`${resource}: run ${command.join(" ")}\n`);
    return "ok";
  }
  const running = await reachEngine(paths);
  if (running !== undefined) {
    running.close();
    session.err(`${resource}: its engine is running already\n`);
    return "execution";
  }
  mkdirSync(paths.run, { recursive: true, mode: 0o700 });
  writePid(paths, process.pid);
  const [, program = "", ...args] = command;
  // Taking the engine's place keeps the process id that systemd watches.
  process.argv = [process.execPath, program, ...args];
  // Interrupting an engine is the engine's affair: it has I/O to finish.
  process.removeAllListeners("SIGINT");
  // Its module has run to its end when the engine answers on its control socket.
  await import(pathToFileURL(program).href);
  const trouble = await notifyReady(session.env, process.pid, `engine of ${resource} runs`);
  if (trouble !== undefined) session.err(`${resource}: ${trouble}\n`);
  return "ok";
}
