/** Writes what the installed drbdadm-84 says of every vector to test/vectors/config/expected. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import {
  drbdadm,
  type Exits,
  exitsFile,
  expectedPath,
  isInstalled,
  listVectors,
  nodesOf,
  plan,
  runDrbdadm,
  vectors,
  xmlCommands,
  xmlHelp,
  xmlPath,
} from "./vectors.ts";

if (!isInstalled) throw new Error(`${drbdadm} is not installed (Debian package drbd-utils)`);
rmSync(path.join(vectors, "expected"), { recursive: true, force: true });
mkdirSync(path.join(vectors, "expected"));
const exits: Exits = {};
for (const file of [...listVectors("valid"), ...listVectors("invalid")]) {
  const ofFile: Exits[string] = {};
  for (const node of nodesOf(file)) {
    const dump = runDrbdadm(file, node, ["dump"]);
    const up = runDrbdadm(file, node, plan);
    ofFile[node] = { dump: dump.exit, up: up.exit };
    if (dump.exit === 0) writeFileSync(expectedPath(file, node, "dump"), dump.stdout);
    if (up.exit === 0) writeFileSync(expectedPath(file, node, "up"), up.stdout);
  }
  exits[file] = ofFile;
}
for (const command of xmlCommands) writeFileSync(xmlPath(command), xmlHelp(command));
const rows = Object.entries(exits).map(([file, ofFile]) => `  ${JSON.stringify(file)}: ${JSON.stringify(ofFile)}`);
writeFileSync(exitsFile, `{\n${rows.join(",\n")}\n}\n`);
