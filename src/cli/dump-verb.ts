/** `futago dump` and `dump-xml`: the configuration in drbdadm's forms (drbd-84 §10.7). */
import { dump, dumpResource } from "../core/config/dump.ts";
import type { Configuration } from "./configuration.ts";
import type { Session } from "./context.ts";
import { dumpResourceXml, dumpXml } from "./dump-xml.ts";
import type { ExitName } from "./exit-codes.ts";

const forms = {
  dump: { all: dump, one: dumpResource },
  "dump-xml": { all: dumpXml, one: dumpResourceXml },
} as const;

/** Everything, or the resources named: those that are ignored on this host too, for they can be read all the same. */
export function dumpVerb(
  session: Session,
  form: keyof typeof forms,
  { tree, node }: Configuration,
  words: readonly string[],
): ExitName {
  if (words.length === 0 || words.includes("all")) {
    session.out(forms[form].all(tree, node));
    return "ok";
  }
  for (const word of words) {
    const resource = tree.resources.find((candidate) => candidate.name === word);
    if (resource === undefined) {
      session.err(`'${word}' not defined in your config (for this host).\n`);
      return "usage";
    }
    session.out(forms[form].one(tree, resource, node));
  }
  return "ok";
}
