import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ava from "ava";
import { until } from "../lab/command.ts";
import { type Lab, openLab } from "../lab/lab.ts";
import { loopsBelow } from "../lab/loop-device.ts";
import { requireRoot } from "../lab/require-root.ts";
import { hostNames, topology } from "../lab/topology.ts";

const test = requireRoot(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-lab-"));
ava.after.always(() => rmSync(scratch, { recursive: true, force: true }));

const drbdConf = 'resource r0 {\n\tprotocol C; # tabs, "quotes", no newline at the end: \\ ¥ }';
const open = (): Promise<Lab> => openLab({ name: "lab-test", diskBytes: 16 * 1024 * 1024, drbdConf, scratch });

/** Runs the body in a lab that is closed whatever happens. */
async function inLab(body: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = await open();
  try {
    await body(lab);
  } finally {
    await lab.close();
  }
}

async function reaches(lab: Lab, from: "host01" | "host02" | "client", address: string): Promise<boolean> {
  const { code } = await lab.host(from).run(["busybox", "ping", "-c", "1", "-W", "1", address]);
  return code === 0;
}

/** Network namespaces that some process of this machine is in. */
function networkNamespaces(): ReadonlySet<string> {
  const found = new Set<string>();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      found.add(readlinkSync(`/proc/${entry}/ns/net`));
    } catch {
      // It ended meanwhile, or is a zombie.
    }
  }
  return found;
}

const namespacesOf = (pid: number): readonly string[] =>
  ["net", "mnt", "pid", "uts", "ipc"].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));

test("each machine has its own name, addresses, processes and /etc/drbd.conf, byte for byte", async (t) => {
  await inLab(async (lab) => {
    for (const name of hostNames) {
      const host = lab.host(name);
      t.is(await host.mustRun(["uname", "-n"]), `${topology[name].fqdn}\n`);
      const addresses = await host.mustRun(["ip", "-4", "-o", "addr", "show", "scope", "global"]);
      const found = [...addresses.matchAll(/(eth\d) +inet (\S+) brd/g)].map((match) => `${match[1]} ${match[2]}`);
      t.deepEqual(
        found,
        Object.entries(topology[name].links).map(([link, address]) => `${link} ${address}/24`),
      );
      t.is(await host.mustRun(["readlink", "/proc/self/ns/pid"]), `${readlinkSync(`/proc/${host.pid1}/ns/pid`)}\n`);
      t.is((await host.mustRun(["cat", "/proc/1/comm"])).trim(), "busybox");
    }
    for (const name of ["host01", "host02"] as const) {
      t.is(await lab.host(name).mustRun(["cat", "/etc/drbd.conf"]), drbdConf);
    }
    const [one, two, here] = [lab.host("host01").pid1, lab.host("host02").pid1, process.pid].map(namespacesOf);
    for (const [kind, namespace] of (one ?? []).entries()) {
      t.not(namespace, two?.[kind]);
      t.not(namespace, here?.[kind]);
    }
  });
});

test("both networks carry; the client has no crossover cable", async (t) => {
  await inLab(async (lab) => {
    t.true(await reaches(lab, "host01", "192.168.1.200"));
    t.true(await reaches(lab, "host02", "10.77.0.1"));
    t.true(await reaches(lab, "client", "192.168.1.100"));
    t.true(await reaches(lab, "client", topology.host02.fqdn));
    t.false(await reaches(lab, "client", "10.77.0.1"));
  });
});

test("a write to /dev/VolGroup00/lvol0 of host01 is on its disk and not on host02's", async (t) => {
  await inLab(async (lab) => {
    const [one, two] = [lab.host("host01"), lab.host("host02")];
    const write = ["dd", "of=/dev/VolGroup00/lvol0", "bs=4096", "seek=3", "conv=fsync", "status=none"];
    await one.mustRun(write, { input: "written on host01" });
    const read = ["dd", "if=/dev/VolGroup00/lvol0", "bs=4096", "skip=3", "count=1", "status=none"];
    t.true((await one.mustRun(read)).startsWith("written on host01"));
    t.is(await two.mustRun(read), "\0".repeat(4096));
    t.is(readFileSync(one.diskFile).subarray(12_288, 12_305).toString(), "written on host01");
    t.is(await one.mustRun(["blockdev", "--getsize64", "/dev/VolGroup00/lvol0"]), `${16 * 1024 * 1024}\n`);
    t.not((await lab.host("client").run(["test", "-e", "/dev/VolGroup00"])).code, 0);
  });
});

test("a cut cable loses the carrier and nothing else, a crossover cable at both ends; plugged in, it carries again", async (t) => {
  await inLab(async (lab) => {
    const [one, two] = [lab.host("host01"), lab.host("host02")];
    const carrier = async (host: typeof one, link: string): Promise<string> =>
      (await host.mustRun(["cat", `/sys/class/net/${link}/carrier`])).trim();
    await one.cutLink("eth1");
    t.deepEqual([await carrier(one, "eth1"), await carrier(two, "eth1")], ["0", "0"]);
    t.deepEqual([await carrier(one, "eth0"), await carrier(two, "eth0")], ["1", "1"]);
    t.false(await reaches(lab, "host01", "10.77.0.2"));
    t.true(await reaches(lab, "host01", "192.168.1.200"));
    t.regex(await one.mustRun(["ip", "-4", "addr", "show", "eth1"]), /10\.77\.0\.1\/24/);
    await one.restoreLink("eth1");
    await until("crossover cable carries", () => reaches(lab, "host01", "10.77.0.2"));

    await one.cutLink("eth0");
    t.deepEqual([await carrier(one, "eth0"), await carrier(two, "eth0")], ["0", "1"]);
    t.false(await reaches(lab, "client", "192.168.1.100"));
    t.true(await reaches(lab, "client", "192.168.1.200"));
    await one.restoreLink("eth0");
    await until("LAN cable carries", () => reaches(lab, "client", "192.168.1.100"));
  });
});

test("lost packets and black holes work both ways, raise no error at the sender, and heal", async (t) => {
  await inLab(async (lab) => {
    const [one, two] = [lab.host("host01"), lab.host("host02")];
    const ping = async (count: number): Promise<number> => {
      const { stdout } = await one.run([
        "busybox",
        "ping",
        "-q",
        "-A",
        "-c",
        String(count),
        "-W",
        "1",
        "192.168.1.200",
      ]);
      return Number(/(\d+) packets received/.exec(stdout)?.[1]);
    };
    await two.drop(100, "eth0");
    t.is(await ping(1), 0);
    t.true(await reaches(lab, "host01", "10.77.0.2"), "the other link is whole");
    await two.heal();
    t.is(await ping(3), 3);
    // Lost with 1/2 each way; that 40 all pass or all fail has a chance of one in ten thousand at most.
    await two.drop(50);
    const { stdout } = await one.run(["busybox", "ping", "-q", "-c", "40", "-i", "0.02", "-W", "1", "192.168.1.200"]);
    const received = Number(/(\d+) packets received/.exec(stdout)?.[1]);
    t.true(received > 0 && received < 40, stdout);
    await two.heal();

    const echo = two.spawn(["busybox", "nc", "-ll", "-p", "7789", "-e", "cat"]);
    const ask = async (port: number): Promise<string> =>
      (await one.run(["timeout", "1", "busybox", "nc", "192.168.1.200", String(port)], { input: "hello" })).stdout;
    await until("server listens", async () => (await ask(7789)) === "hello");
    await one.blackhole(7789);
    t.is(await ask(7789), "");
    t.is(await ping(1), 1, "other packets pass");
    await one.heal();
    t.is(await ask(7789), "hello");
    echo.kill();
  });
});

test("a power cut kills everything inside at once, sends nothing, and keeps disk, /etc and /var/log", async (t) => {
  await inLab(async (lab) => {
    const [one, two] = [lab.host("host01"), lab.host("host02")];
    // A server with an open connection: had its machine sent a FIN or RST, the client would end.
    const server = one.spawn(["sh", "-c", "sleep 60 | busybox nc -l -p 9000"]);
    await until("server listens", async () => /:9000 /.test(await one.mustRun(["busybox", "netstat", "-ltn"])));
    const peer = two.spawn(["sh", "-c", "sleep 60 | busybox nc 192.168.1.100 9000"]);
    await until("connected", async () => /:9000 .*ESTAB/.test(await two.mustRun(["busybox", "netstat", "-tn"])));
    const daemon = one.spawn(["setsid", "sh", "-c", "sleep 1234 & echo $!; wait"]);
    await daemon.prints(/\d+/);
    await one.mustRun(["sh", "-c", "echo kept | tee /etc/lab /var/log/lab /dev/VolGroup00/lvol0 >/run/lab"]);
    const inside = namespacesOf(one.pid1);

    await one.powerCut();
    t.is(await one.down, "power cut");
    t.false(one.isPowered);
    t.throws(() => one.pid1);
    t.is((await server.exited).signal, "SIGKILL");
    t.is((await daemon.exited).signal, "SIGKILL");
    t.false(networkNamespaces().has(inside[0] ?? ""));
    t.is((await two.mustRun(["cat", "/sys/class/net/eth1/carrier"])).trim(), "0");
    t.deepEqual(loopsBelow(one.path), []);

    await one.boot();
    t.regex(await two.mustRun(["busybox", "netstat", "-tn"]), /:9000 .*ESTAB/);
    t.is(await one.mustRun(["cat", "/etc/lab", "/var/log/lab"]), "kept\nkept\n");
    t.is(await one.mustRun(["head", "-c", "5", "/dev/VolGroup00/lvol0"]), "kept\n");
    t.not((await one.run(["test", "-e", "/run/lab"])).code, 0, "/run is empty after a boot");
    t.true(await reaches(lab, "host02", "10.77.0.1"));
    peer.kill();
  });
});

test("a program inside that reboots its machine reboots only that machine", async (t) => {
  await inLab(async (lab) => {
    const one = lab.host("host01");
    await one.run(["busybox", "reboot", "-f"]);
    t.is(await one.down, "reboot");
    await one.boot();
    await one.run(["busybox", "poweroff", "-f"]);
    t.is(await one.down, "poweroff");
    t.true(lab.host("host02").isPowered);
  });
});

test("pid 1 reaps what daemons leave behind", async (t) => {
  await inLab(async (lab) => {
    const one = lab.host("host01");
    await one.mustRun(["sh", "-c", "for i in 1 2 3 4 5; do (setsid sh -c 'exit 3' &); done"]);
    await until("no zombie left", async () => !/^Z/m.test(await one.mustRun(["ps", "-A", "-o", "stat="])));
    t.pass();
  });
});

test("a command's exit code, output, input and environment come through; its time limit kills its whole group", async (t) => {
  await inLab(async (lab) => {
    const one = lab.host("host01");
    const script = 'cat; echo "$GREETING" >&2; exit 7';
    const result = await one.run(["sh", "-c", script], { input: "in", env: { GREETING: "hello" } });
    t.like(result, { code: 7, signal: null, stdout: "in", stderr: "hello\n", timedOut: false });

    const slow = await one.run(["sh", "-c", "sleep 4321 & sleep 4321"], { timeout: 300 });
    t.like(slow, { code: null, timedOut: true });
    await until(
      "its processes are gone",
      async () => !(await one.mustRun(["ps", "-A", "-o", "args="])).includes("sleep 4321"),
    );

    const polite = one.spawn(["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"]);
    await polite.prints(/ready/);
    polite.signal("SIGTERM");
    t.is((await polite.exited).code, 5);
  });
});

test("close leaves no process, namespace, mount, loop device, interface or file; two labs coexist", async (t) => {
  const [one, two] = await Promise.all([open(), open()]);
  const used = [one, two].flatMap((lab) => hostNames.map((name) => namespacesOf(lab.host(name).pid1)[0] ?? ""));
  t.is(new Set(used).size, 6);
  for (const namespace of used) t.true(networkNamespaces().has(namespace));
  try {
    t.not(one.name, two.name);
    await two.host("host01").mustRun(["busybox", "ping", "-c", "1", "-W", "1", "10.77.0.2"]);
  } finally {
    await one.close();
  }
  t.true(await reaches(two, "host01", "192.168.1.200"), "the other lab lives on");
  const pids = hostNames.map((name) => two.host(name).pid1);
  await two.close();
  await two.close();
  for (const pid of pids) t.false(existsSync(`/proc/${pid}`));
  const left = networkNamespaces();
  for (const namespace of used) t.false(left.has(namespace));
  t.false(readFileSync("/proc/self/mountinfo", "utf8").includes(scratch));
  t.deepEqual(loopsBelow(scratch), []);
  t.deepEqual(
    readdirSync("/sys/class/net").filter((name) => name.startsWith("host0")),
    [],
  );
  t.deepEqual(readdirSync(scratch), []);
  t.false(existsSync(`/run/futago-lab/${two.name}.json`));
});

/** Opens a lab in a process of its own and tells its directory and pids. */
async function labInAnotherProcess(): Promise<{
  kill: (signal: NodeJS.Signals) => Promise<void>;
  path: string;
  pids: number[];
}> {
  const program = fileURLToPath(new URL("../lab/hold-lab.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import=tsx", program, scratch], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await until("the other process has its lab", () => text.includes("\n"), 30_000);
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  return { kill, ...(JSON.parse(text) as { path: string; pids: number[] }) };
}

test("SIGTERM to its owner closes a lab", async (t) => {
  const other = await labInAnotherProcess();
  t.true(existsSync(other.path));
  await other.kill("SIGTERM");
  for (const pid of other.pids) t.false(existsSync(`/proc/${pid}`));
  t.false(existsSync(other.path));
});

test("SIGKILL to its owner ends a lab's processes and loop devices; the next lab removes its files", async (t) => {
  const other = await labInAnotherProcess();
  t.is(loopsBelow(other.path).length, 2);
  await other.kill("SIGKILL");
  await until("its processes ended", () => !other.pids.some((pid) => existsSync(`/proc/${pid}`)));
  await until("its loop devices are detached", () => loopsBelow(other.path).length === 0);
  t.true(existsSync(other.path));
  await inLab(async () => {
    t.false(existsSync(other.path));
  });
});

test("a lab that cannot boot throws and leaves nothing", async (t) => {
  const failing = openLab({ name: "lab-test", diskBytes: 0, drbdConf, scratch: join(scratch, "missing") });
  await t.throwsAsync(failing, { message: /missing/ });
  await t.throwsAsync(openLab({ name: "has space", diskBytes: 4096, drbdConf, scratch }), { message: /has space/ });
  t.deepEqual(readdirSync(scratch), []);
});
