/**
 * Makes the compiled `futago` command one file, in place: loading sixty modules one by one takes longer than most commands do. The
 * engine stays as it is: it starts once.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const entry = join(root, "dist/src/cli/main.js");
const SHEBANG = "#!/usr/bin/env node\n";
/** Packages written for `require` meet none in a module. */
const REQUIRE =
  'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);\n';

// A second run would bundle the bundle: the compiler has written the file anew before this one runs, or it is done already.
if (!readFileSync(entry, "utf8").startsWith(SHEBANG + REQUIRE)) {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    platform: "node",
    format: "esm",
    write: false,
    external: ["fs-ext", "ioctl", "../../../native/*"],
    logLevel: "error",
  });
  const code = result.outputFiles[0].text.replace(SHEBANG, "");
  writeFileSync(entry, SHEBANG + REQUIRE + code);
}
// `futago install-names` links to it.
chmodSync(entry, 0o755);
