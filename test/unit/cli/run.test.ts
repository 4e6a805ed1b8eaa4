import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import type { Context } from "../../../src/cli/context.ts";
import { entryText } from "../../../src/cli/journal-verb.ts";
import { dumpTime } from "../../../src/cli/metadata-verbs.ts";
import { runCommand } from "../../../src/cli/run.ts";
import { waitTimeouts } from "../../../src/cli/wait-verbs.ts";
import { openJournal } from "../../../src/engine/journal.ts";
import { globFiles } from "../../../src/node/config-files.ts";

const engine = fileURLToPath(new URL("scripted-engine.ts", import.meta.url));
const loader = import.meta.resolve("tsx");

interface Result {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}
interface Bench {
  readonly folder: string;
  run(line: string, answers?: string[]): Promise<Result>;
  readonly env: Record<string, string | undefined>;
}

const host = (name: string, address: string, folder: string, index: number): string => `
  on ${name} { device /dev/drbd${index}; disk ${folder}/${name}-${index}.img; address ${address}:${7789 + index}; meta-disk internal; }`;
const resourceText = (name: string, folder: string, index: number): string =>
  `resource ${name} { startup { degr-wfc-timeout 120; }${host("host01", "127.0.0.1", folder, index)}${host("host02", "127.0.0.2", folder, index)}\n}\n`;

/** A folder with a configuration of the resources r0 and `dies`, disks of 1 MiB, and run and state folders of its own. */
function bench(t: ExecutionContext, more = ""): Bench {
  const folder = mkdtempSync(join(tmpdir(), "fut-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "drbd.conf"), resourceText("r0", folder, 0) + resourceText("dies", folder, 1) + more);
  for (const index of [0, 1]) {
    const disk = join(folder, `host01-${index}.img`);
    writeFileSync(disk, "");
    truncateSync(disk, 1024 * 1024);
  }
  const env = {
    ...process.env,
    FUTAGO_RUN: join(folder, "run"),
    FUTAGO_STATE: join(folder, "state"),
    FUTAGO_NODE: "host01",
  };
  const run = async (line: string, answers?: string[]): Promise<Result> => {
    let out = "";
    let err = "";
    const context: Context = {
      program: "futago",
      env,
      hostname: "elsewhere",
      cwd: folder,
      engineCommand: [process.execPath, `--import=${loader}`, engine],
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      ask: async () => answers?.shift(),
      interrupted: new AbortController().signal,
    };
    const words = line.split(" ").filter((word) => word !== "");
    const exit = await runCommand(["-c", "drbd.conf", ...words], context);
    return { exit, out, err };
  };
  return { folder, run, env };
}

test("up starts the engine, attaches and connects; down ends it; both are harmless when repeated", async (t) => {
  const { folder, run } = bench(t);
  t.teardown(() => run("down r0"));
  t.deepEqual(await run("up r0"), { exit: 0, out: "", err: "" });
  const pid = Number(readFileSync(join(folder, "run-host01/r0/engine.pid"), "utf8"));
  t.true(existsSync(`/proc/${pid}`));
  t.is((await run("cstate r0")).out, "WFConnection\n");
  t.is((await run("dstate minor-0")).out, "UpToDate/DUnknown\n");
  t.is((await run("up r0")).exit, 0);
  const log = readFileSync(join(folder, "run-host01/r0/engine.log"), "utf8");
  t.deepEqual(log.split("\n"), [
    `arguments: r0 -c ${folder}/drbd.conf --node host01`,
    "request: attach",
    "request: connect",
    "",
  ]);
  t.deepEqual(await run("down r0"), { exit: 0, out: "", err: "" });
  t.false(existsSync(join(folder, "run-host01/r0/engine.pid")));
  t.deepEqual(await run("down r0"), { exit: 0, out: "", err: "" });
});

test("a refusal has DRBD's text, advice and exit code", async (t) => {
  const { run } = bench(t);
  t.teardown(() => run("down r0"));
  await run("up r0");
  const refused = await run("primary r0");
  t.is(refused.exit, 17);
  t.regex(
    refused.err,
    /^0: State change failed: \(-2\) Need access to UpToDate data\n {2}.*futago primary --force r0\n$/,
  );
  t.deepEqual(await run("-- --overwrite-data-of-peer primary r0"), refused);
  const waited = await run("wait-connect --wfc-timeout=1 r0");
  t.is(waited.exit, 5);
  t.regex(waited.err, /r0: no connection in time/);
  const busy = await run("create-md r0");
  t.is(busy.exit, 20);
  t.regex(busy.err, /^Device '0' is configured!/);
});

test("an engine that dies at once: exit 20, its last words are shown", async (t) => {
  const { run } = bench(t);
  const { exit, err } = await run("up dies");
  t.is(exit, 20);
  t.regex(
    err,
    /^dies: the engine ended with exit code 3\nlast lines of .*engine\.log:\n {2}drbd dies: first\n {2}drbd dies: cannot open/,
  );
});

test("from exit 20 on the remaining resources are not tried", async (t) => {
  const { folder, run } = bench(t);
  t.is((await run("up dies r0")).exit, 20);
  t.false(existsSync(join(folder, "run-host01/r0")));
});

test("without an engine the texts and codes are drbdsetup's for a device that is not there", async (t) => {
  const { run } = bench(t);
  t.deepEqual(await run("role r0"), { exit: 10, out: "", err: "0: Failure: (127) Device minor not allocated\n" });
  t.regex((await run("connect r0")).err, /^r0: Failure: \(158\) Unknown resource\n/);
  const status = await run("status r0");
  t.is(status.exit, 10);
  t.regex(status.err, /^r0: No such resource\n/);
  t.is((await run("status")).exit, 0);
  t.deepEqual((await run("status --json")).out, "[]\n");
});

test("--dry-run prints the steps and does none of them", async (t) => {
  const { folder, run } = bench(t);
  t.deepEqual(await run("-d up r0"), { exit: 0, out: "r0: start engine\nr0: attach\nr0: connect\n", err: "" });
  t.is((await run("-d down r0 --force")).out, "r0: down --force\nr0: wait for the engine's end\n");
  t.is((await run("-d detach r0/0")).out, "r0/0: detach\n");
  t.is((await run("-d -- --discard-my-data connect r0")).out, "r0: connect --discard-my-data\n");
  t.is((await run("-d wait-connect r0")).out, "r0: wait-connect, seconds 0 (degraded 120, outdated 0)\n");
  t.is((await run("-d create-md r0")).out, `create-md: minor 0 v08 ${folder}/host01-0.img internal\n`);
  t.false(existsSync(join(folder, "run-host01")));
});

test("create-md, get-gi, dstate, outdate and wipe-md work on the disk while no engine has it", async (t) => {
  const { folder, run } = bench(t);
  const created = await run("create-md r0");
  t.is(created.exit, 0, created.err);
  t.regex(created.out + created.err, /New drbd meta data block successfully created\./);
  t.regex((await run("get-gi r0")).out, /^0000000000000004:0{16}:0{16}:0{16}:0:0:0:0:0:0:0\n$/);
  t.is((await run("dstate r0")).out, "Inconsistent\n");
  t.is((await run("outdate r0")).exit, 5);
  t.regex((await run("dump-md r0")).out, /version "v08";/);
  t.is((await run("apply-al r0")).exit, 0);
  // 1 MiB: the superblock is the last 4 KiB, its device UUID at byte 40 (drbd-84 §9.2).
  const superblock = readFileSync(join(folder, "host01-0.img")).subarray(1024 * 1024 - 4096);
  t.not(superblock.readBigUInt64BE(40), 0n, "the device UUID is random");
});

test("a question is asked; no terminal, or anything but yes, changes nothing", async (t) => {
  const { folder, run } = bench(t);
  await run("create-md r0");
  const disk = join(folder, "host01-0.img");
  const before = readFileSync(disk);
  const silent = await run("wipe-md r0");
  t.is(silent.exit, 1);
  t.regex(silent.err, /Do you really want to wipe out the DRBD meta data\?\n.*stdin not a TTY/s);
  t.is(silent.out, "Operation cancelled.\n");
  t.is((await run("wipe-md r0", ["y"])).exit, 1);
  t.deepEqual(readFileSync(disk), before);
  const wiped = await run("wipe-md r0", ["yes"]);
  t.is(wiped.exit, 0);
  t.regex(wiped.out, /successfully wiped out/);
  t.is((await run("get-gi r0")).exit, 1);
  await run("create-md r0");
  t.is((await run("--force wipe-md r0")).exit, 0);
});

test("a disk that another process has locked is refused by name of the holder", async (t) => {
  const { folder, run } = bench(t);
  const { openSync, closeSync } = await import("node:fs");
  const { flockSync } = await import("fs-ext");
  const fd = openSync(join(folder, "host01-0.img"), "r+");
  flockSync(fd, "exnb");
  t.teardown(() => closeSync(fd));
  const { exit, err } = await run("create-md r0");
  t.is(exit, 20);
  t.regex(err, new RegExp(`locked by pid ${process.pid} `));
});

test("the configuration: not there 20, not valid 10, not for this host 1", async (t) => {
  const { folder, run } = bench(t);
  t.like(await run("-c nowhere.conf role r0"), { exit: 20, err: "Can not open 'nowhere.conf'.\n" });
  writeFileSync(join(folder, "bad.conf"), "resource r0 { junk; }\n");
  const bad = await run("-c bad.conf dump");
  t.is(bad.exit, 10);
  t.regex(bad.err, /bad\.conf:1:.*junk/);
  t.like(await run("role nores"), { exit: 1, err: "'nores' not defined in your config (for this host).\n" });
  t.is((await run("--node host03 role r0")).exit, 1);
  t.is((await run("--node ../x role r0")).exit, 2);
});

test("dump needs no engine and prints what is written, all of it or by name", async (t) => {
  const { folder, run } = bench(t);
  const all = await run("dump");
  t.is(all.exit, 0);
  t.true(all.out.startsWith(`# ${folder}/drbd.conf\n`));
  const one = await run("dump r0");
  t.true(one.out.startsWith("# resource r0 on host01: not ignored, not stacked\n"));
  t.true(all.out.includes(one.out));
  t.is((await run("dump nores")).exit, 1);
});

test("up refuses an address that is not this machine's, dump and role do not care", async (t) => {
  const { run } = bench(
    t,
    resourceText("far", "/nowhere", 5).replaceAll("127.0.0.1", "192.0.2.1").replaceAll("127.0.0.2", "192.0.2.2"),
  );
  t.is((await run("up far")).exit, 10);
  t.is((await run("-d up far")).exit, 0);
  t.is((await run("dump far")).exit, 0);
});

test("include patterns match path by path, sorted, hidden files not", (t) => {
  const { folder } = bench(t);
  for (const name of ["b.res", "a.res", ".c.res", "d.txt"]) writeFileSync(join(folder, name), "");
  t.deepEqual(globFiles(`${folder}/*.res`), [`${folder}/a.res`, `${folder}/b.res`]);
  t.deepEqual(globFiles(`${folder}*/a.re?`), [`${folder}/a.res`]);
  t.deepEqual(globFiles(`${folder}/none*`), []);
});

test("journal prints records oldest first, damages in their place, and as JSON lines", async (t) => {
  const { folder, run, env } = bench(t);
  t.is((await run("journal r0")).exit, 10);
  const path = join(env["FUTAGO_STATE"] ?? "", "..", "state-host01", "r0", "journal");
  const journal = openJournal({
    folder: path,
    now: () => Date.UTC(2024, 0, 31, 11),
    onWarning: (text) => t.fail(text),
  });
  journal.append("role", { from: "Secondary", to: "Primary" });
  journal.append("uuid", { current: 0x1234n, note: "two words" });
  await journal.close();
  t.is(
    (await run("journal r0")).out,
    '2024-01-31T11:00:00.000Z role from:Secondary to:Primary\n2024-01-31T11:00:00.000Z uuid current:0000000000001234 note:"two words"\n',
  );
  t.is((await run("journal -n 1 r0")).out.split("\n").length, 2);
  t.deepEqual(JSON.parse((await run("journal --json --lines=1 r0")).out), {
    time: "2024-01-31T11:00:00.000Z",
    kind: "uuid",
    current: "0000000000001234",
    note: "two words",
  });
  t.is(entryText({ segment: "x", offset: 9, reason: "torn" }, false), "# x at byte 9: torn");
  t.true(statSync(folder).isDirectory());
});

test("§10.5: timeouts: options win over the file, a rarer case never waits longer than wfc-timeout allows", (t) => {
  const startup = { wfcTimeout: 0, degrWfcTimeout: 120, outdatedWfcTimeout: 0, waitAfterSb: false };
  t.deepEqual(waitTimeouts(startup, {}), startup);
  t.like(waitTimeouts(startup, { "wfc-timeout": 60 }), { wfcTimeout: 60, degrWfcTimeout: 60, outdatedWfcTimeout: 60 });
  t.like(waitTimeouts(startup, { "wfc-timeout": 300 }), { degrWfcTimeout: 120, outdatedWfcTimeout: 300 });
  t.like(waitTimeouts(startup, { "wfc-timeout": 300, "outdated-wfc-timeout": 30 }), { outdatedWfcTimeout: 30 });
});

test("the date of a dump has drbdmeta's form", (t) => {
  const text = dumpTime(new Date(1706698800_000));
  t.regex(text, /^2024-01-3[01] \d\d:\d\d:\d\d [+-]\d{4} \[1706698800\]$/);
});

test("the program itself: streams, exit code, and how long it takes to start (reported)", (t) => {
  const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [`--import=${loader}`, main, "help"], {
    encoding: "utf8",
  });
  t.log(`futago help through the TypeScript loader: ${Math.round(performance.now() - started)} ms`);
  t.is(status, 0, stderr);
  t.true(stdout.startsWith("futago - "));
  const wrong = spawnSync(process.execPath, [`--import=${loader}`, main, "nonsense"], { encoding: "utf8" });
  t.is(wrong.status, 1);
  t.is(wrong.stdout, "");
});
