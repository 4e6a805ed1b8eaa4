/** `futago dump`: the configuration in drbdadm's form (drbd-84 §10.7). */
import { dump, dumpResource } from "../core/config/dump.ts";
import type { Configuration } from "./configuration.ts";
import type { Session } from "./context.ts";
import type { ExitName } from "./exit-codes.ts";

/** Everything, or the resources named: those that are ignored on this host too, for they can be read all the same. */
export function dumpVerb(session: Session, { tree, node }: Configuration, words: readonly string[]): ExitName {
  if (words.length === 0 || words.includes("all")) {
    session.out(dump(tree, node));
    return "ok";
  }
  for (const word of words) {
    const resource = tree.resources.find((candidate) => candidate.name === word);
    if (resource === undefined) {
      session.err(`'${word}' not defined in your config (for this host).\n`);
      return "usage";
    }
    session.out(dumpResource(tree, resource, node));
  }
  return "ok";
}
