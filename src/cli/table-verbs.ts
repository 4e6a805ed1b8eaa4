/** `proc`, `initd-status`, `overview`: the texts that DRBD's kernel module and scripts print for all minors at once. */
import type { Session } from "./context.ts";
import { procHead } from "./drbd-version.ts";
import type { ExitName } from "./exit-codes.ts";
import { initdText, type MountOf, overviewText } from "./initd-text.ts";
import { mountOf } from "./mounts.ts";
import { procText } from "./proc-text.ts";
import { runningEngines } from "./running.ts";

export type TableVerb = "proc" | "initd-status" | "overview";
export const isTableVerb = (verb: string): verb is TableVerb =>
  verb === "proc" || verb === "initd-status" || verb === "overview";

const onDevice: MountOf = (minor) => mountOf(`/dev/drbd${minor}`);

/** `initd-status` exits as `notRunning` if no engine runs: to the init script the module is not loaded then. */
export async function tableVerb(session: Session, verb: TableVerb): Promise<ExitName> {
  const statuses = (await runningEngines(session.paths)).map(({ status }) => status);
  switch (verb) {
    case "proc":
      session.out(procText(procHead(), statuses));
      return "ok";
    case "overview":
      session.out(overviewText(statuses, onDevice));
      return "ok";
    case "initd-status":
      if (statuses.length === 0) {
        session.err("drbd not loaded\n");
        return "notRunning";
      }
      session.out(initdText(procHead(), statuses, onDevice));
      return "ok";
    default:
      return verb satisfies never;
  }
}
