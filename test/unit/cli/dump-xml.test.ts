import { existsSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { dumpXml } from "../../../src/cli/dump-xml.ts";
import { checkForNode } from "../../../src/core/config/node.ts";
import { parseConfig } from "../../../src/core/config/parse-config.ts";
import {
  disk,
  FOLDER,
  identity,
  isInstalled,
  listVectors,
  nodesOf,
  runDrbdadm,
  vectors,
} from "../core/config/helpers/vectors.ts";

const compare = isInstalled ? test : test.skip;

for (const file of listVectors("valid")) {
  compare(`dump-xml of ${file} is that of the installed drbdadm-84 (§10.7)`, (t) => {
    const parsed = parseConfig(disk, path.join(vectors, file));
    if ("errors" in parsed) return t.fail(parsed.errors.join("\n"));
    let compared = 0;
    for (const name of nodesOf(file)) {
      const real = runDrbdadm(file, name, ["dump-xml"]);
      const node = identity(name);
      if (real.exit !== 0 || checkForNode(parsed.tree, node).length > 0) continue;
      compared += 1;
      t.is(dumpXml(parsed.tree, node).replaceAll(vectors, FOLDER), real.stdout, name);
    }
    t.true(compared > 0, "some node accepts it");
    t.true(existsSync(path.join(vectors, file)));
  });
}
