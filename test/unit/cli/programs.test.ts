import { existsSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { linkNames, type Program, programOf } from "../../../src/cli/programs.ts";
import { type Printed, runAs } from "./in-place.ts";

const engine = fileURLToPath(new URL("scripted-engine.ts", import.meta.url));
const engineCommand = [process.execPath, `--import=${import.meta.resolve("tsx")}`, engine];

interface Bench {
  readonly folder: string;
  readonly as: (program: Program, line: string) => Promise<Printed>;
}

/** A configuration of r0 (minor 0), whose scripted engine is not running yet. */
function bench(t: ExecutionContext): Bench {
  const folder = mkdtempSync(join(tmpdir(), "fut-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const host = (name: string, address: string): string =>
    `on ${name} { device /dev/drbd0; disk ${folder}/${name}.img; address ${address}:7789; meta-disk internal; }`;
  const handlers = 'handlers { split-brain "echo $DRBD_RESOURCE $DRBD_PEER $DRBD_MINOR $DRBD_VOLUME; exit 3"; }';
  const conf = join(folder, "drbd.conf");
  writeFileSync(
    conf,
    `resource r0 { ${handlers} startup { become-primary-on host01; }\n${host("host01", "127.0.0.1")}\n${host("host02", "127.0.0.2")}\n}\n`,
  );
  writeFileSync(join(folder, "host01.img"), "");
  truncateSync(join(folder, "host01.img"), 1024 * 1024);
  const env = {
    ...process.env,
    FUTAGO_RUN: join(folder, "run"),
    FUTAGO_STATE: join(folder, "state"),
    FUTAGO_NODE: "host01",
  };
  const as = (program: Program, line: string): Promise<Printed> => {
    const words = line.split(" ").filter((word) => word !== "");
    const readsConf = program === "futago" || program === "drbdadm";
    return runAs(program, readsConf ? ["-c", conf, ...words] : words, { env, cwd: folder, engineCommand });
  };
  return { folder, as };
}

test("the name that it is called by decides which program it is", (t) => {
  t.is(programOf("/sbin/drbdadm"), "drbdadm");
  t.is(programOf("/usr/lib/drbd/drbdsetup-84"), "drbdsetup");
  t.is(programOf("drbd-overview"), "drbd-overview");
  for (const other of ["/usr/bin/futago", "/x/dist/src/cli/main.js", ""]) t.is(programOf(other), "futago");
});

test("install-names makes the links, again without effect, and replaces other programs only with --force", async (t) => {
  const { folder, as } = bench(t);
  const made = await as("futago", `install-names ${folder}`);
  t.is(made.exit, 0, made.err);
  for (const name of linkNames) t.regex(readlinkSync(join(folder, name)), /main\.(ts|js)$/);
  t.deepEqual(await as("futago", `install-names ${folder}`), { exit: 0, out: "", err: "" });
  const link = join(folder, "drbdadm");
  rmSync(link);
  symlinkSync("/bin/true", link);
  rmSync(join(folder, "drbdmeta"));
  const refused = await as("futago", `install-names ${folder}`);
  t.is(refused.exit, 20);
  t.regex(refused.err, /drbdadm exists and is no link to/);
  t.false(existsSync(join(folder, "drbdmeta")), "all or nothing");
  t.is((await as("futago", `-d install-names --force ${folder}`)).out.split("\n").length, 3);
  t.is(readlinkSync(link), "/bin/true");
  t.is((await as("futago", `install-names --force ${folder}`)).exit, 0);
  t.regex(readlinkSync(link), /main\.(ts|js)$/);
  t.is((await as("futago", "install-names")).exit, 1);
});

test("drbdadm --version are assignments of which a script reads the kernel's version 8.4.11", async (t) => {
  const { as } = bench(t);
  const { out } = await as("drbdadm", "--version");
  t.regex(out, /^DRBD_KERNEL_VERSION_CODE=0x08040b$/m);
  for (const line of out.trimEnd().split("\n")) t.regex(line, /^[A-Z_]+=(?:[^ \\]|\\ )+$/);
  t.regex((await as("futago", "--version")).out, /^FUTAGO_VERSION=/);
});

// The texts and codes are drbdsetup-84's (drbd-utils 9.22) on the kernel's 8.4.11, with nothing configured.
test("drbdsetup where nothing runs", async (t) => {
  const { as } = bench(t);
  t.deepEqual(await as("drbdsetup", "role 0"), {
    ...{ exit: 10, out: "", err: "0: Failure: (127) Device minor not allocated\n" },
  });
  t.like(await as("drbdsetup", "primary /dev/drbd0"), { exit: 10 });
  t.deepEqual(await as("drbdsetup", "down r0"), { exit: 0, out: "", err: "" });
  t.deepEqual(await as("drbdsetup", "sh-status all"), { exit: 0, out: "", err: "" });
  t.is((await as("drbdsetup", "events2 all --now")).out, "exists -\n");
  t.regex((await as("drbdsetup", "sh-status 0")).out, /^_known=NA /m);
  t.regex((await as("drbdsetup", "status r0")).err, /^r0: No such resource\n/);
  t.is((await as("drbdsetup", "status r0")).exit, 10);
  const gone = await as("drbdsetup", "disconnect ipv4:127.0.0.1:7789 ipv4:127.0.0.2:7789");
  t.deepEqual([gone.exit, gone.err], [10, "??: Failure: (162) Invalid configuration request\nunknown connection\n"]);
  for (const wrong of ["", "nonsense", "role", "role 0 1", "role 0 --force"])
    t.is((await as("drbdsetup", wrong)).exit, 20, wrong);
});

test("the order in which the resource agent starts and ends a resource (new-resource, new-minor, attach, adjust, down)", async (t) => {
  const { folder, as } = bench(t);
  t.teardown(() => as("drbdadm", "down r0"));
  t.is((await as("drbdadm", "new-minor r0")).exit, 10);
  t.deepEqual(await as("drbdadm", "new-resource r0"), { exit: 0, out: "", err: "" });
  t.deepEqual(await as("drbdadm", "new-resource r0"), { exit: 0, out: "", err: "" });
  t.deepEqual(await as("drbdadm", "new-minor r0"), { exit: 0, out: "", err: "" });
  t.regex((await as("drbdsetup", "sh-status r0")).out, /^_known=Unconfigured$/m);
  t.is((await as("drbdadm", "attach r0")).exit, 0);
  t.is((await as("drbdadm", "--peer host02 -v adjust r0")).exit, 0);
  t.is((await as("drbdsetup", "0 cstate")).out, "WFConnection\n");
  t.regex((await as("drbdadm", "sh-status r0")).out, /^_conf_res_name=r0\n(.*\n)*_minor=0\n_res_name=r0\n/m);
  t.is((await as("drbdsetup", "role minor-0")).out, "Secondary/Unknown\n");
  const busy = await as("drbdmeta", `0 v08 ${folder}/host01.img internal create-md`);
  t.deepEqual([busy.exit, busy.err], [20, "Device '0' is configured!\n"]);
  t.is((await as("drbdadm", "status r0")).out.includes("#"), false, "drbdadm's lines only");
  t.true((await as("futago", "status r0")).out.includes("# NOT protected"));
  t.is((await as("drbdsetup", "attach 0 /dev/other /dev/other internal")).exit, 10);
  t.deepEqual(await as("drbdadm", "-d sh-b-pri r0"), { exit: 0, out: "r0: primary\n", err: "" });
  t.is((await as("futago", "initd-status")).exit, 0);
  t.is((await as("drbdadm", "down r0")).exit, 0);
  t.deepEqual(await as("futago", "initd-status"), { exit: 3, out: "", err: "drbd not loaded\n" });
  t.is((await as("futago", "proc")).out.split("\n").length, 3);
});

test("drbdmeta works on the disk that its arguments name", async (t) => {
  const { folder, as } = bench(t);
  const meta = `0 v08 ${folder}/host01.img internal`;
  t.is((await as("drbdmeta", `--force ${meta} create-md 1`)).exit, 0);
  t.regex((await as("drbdmeta", `${meta} get-gi`)).out, /^0000000000000004:0{16}:/);
  t.is((await as("drbdmeta", `${meta} dstate`)).out, "Inconsistent\n");
  t.is((await as("drbdadm", "check-resize r0")).exit, 0);
  t.is((await as("drbdmeta", `--force ${meta} wipe-md`)).exit, 0);
  t.is((await as("drbdmeta", `${meta} get-gi`)).exit, 1);
  for (const wrong of ["", `0 v09 ${folder}/host01.img internal get-gi`, `${meta} nonsense`, "0 v08 x y get-gi"])
    t.is((await as("drbdmeta", wrong)).exit, 1, wrong);
});

test("§10.9: a handler runs with drbdadm's environment, its exit code is the command's; none configured is success", async (t) => {
  const { as } = bench(t);
  t.deepEqual(await as("drbdadm", "split-brain minor-0"), { exit: 3, out: "r0 host02 0 0\n", err: "" });
  t.deepEqual(await as("drbdadm", "split-brain r0"), { exit: 3, out: "r0 host02 0\n", err: "" });
  t.deepEqual(await as("drbdadm", "fence-peer r0"), { exit: 0, out: "", err: "" });
  t.is((await as("drbdadm", "-d split-brain r0")).exit, 0);
});
