import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ava from "ava";
import { ensureCompiled, futagoProgram } from "../engine/compiled.ts";
import { until } from "../lab/command.ts";
import { requireRoot } from "../lab/require-root.ts";

/** Scripts of others, as Debian's drbd-utils and resource-agents ship them. */
const drbddisk = "/etc/ha.d/resource.d/drbddisk";
const initScript = "/etc/init.d/drbd";
const linbitAgent = "/usr/lib/ocf/resource.d/linbit/drbd";
const ocfTester = "/usr/sbin/ocf-tester";
const ownAgent = fileURLToPath(new URL("../../systemd/ocf-drbd", import.meta.url));
const missing = [drbddisk, initScript, linbitAgent, ocfTester].filter((path) => !existsSync(path));
const test = missing.length === 0 ? requireRoot(ava.serial) : ava.skip;

const folder = mkdtempSync(join(tmpdir(), "futago-names-"));
const env: Record<string, string | undefined> = {
  ...process.env,
  FUTAGO_RUN: join(folder, "run"),
  FUTAGO_STATE: join(folder, "state"),
  FUTAGO_CONF: join(folder, "futago.conf"),
};
const host = (name: string, address: string): string =>
  `on ${name} { device /dev/drbd0; disk ${folder}/${name}.img; address ${address}:7789; meta-disk internal; }`;

const futago = (node: string, line: string) =>
  spawnSync(process.execPath, [futagoProgram, "-c", join(folder, "drbd.conf"), "--node", node, ...line.split(" ")], {
    env,
    encoding: "utf8",
    timeout: 60_000,
  });
const must = (node: string, line: string): string => {
  const { status, stdout, stderr } = futago(node, line);
  if (status !== 0) throw new Error(`futago ${line} on ${node}: exit ${status}\n${stderr}`);
  return stdout;
};

/** Runs bash lines as host01 in a mount namespace of its own, in which DRBD's names are Futago's and /etc/drbd.conf is ours. */
function onHost01(script: string): { readonly out: string; readonly exit: number } {
  const prologue = `set -e
mount --make-rprivate /
mount -t tmpfs names /usr/local/sbin; mount -t tmpfs defaults /etc/default
mount --bind ${folder}/drbd.conf /etc/drbd.conf
export FUTAGO_NODE=host01 PATH=/usr/local/sbin:$PATH
${process.execPath} ${futagoProgram} install-names /usr/local/sbin >/dev/null
printf '%s\\n' DRBDADM=/usr/local/sbin/drbdadm PATH=$PATH PROC_DRBD=${folder}/proc-drbd >/etc/default/drbd
set +e
`;
  const run = spawnSync("unshare", ["-m", "bash", "-c", `${prologue}${script}`], {
    env,
    encoding: "utf8",
    timeout: 240_000,
  });
  return { out: run.stdout + run.stderr, exit: run.status ?? -1 };
}

ava.serial.before((t) => {
  t.timeout(120_000);
  if (test === ava.skip) return;
  ensureCompiled();
  chmodSync(futagoProgram, 0o755);
  writeFileSync(
    join(folder, "drbd.conf"),
    `resource r0 { protocol C;\n${host("host01", "127.44.1.1")}\n${host("host02", "127.44.1.2")}\n}\n`,
  );
  writeFileSync(join(folder, "futago.conf"), "common { io buffered; }\n");
  mkdirSync(join(folder, "no-pacemaker"));
  for (const node of ["host01", "host02"]) {
    const disk = join(folder, `${node}.img`);
    writeFileSync(disk, "");
    truncateSync(disk, 4 * 1024 * 1024);
    must(node, "create-md --force r0");
    must(node, "up r0");
  }
  must("host01", "wait-connect --wfc-timeout=30 r0");
  must("host01", "primary --force r0");
  must("host01", "wait-sync --wfc-timeout=30 r0");
});

ava.after.always(() => {
  for (const node of ["host01", "host02"]) futago(node, "down --force r0");
  rmSync(folder, { recursive: true, force: true });
});

test("heartbeat's drbddisk, unmodified: status, stop, start, and their exit codes", (t) => {
  const { out } = onHost01(`d() { ${drbddisk} r0 $1; echo "$1: $?"; }; d status; d stop; d status; d start; d status`);
  const all = ["running (Primary)", "status: 0", "stop: 0", "stopped (Secondary)", "status: 3", "start: 0"];
  t.deepEqual(out.trimEnd().split("\n"), [...all, "running (Primary)", "status: 0"]);
});

test("/etc/init.d/drbd status, unmodified, prints from `futago proc` what `futago initd-status` prints", (t) => {
  writeFileSync(join(folder, "proc-drbd"), must("host01", "proc"));
  const { out, exit } = onHost01(`${initScript} status`);
  t.is(exit, 0);
  t.is(out, must("host01", "initd-status"));
  t.regex(out.replace(/ +/g, " "), /^0:r0 Connected Primary\/Secondary UpToDate\/UpToDate C *$/m);
});

/** What Pacemaker puts into the environment of a clone's agent. */
const metaVariables = ["clone_node_max=1", "clone_max=2", "master_max=1", "master_node_max=1", "notify=true"].map(
  (variable) => `export OCF_RESKEY_CRM_meta_${variable}`,
);
const pacemaker = [
  ...metaVariables,
  "export OCF_ROOT=/usr/lib/ocf OCF_RESKEY_drbd_resource=r0 OCF_RESOURCE_INSTANCE=drbd0",
  `export HA_LOGFILE=${folder}/ha.log HA_SBIN_DIR=${folder}/no-pacemaker`,
].join("\n");

/** Exit codes of OCF: 0 running or done, 7 not running, 8 running as promoted. */
const actions = [
  ["validate-all", 0],
  ["monitor", 8],
  ["demote", 0],
  ["monitor", 0],
  ["stop", 0],
  ["monitor", 7],
  ["stop", 0],
  ["start", 0],
  ["monitor", 0],
  ["promote", 0],
  ["monitor", 8],
  ["notify", 0],
  ["stop", 0],
  ["monitor", 7],
] as const;

test("the agent ocf:linbit:drbd, unmodified: start, promote, demote, stop and monitor in between; events2 tells of it", async (t) => {
  t.timeout(300_000);
  const words = ["-c", join(folder, "drbd.conf"), "--node", "host01", "events2", "r0"];
  const watcher = spawn(process.execPath, [futagoProgram, ...words], { env, stdio: ["ignore", "pipe", "inherit"] });
  let events = "";
  watcher.stdout.on("data", (chunk: Buffer) => {
    events += chunk.toString();
  });
  await until("events2 has told what there is", () => events.includes("exists -\n"));
  const run = actions.map(([action]) => `${ownAgent} ${action} >/dev/null 2>&1; echo "${action} $?"`);
  const { out } = onHost01(`${pacemaker}\n${run.join("\n")}`);
  t.deepEqual(
    out.trimEnd().split("\n"),
    actions.map(([action, code]) => `${action} ${code}`),
    agentLog(),
  );
  await until(
    "events2 has told of the last stop",
    () => (events.match(/^destroy resource name:r0$/gm) ?? []).length === 2,
  );
  const ended = new Promise((resolve) => watcher.once("exit", resolve));
  watcher.kill("SIGINT");
  t.is(await ended, 0);
  const roles = [...events.matchAll(/^(?:exists|create|change) resource name:r0 role:(\w+)/gm)].map(
    (match) => match[1],
  );
  t.deepEqual(roles, ["Primary", "Secondary", "Secondary", "Primary", "Secondary"]);
});

/** The end of what the agent logged, for the message of a failure. */
function agentLog(): string {
  const path = join(folder, "ha.log");
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(-15).join("\n") : "";
}

test("ocf-tester finds nothing wrong with the agent on Futago but its own description", (t) => {
  t.timeout(300_000);
  const { out } = onHost01(`${pacemaker}\n${ocfTester} -n drbd0 -o drbd_resource=r0 ${ownAgent}`);
  const complaints = out.split("\n").filter((line) => line.startsWith("* rc="));
  // Debian's agent lacks a shortdesc and a timeout in what it prints for meta-data.
  t.deepEqual(complaints, ["* rc=4: Your agent produces meta-data which does not conform to ra-api-1.dtd"], out);
  t.regex(out, /failed 1 tests/);
});
