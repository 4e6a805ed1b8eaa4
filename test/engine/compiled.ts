import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const programs = join(root, "dist/src");

/** The compiled programs, as a package ships them. */
export const futagoProgram: string = join(programs, "cli/main.js");
export const engineProgram: string = join(programs, "engine/main.js");

const timeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

function newestSource(): number {
  const names = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  return Math.max(...names.filter((name) => name.endsWith(".ts")).map((name) => timeOf(join(root, "src", name))));
}

/** Compiles src/ if a file of it is newer than what was compiled: nobody shall test yesterday's program. Throws if it does not compile. */
export function ensureCompiled(): void {
  if (Math.min(timeOf(futagoProgram), timeOf(engineProgram)) > newestSource()) return;
  const require = createRequire(import.meta.url);
  const manifest = require.resolve("typescript/package.json");
  const compiler = join(dirname(manifest), require(manifest).bin.tsc);
  const args = [compiler, "-p", join(root, "tsconfig.build.json")];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`src/ does not compile:\n${stdout.split("\n", 5).join("\n")}`);
}
