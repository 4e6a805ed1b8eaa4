import { existsSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import path from "node:path";
import test from "ava";
import { dump } from "../../../../src/core/config/dump.ts";
import { checkForNode, type NodeIdentity } from "../../../../src/core/config/node.ts";
import { parseConfig } from "../../../../src/core/config/parse-config.ts";
import {
  disk,
  type Exits,
  exitsFile,
  expectedPath,
  FOLDER,
  identity,
  isInstalled,
  listVectors,
  nodesOf,
  type Run,
  runDrbdadm,
  vectors,
} from "./helpers/vectors.ts";

const exits = JSON.parse(readFileSync(exitsFile, "utf8")) as Exits;
const files = [...listVectors("valid"), ...listVectors("invalid")];

/** What `drbdadm dump` does: read, check for this node, print. */
function ours(file: string, node: NodeIdentity): Run {
  const result = parseConfig(disk, path.join(vectors, file));
  if ("errors" in result) return { exit: 10, stdout: "" };
  if (checkForNode(result.tree, node).length > 0) return { exit: 10, stdout: "" };
  return { exit: 0, stdout: dump(result.tree, node).replaceAll(vectors, FOLDER) };
}

/**
 * drbdadm leaves with 20 or 100 where a number cannot be read; for an operator that is an invalid configuration too.
 */
const classOf = (exit: number): number => (exit === 0 ? 0 : 10);

for (const file of files) {
  test(`dump of ${file} is that of drbdadm-84, in text and exit code (§10.7)`, (t) => {
    for (const node of nodesOf(file)) {
      const expected = exits[file]?.[node]?.dump;
      t.not(expected, undefined, `no recorded run of ${file}: npx tsx test/unit/core/config/helpers/record.ts`);
      const run = ours(file, identity(node));
      t.is(run.exit, classOf(expected ?? -1), `exit code on ${node}`);
      if (expected === 0) t.is(run.stdout, readFileSync(expectedPath(file, node, "dump"), "utf8"));
    }
  });
}

test("every vector of valid is accepted and every one of invalid refused on some node (§10.1, §10.2)", (t) => {
  t.true(files.length >= 90);
  for (const file of files) {
    const codes = Object.values(exits[file] ?? {}).flatMap((each) => [each.dump, each.up]);
    const refused = codes.some((code) => code !== 0 && code !== 1);
    if (file.startsWith("invalid")) t.true(refused, file);
    else t.is(exits[file]?.["elsewhere"]?.dump, 0, file);
  }
});

const live = isInstalled ? test : test.skip;
live("the installed drbdadm-84 says the same of every vector today", (t) => {
  const here = new Set(
    Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((each) => each.address.replace(/%.*/, ""))),
  );
  for (const file of files) {
    for (const name of nodesOf(file)) {
      const real = runDrbdadm(file, name, ["dump"]);
      const run = ours(file, { name, hasAddress: (address) => here.has(address) });
      t.is(run.exit, classOf(real.exit), `${file} on ${name}`);
      if (real.exit === 0) t.is(run.stdout, real.stdout, `${file} on ${name}`);
    }
  }
});

test("expected files belong to vectors that exist", (t) => {
  for (const file of Object.keys(exits)) t.true(existsSync(path.join(vectors, file)), file);
});
