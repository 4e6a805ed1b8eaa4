/** The benchmark itself, small: so that it still runs when somebody needs it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ava from "ava";
import type { Run } from "../../../bench/report.ts";
import { runCommand } from "../../lab/command.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const needed = ["fio", "setpriv", "cmp", ...(process.getuid?.() === 0 ? ["unshare", "ip", "sysctl"] : [])];
const missing = needed.filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
const test = missing.length === 0 ? ava.serial : ava.serial.skip;

test("bench --quick measures a pair of Futago on both back ends, whose disks are equal afterwards", async (t) => {
  t.timeout(240_000);
  const folder = mkdtempSync(join(tmpdir(), "futago-bench-test-"));
  try {
    const json = join(folder, "out.json");
    const options = ["--quick", "--media", "tmpfs", "--jobs", "w4k32,r4k32", "--json", json];
    const targets = ["--targets", "futago,futago-fallback"];
    const argv = [process.execPath, "--import", "tsx", join(root, "bench/main.ts"), ...options, ...targets];
    // What `--import tsx` means is looked up from the working directory.
    const command = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", root, ...argv];
    const { code, stdout, stderr } = await runCommand(command, { timeout: 220_000 });
    t.is(code, 0, stderr + stdout);
    const { runs } = JSON.parse(readFileSync(json, "utf8")) as { readonly runs: readonly Run[] };
    t.deepEqual(
      runs.map(({ target, job }) => `${job} ${target}`),
      ["w4k32 futago", "w4k32 futago-fallback", "r4k32 futago", "r4k32 futago-fallback"],
    );
    for (const run of runs) {
      t.true(run.operations > 0 && run.iops > 0 && run.p99 >= run.p50, JSON.stringify(run));
      t.deepEqual(
        run.servers.map(({ role }) => role),
        ["primary", "secondary"],
      );
    }
    t.regex(stdout, /tmpfs: futago: all \d+ bytes are the same on both nodes/);
    t.regex(stdout, /tmpfs: futago-fallback: all \d+ bytes are the same on both nodes/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
