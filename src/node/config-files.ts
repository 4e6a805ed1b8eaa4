/** Configuration files and the machine's own addresses, for `core/config`. */
import { readdirSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import { matchesGlob } from "../core/config/glob.ts";
import type { NodeIdentity } from "../core/config/node.ts";
import type { Files } from "../core/config/parse-config.ts";
import type { ConfigTree } from "../core/config/tree.ts";

/** Undefined if it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Files below `main`, whose text is already there: standard input can be read only once. */
export function filesBelow(main: string, text: string): Files {
  return { readFile: (path) => (path === main ? text : readText(path)), glob: globFiles };
}

/** glob(7) path component by path component; hidden files need a pattern that says so. */
export function globFiles(pattern: string): readonly string[] {
  const isPattern = (text: string): boolean => /[*?[]/.test(text);
  if (!isPattern(pattern)) return [pattern];
  const folder = dirname(pattern);
  const last = pattern.slice(pattern.lastIndexOf("/") + 1);
  return globFiles(folder)
    .flatMap((found) => namesIn(found).flatMap((name) => (matchesGlob(last, name) ? [join(found, name)] : [])))
    .sort();
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * This node. Addresses of `floating` sections decide whose section it is, so they are always looked up; those of `on` sections are only
 * checked with `verifyAddress`.
 */
export function nodeIdentity(name: string, tree: ConfigTree, verifyAddress: boolean): NodeIdentity {
  const own = new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((one) => one.address)));
  const floating = new Set(
    tree.resources.flatMap((resource) =>
      resource.hosts.flatMap((host) => (host.kind === "floating" && host.address ? [host.address.address] : [])),
    ),
  );
  // Every address of 127.0.0.0/8 is the machine's own, though only 127.0.0.1 is listed (ip-address(8)).
  const isOwn = (address: string): boolean => own.has(address) || address.startsWith("127.");
  return { name, hasAddress: (address) => isOwn(address) || (!verifyAddress && !floating.has(address)) };
}
