import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

const root = fileURLToPath(new URL("../..", import.meta.url));

test.serial("npm ci builds everything with an empty user npmrc and an empty home, from a clean checkout", (t) => {
  t.timeout(600_000);
  const scratch = mkdtempSync(join(tmpdir(), "futago-install-"));
  const checkout = join(scratch, "checkout");
  const run = (program: string, args: readonly string[], cwd: string): string =>
    execFileSync(program, args, {
      cwd,
      encoding: "utf8",
      timeout: 500_000,
      env: { PATH: process.env["PATH"], HOME: scratch },
    });
  try {
    run("git", ["clone", "--quiet", root, checkout], scratch);
    run("npm", ["ci", "--userconfig", join(scratch, "npmrc")], checkout);
    for (const built of [
      "native/build/Release/ring.node",
      "native/build/Release/sys.node",
      "node_modules/fs-ext/build/Release/fs_ext.node",
      "node_modules/ioctl/build/Release/ioctl.node",
    ]) {
      t.true(existsSync(join(checkout, built)), built);
    }
    t.regex(run(join(checkout, "dist/src/cli/main.js"), ["version"], checkout), /^FUTAGO_VERSION=\d/);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});
