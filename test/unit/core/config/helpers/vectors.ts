/** The vectors of test/vectors/config, the files as the parser sees them, and the real drbdadm. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { matchesGlob } from "../../../../../src/core/config/glob.ts";
import type { NodeIdentity } from "../../../../../src/core/config/node.ts";
import type { Files } from "../../../../../src/core/config/parser.ts";

export const vectors = fileURLToPath(new URL("../../../../vectors/config", import.meta.url));
export const drbdadm = "/usr/lib/drbd/drbdadm-84";
export const isInstalled = existsSync(drbdadm);

/** Names under which every file is looked at: two hosts of most resources, and one of none. */
export const nodesOf = (file: string): readonly string[] =>
  ["host01", "host02"].map((name) => (file === REPORT ? `${name}.xxxx.xxxx.nagoya-u.ac.jp` : name)).concat("elsewhere");
export const REPORT = "report-drbd.conf";
/** In expected files, for the folder of the vectors. */
export const FOLDER = "@DIR@";

export const disk: Files = {
  readFile: (file) => (existsSync(file) && statSync(file).isFile() ? readFileSync(file, "utf8") : undefined),
  glob,
};

/** Component by component from the root. */
function glob(pattern: string): string[] {
  let found = ["/"];
  for (const part of pattern.split("/").filter((each) => each !== "")) {
    found = found.flatMap((folder) => {
      const names = statSync(folder, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(folder) : [];
      return names.filter((name) => matchesGlob(part, name)).map((name) => path.join(folder, name));
    });
  }
  return found.sort();
}

/** The loopback addresses are the only ones that every machine has. */
export const identity = (name: string): NodeIdentity => ({
  name,
  hasAddress: (address) => address === "127.0.0.1" || address === "::1",
});

/** Files of `valid` or `invalid`, and the report's, as paths below the vectors' folder. */
export function listVectors(kind: "valid" | "invalid"): string[] {
  const names = readdirSync(path.join(vectors, kind)).filter((name) => name.endsWith(".conf"));
  const files = names.map((name) => `${kind}/${name}`).sort();
  return kind === "valid" ? [REPORT, ...files] : files;
}

export interface Run {
  readonly exit: number;
  readonly stdout: string;
}

/** Runs the real tool on a vector as `node`, touching nothing: `dump`, or the plan of `up`. */
export function runDrbdadm(file: string, node: string, args: readonly string[]): Run {
  const run = spawnSync(drbdadm, ["-c", file, ...args], {
    cwd: vectors,
    env: { ...process.env, __DRBD_NODE__: node },
    encoding: "utf8",
    timeout: 10_000,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { exit: run.status ?? -1, stdout: run.stdout.replaceAll(vectors, FOLDER) };
}

export const plan = ["-d", "up", "all"] as const;
export const exitsFile = path.join(vectors, "expected", "exits.json");
export type Exits = Record<string, Record<string, { dump: number; up: number }>>;

export const expectedPath = (file: string, node: string, kind: "dump" | "up"): string =>
  path.join(vectors, "expected", `${file.replaceAll("/", "_").replace(/\.conf$/, "")}.${node}.${kind}`);

/** Commands whose options are the sections disk, net and options, as `drbdsetup xml-help` describes them. */
export const xmlCommands = ["attach", "connect", "new-resource"] as const;
export const xmlPath = (command: string): string => path.join(vectors, "expected", `xml-help.${command}.xml`);
export const xmlHelp = (command: string): string =>
  spawnSync("/usr/lib/drbd/drbdsetup-84", ["xml-help", command], { encoding: "utf8", timeout: 10_000 }).stdout;
