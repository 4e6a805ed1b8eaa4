// node scripts/debian-packages.mjs ensure SET ...
//
// Makes sure that the Debian packages of the named sets are installed. Complete: says so, exit 0. Something missing: root
// installs it (no service is started); anybody else is told what to type, exit 1. Plain JavaScript, so that it runs
// before `npm ci`.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";

/** Namespaces, loop devices and cables: what test/lab is made of. */
const lab = ["busybox-static|busybox", "fuse3", "iproute2", "nftables", "procps", "util-linux"];
const filesystems = ["e2fsprogs", "xfsprogs"];
/** NBD clients and servers to meet. `nbdfuse` is a package of its own from Debian 13 on. */
const nbd = ["libnbd-bin", "nbdfuse|/usr/bin/nbdfuse", "nbdkit", "python3-libnbd", "qemu-utils"];

/**
 * Each entry is a package, or alternatives of which one is enough: packages, or a program's path. The first one that
 * can be installed is.
 */
const sets = {
  test: [...lab, ...filesystems, ...nbd, "drbd-utils", "fio", "tcpdump", "tshark"],
  demo: [...lab, ...filesystems, ...nbd, "fio"],
  bench: [...lab, ...nbd, "fio"],
  // A guest with the kernel's own DRBD and NBD, built from Debian's kernel package.
  "kernel-guest": [
    ...["qemu-system-x86", "seabios", "busybox-static", "cpio", "zstd", "kmod"],
    ...["drbd-utils", "e2fsprogs", "iproute2", "tcpdump", "tshark"],
  ],
};

/** Questions that a package would ask, answered beforehand: only root captures packets, and the tests are root. */
const answers = "wireshark-common wireshark-common/install-setuid boolean false\n";
const policyFile = "/usr/sbin/policy-rc.d";

function run(program, args, options = {}) {
  const result = spawnSync(program, args, { encoding: "utf8", ...options });
  if (result.error !== undefined) throw new Error(`cannot run ${program}: ${result.error.message}`);
  return result;
}

/** Entries of which no alternative is there. */
function missing(entries) {
  const packages = entries.flatMap((entry) => entry.split("|")).filter((name) => !name.startsWith("/"));
  // dpkg-query ends with 1 when it does not know one of the names, and still tells of the others.
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own format language.
  const { stdout } = run("dpkg-query", ["-W", "-f", "${Package} ${db:Status-Status}\n", ...packages]);
  const installed = new Set(stdout.split("\n").flatMap((line) => /^(\S+) installed$/.exec(line)?.[1] ?? []));
  const isThere = (name) => (name.startsWith("/") ? existsSync(name) : installed.has(name));
  return entries.filter((entry) => !entry.split("|").some(isThere));
}

/** One package for each entry; none where this Debian has no such package, its program being part of another one. */
function choose(entries) {
  return entries.flatMap((entry) => {
    const packages = entry.split("|").filter((name) => !name.startsWith("/"));
    const available = packages.find((name) => run("apt-cache", ["show", "--no-all-versions", name]).status === 0);
    return available ?? (entry.includes("|/") ? [] : packages.slice(0, 1));
  });
}

/** Runs `body` while the machine refuses to start services, as package scripts would on installation. */
function withoutServices(body) {
  const before = existsSync(policyFile)
    ? { text: readFileSync(policyFile), mode: statSync(policyFile).mode & 0o7777 }
    : undefined;
  const restore = () => {
    rmSync(policyFile, { force: true });
    if (before === undefined) return;
    writeFileSync(policyFile, before.text);
    chmodSync(policyFile, before.mode);
  };
  // The signals reach apt as well; it ends, and we put the file back and end after it.
  const ignore = () => {};
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, ignore);
  try {
    rmSync(policyFile, { force: true });
    writeFileSync(policyFile, "#!/bin/sh\nexit 101\n");
    chmodSync(policyFile, 0o755);
    return body();
  } finally {
    restore();
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(signal, ignore);
  }
}

function install(entries) {
  const options = { stdio: "inherit", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  const must = (program, args, more = {}) => {
    const { status, signal } = run(program, args, { ...options, ...more });
    if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${status ?? signal}`);
  };
  must("apt-get", ["update", "-q"]);
  const packages = choose(entries);
  if (packages.some((name) => name === "tshark")) {
    must("debconf-set-selections", [], { stdio: ["pipe", "inherit", "inherit"], input: answers });
  }
  withoutServices(() => must("apt-get", ["install", "-q", "-y", "--no-install-recommends", ...packages]));
}

function ensure(names) {
  const entries = [...new Set(names.flatMap((name) => sets[name]))];
  const absent = missing(entries);
  if (absent.length === 0) {
    console.log(`debian packages (${names.join(", ")}): all ${entries.length} installed`);
    return 0;
  }
  console.log(`debian packages (${names.join(", ")}): missing ${absent.join(" ")}`);
  if (process.getuid() !== 0) {
    console.log(`as root: apt-get update && apt-get install --no-install-recommends ${choose(absent).join(" ")}`);
    return 1;
  }
  install(absent);
  const still = missing(entries);
  if (still.length > 0) console.log(`debian packages: still missing ${still.join(" ")}`);
  return still.length === 0 ? 0 : 1;
}

const [verb, ...names] = process.argv.slice(2);
const unknown = names.filter((name) => !Object.hasOwn(sets, name));
if (verb !== "ensure" || names.length === 0 || unknown.length > 0) {
  const problem = unknown.length > 0 ? `no such set: ${unknown.join(", ")}\n` : "";
  console.error(`${problem}usage: debian-packages.mjs ensure ${Object.keys(sets).join("|")} ...`);
  process.exitCode = 2;
} else {
  try {
    process.exitCode = ensure(names);
  } catch (error) {
    console.error(`debian packages: ${error.message}`);
    process.exitCode = 1;
  }
}
