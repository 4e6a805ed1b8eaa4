/** `futago install-names DIR`: links by which this program is called drbdadm, drbdsetup, drbdmeta and drbd-overview. */
import { lstatSync, readlinkSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Session } from "./context.ts";
import type { ExitName } from "./exit-codes.ts";
import { linkNames } from "./programs.ts";

/** Undefined: nothing of that name. An empty target: something that is no link. */
function linkTarget(path: string): string | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  return found.isSymbolicLink() ? readlinkSync(path) : "";
}

/** Refuses as a whole if a name is taken by something else, unless forced: half of DRBD's own programs would be worse than all. */
export function installNames(session: Session, folder: string, program: string): ExitName {
  const links = linkNames.map((name) => ({ name, path: join(resolve(session.cwd, folder), name) }));
  const missing = links.filter(({ path }) => linkTarget(path) !== program);
  const taken = missing.filter(({ path }) => linkTarget(path) !== undefined);
  if (taken.length > 0 && !session.given.force) {
    for (const { path } of taken) session.err(`${path} exists and is no link to ${program}\n`);
    session.err("  to replace it: futago install-names --force\n");
    return "execution";
  }
  for (const { path } of missing) {
    session.out(`${path} -> ${program}\n`);
    if (session.given["dry-run"]) continue;
    // First under another name, so that there is no moment without a program of this name.
    const fresh = `${path}.futago-new`;
    rmSync(fresh, { force: true });
    symlinkSync(program, fresh);
    renameSync(fresh, path);
  }
  return "ok";
}
