/** The version of the package this file belongs to, from its package.json: `0.1.0`. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

function readVersion(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  // Compiled files lie one folder deeper than sources, so the number of steps is not known.
  for (; folder !== dirname(folder); folder = dirname(folder)) {
    const path = join(folder, "package.json");
    if (existsSync(path)) return String(JSON.parse(readFileSync(path, "utf8")).version);
  }
  return "unknown";
}

export const engineVersion = readVersion();
