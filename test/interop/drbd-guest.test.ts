import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava from "ava";
import { mustRun, until } from "../lab/command.ts";
import { type Guest, openGuest } from "./drbd/guest.ts";
import { assertCleanLog, parseKernelLog } from "./drbd/kernel-log.ts";
import { digestOf, firstDifference, pattern, startKernelSide } from "./drbd/pair.ts";
import { parseGi, parseProcDrbd } from "./drbd/proc-drbd.ts";
import { requireGuest, whyNoGuest } from "./drbd/require-guest.ts";
import { tsharkCommands, tsharkMalformed } from "./drbd/tshark.ts";

const test = requireGuest(ava.serial);
const scratch = mkdtempSync(join(tmpdir(), "futago-interop-"));
const mebibyte = 1024 * 1024;
let guest: Guest;

ava.serial.before(async (t) => {
  t.timeout(300_000, "the first guest of a machine downloads its kernel");
  if (whyNoGuest() !== undefined) return;
  const disks = [{ bytes: 2 * mebibyte }, { bytes: 2 * mebibyte }, { bytes: mebibyte }];
  guest = await openGuest({ name: "kernel", disks, net: { mode: "user" }, scratch });
});

ava.after.always(async () => {
  await guest?.close();
  rmSync(scratch, { recursive: true, force: true });
});

/** The pair inside of the guest: two resources over its loopback. */
const inside = () => ({
  r0: guest.resource({
    name: "r0",
    volumes: [{ minor: 0, disk: "/dev/vda" }],
    local: "127.0.0.1:7789",
    remote: "127.0.0.1:7790",
  }),
  r1: guest.resource({
    name: "r1",
    volumes: [{ minor: 1, disk: "/dev/vdb" }],
    local: "127.0.0.1:7790",
    remote: "127.0.0.1:7789",
  }),
});

ava("/proc/drbd is read by minor, with counters and progress (drbd-84, /proc/drbd)", (t) => {
  const text = `version: 8.4.11 (api:1/proto:86-101)
srcversion: F73C670A7EC572DB9CF3E5B 
 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----
    ns:12288 nr:0 dw:0 dr:14336 al:8 bm:0 lo:0 pe:2 ua:3 ap:0 ep:1 wo:f oos:102400
\t[=>..................] sync'ed: 10.5% (102400/114688)K
\tfinish: 0:00:08 speed: 12,288 (12,288) K/sec
 1: cs:Unconfigured
 2: cs:StandAlone ro:Secondary/Unknown ds:Diskless/DUnknown   r-----
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:b oos:0
`;
  const minors = parseProcDrbd(text);
  t.deepEqual([...minors.keys()], [0, 2]);
  t.like(minors.get(0), { cs: "SyncSource", ro: "Primary/Secondary", ds: "UpToDate/Inconsistent", protocol: "C" });
  t.like(minors.get(0), { ns: 12_288, dr: 14_336, pe: 2, ua: 3, ep: 1, wo: "f", oos: 102_400, done: 10.5 });
  t.like(minors.get(2), { cs: "StandAlone", protocol: " ", ioFlags: "r-----", wo: "b", done: undefined });
  t.throws(() => parseProcDrbd(" 0: cs:Connected ro:"), { message: /not a line of/ });
  const gi = parseGi("2DA9BDE205EAC027:0000000000000000:48DCA9887AAC5A23:0000000000000004:1:1:0:1:0:0:1\n");
  t.like(gi, { current: "2DA9BDE205EAC027", history: ["48DCA9887AAC5A23", "0000000000000004"], consistent: true });
  t.like(gi, { wasUpToDate: true, primary: false, connected: true, fullSync: false, crashedPrimary: true });
  t.throws(() => parseGi("2DA9BDE205EAC027:0:0:0:1:1:0:1:0:0:1"), { message: /not what get-gi/ });
});

ava("a kernel log with an assertion or a protocol error is not clean, unless the test expects it", (t) => {
  const logged = (...texts: string[]) =>
    parseKernelLog(texts.map((text, n) => `6,${n},${n},-;${text}\n KEY=x\n`).join(""));
  const calm = logged(
    "drbd r0: conn( Unconnected -> WFConnection ) ",
    "block drbd0: bitmap READ of 1 pages took 0 jiffies",
  );
  t.is(calm.length, 2);
  t.notThrows(() => assertCleanLog(calm));
  const bad = [
    "block drbd1: ASSERTION data_size == 0 FAILED in read_in_block",
    "block drbd0: ASSERT FAILED new < now; (32768 < 1048576)",
    "block drbd0: drbd_req_destroy: Logic BUG rq_state = 0x120040, completion_ref = 0",
    "drbd r1: conn( WFReportParams -> ProtocolError ) ",
    "BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "Oops: 0002 [#1] PREEMPT SMP NOPTI",
  ];
  for (const text of bad) {
    t.throws(() => assertCleanLog([...calm, ...logged(text)]), { message: new RegExp(`^! ${text.slice(0, 10)}`, "m") });
  }
  t.notThrows(() => assertCleanLog(logged("drbd r1: conn( Connected -> ProtocolError ) "), [/-> ProtocolError/]));
});

test("it runs Debian's kernel with DRBD 8.4 and loads nbd, softdog, dm and netem", async (t) => {
  const seconds = Number((await guest.mustRun("cat /proc/uptime")).split(" ")[0]);
  t.log(`${seconds} s after power on`);
  t.true(seconds < 30);
  t.regex(await guest.mustRun("cat /proc/drbd"), /^version: 8\.4\.\d+ \(api:1\/proto:86-101\)$/m);
  for (const name of ["nbd", "softdog", "dm-flakey", "dm-delay", "sch_netem", "ext4", "raid1", "sha512_generic"]) {
    await guest.mustRun(`modprobe ${name}`);
  }
  await guest.mustRun("tc qdisc add dev eth0 root netem delay 1ms; tc qdisc del dev eth0 root");
  // busybox has applets of these names that do something else with the options that tests need.
  t.regex(await guest.mustRun("dd --version"), /coreutils/);
  t.regex(await guest.mustRun("blkdiscard --version"), /util-linux/);
});

test("a command's exit code, both of its streams and its stdin pass unchanged", async (t) => {
  t.deepEqual(await guest.run("echo out; echo err >&2; exit 3"), {
    ...{ code: 3, timedOut: false, stdout: "out\n", stderr: "err\n" },
  });
  t.is((await guest.run("no-such-program")).code, 127);
  await t.throwsAsync(guest.mustRun("echo why >&2; false"), { message: /why/ });
  const bytes = Buffer.from(Array.from({ length: 10_000 }, (_, index) => (index * 7) % 256));
  await guest.writeFile("/tmp/here/bytes", bytes);
  t.deepEqual(await guest.readFile("/tmp/here/bytes"), bytes);
  t.is(await guest.mustRun("cat", { input: "" }), "");
  await t.throwsAsync(guest.readFile("/nowhere"), { message: /No such file/ });
});

test("a command that hangs is killed, its children too, while others go on and background ones live", async (t) => {
  const hanging = guest.run("echo begun; sleep 1000 | sleep 1001", { timeout: 3_000 });
  const answered = await Promise.all(["1", "2", "3", "4", "5"].map((word) => guest.mustRun(`echo ${word}`)));
  t.deepEqual(answered, ["1\n", "2\n", "3\n", "4\n", "5\n"]);
  await guest.mustRun("sleep 1002 & echo $! >/tmp/background");
  t.deepEqual(await hanging, { code: 137, timedOut: true, stdout: "begun\n", stderr: "" });
  await until("killed", async () => !/sleep 100[01]/.test(await guest.mustRun("ps")));
  t.is((await guest.run("kill $(cat /tmp/background)")).code, 0);
});

test("two resources of one guest connect and reach UpToDate after primary --force", async (t) => {
  const { r0, r1 } = inside();
  await guest.dmesg();
  await guest.mustRun("tcpdump -i lo -s 0 -B 4096 --immediate-mode -U -Z root -w /tmp/lo.pcap tcp >/dev/null 2>&1 &");
  await guest.mustRun("until [ -s /tmp/lo.pcap ]; do sleep 0.1; done");
  for (const resource of [r0, r1]) {
    await resource.createMd();
    await resource.up();
    await resource.unlimitedResync();
    await resource.connect();
  }
  await r0.reaches({ cs: "Connected", ro: "Secondary/Secondary", ds: "Inconsistent/Inconsistent" });
  await r0.primary({ force: true });
  await r0.reaches({ cs: "Connected", ro: "Primary/Secondary", ds: "UpToDate/UpToDate", oos: 0 });
  await r1.reaches({ cs: "Connected", ro: "Secondary/Primary", ds: "UpToDate/UpToDate", oos: 0 });
  // 2 MiB less its internal meta data: 2008 KiB, all of which were sent.
  t.is((await r0.state()).ns, 2008);
  t.is((await r1.state()).nr, 2008);
  const [one, other] = [await r0.gi(), await r1.gi()];
  t.true(one.primary && !other.primary && one.connected && other.connected);
  // The lowest bit of a current UUID says Primary; the rest is the data's generation.
  t.is(one.current.slice(0, -1), other.current.slice(0, -1));
  const log = await guest.dmesg();
  assertCleanLog(log);
  t.true(log.some(({ text }) => text.includes("Agreed network protocol version 101")));
  t.deepEqual(await guest.dmesg(), []);

  const capture = join(scratch, "lo.pcap");
  writeFileSync(capture, await guest.readFile("/tmp/lo.pcap"));
  t.deepEqual(await tsharkMalformed(capture), []);
  // P_CONNECTION_FEATURES of both.
  t.is((await tsharkCommands(capture)).get(0xfffe), 2);
  t.is(firstDifference(guest.disk(0), guest.disk(1), 2008 * 1024), undefined);
});

test("a refusal of the module comes with its own words", async (t) => {
  const { r1 } = inside();
  await t.throwsAsync(r1.primary(), { message: /\(-1\) Multiple primaries not allowed by config/ });
  const again = await r1.setup("attach", "1", "/dev/vdb", "/dev/vdb", "internal");
  t.is(again.code, 10);
  t.regex(again.stderr, /\(124\) Device is attached to a disk/);
});

test("a cut link takes the carrier and every packet, and gives them back", async (t) => {
  const reaches = async (): Promise<boolean> => (await guest.run("ping -c 1 -W 1 10.0.2.2")).code === 0;
  const carrier = async (): Promise<string> => (await guest.mustRun("cat /sys/class/net/eth0/carrier")).trim();
  t.is(await carrier(), "1");
  await until("host answers", reaches);
  await guest.cutLink();
  await until("carrier lost", async () => (await carrier()) === "0");
  t.false(await reaches());
  await guest.restoreLink();
  await until("carrier back", async () => (await carrier()) === "1");
  await until("host answers again", reaches);
});

/** A listening socket in an engine's place, and what comes in on its first connection. */
async function listener(): Promise<{ server: Server; port: number; first: Promise<Socket> }> {
  const server = createServer();
  const first = new Promise<Socket>((resolve) => server.once("connection", resolve));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  return { server, port: address.port, first };
}

function collect(socket: Socket): () => Buffer {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", () => {});
  return () => Buffer.concat(chunks);
}

test("a kernel resource meets a program of this machine: both ways to connect, first packets, features (drbd-84 §1, §3.2)", async (t) => {
  const { server, port, first } = await listener();
  const sockets: Socket[] = [];
  try {
    await guest.nextCapture();
    const plan = { name: "p0", minor: 2, disk: 2, enginePort: port, connect: false };
    const side = await startKernelSide(guest, plan);
    t.is(await side.usableBytes(), 984 * 1024);
    const [host, kernelPort] = side.address.split(":");
    const dial = (): Socket => {
      const socket = connect(Number(kernelPort), host);
      sockets.push(socket);
      return socket;
    };
    // Nobody listens in the guest yet: QEMU accepts all the same, then resets.
    const early = dial();
    const ended = new Promise<string>((resolve) => early.on("error", () => {}).once("close", () => resolve("closed")));
    await new Promise<void>((resolve) => early.once("connect", resolve));
    t.is(await ended, "closed");

    await side.resource.connect();
    await side.listens();
    const data = await first;
    sockets.push(data);
    const onData = collect(data);
    await until("first packet", () => onData().length >= 8);
    t.is(onData().toString("hex"), "83740267fff20000");
    const meta = dial();
    await new Promise<void>((resolve) => meta.once("connect", resolve));
    meta.write(Buffer.from("83740267fff10000", "hex"));
    await until("features", () => onData().length >= 8 + 8 + 72, 20_000);
    const features = onData().subarray(8);
    t.is(features.subarray(0, 24).toString("hex"), "83740267fffe0048000000560000000f0000006500000000");
    t.true(features.subarray(24).every((byte) => byte === 0));
    await guest.dmesg();

    // P_CONNECTION_FEATURES has 72 bytes of payload; one of 4 is what both the kernel and tshark have to complain about.
    const clean = await guest.nextCapture();
    t.deepEqual(await tsharkMalformed(clean), []);
    data.write(Buffer.from("83740267fffe000400000056", "hex"));
    await side.resource.reaches({ cs: "StandAlone" });
    const log = await guest.dmesg();
    t.true(
      log.some(({ text }) => text.includes("expected ConnectionFeatures length: 72, received: 4")),
      JSON.stringify(log),
    );
    const broken = await tsharkMalformed(await guest.nextCapture());
    t.deepEqual(
      broken.map(({ packets }) => packets),
      [[{ command: 0xfffe, length: 4 }]],
    );
    await side.resource.down();
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});

test("kill -9 leaves images that drbdmeta of this machine reads, a crashed Primary that attaches after the next boot", async (t) => {
  const { r0, r1 } = inside();
  const before = await r0.gi();
  const line = "written before the crash";
  await guest.mustRun(
    `yes '${line}' | head -c 65536 | dd of=/dev/drbd0 bs=64k iflag=fullblock oflag=direct status=none`,
  );
  await guest.mustRun("echo last words >/dev/kmsg");
  await guest.dmesg();
  await guest.kill();
  t.false(guest.isPowered);
  await guest.down;
  await t.throwsAsync(guest.run("true"), { message: /no power/ });
  const written = pattern(65_536, line);
  for (const disk of [0, 1]) t.deepEqual(readFileSync(guest.disk(disk)).subarray(0, 65_536), written);
  t.is(await digestOf(guest.disk(0), 2008 * 1024), await digestOf(guest.disk(1), 2008 * 1024));

  // A copy: drbdmeta opens what it looks at for writing.
  await mustRun(["cp", guest.disk(0), join(scratch, "crashed.img")]);
  const meta = (verb: string) => ["drbdmeta", "--force", "0", "v08", join(scratch, "crashed.img"), "internal", verb];
  t.regex(await mustRun(meta("show-gi")), /meta-data: need apply-al/);
  const onDisk = parseGi((await mustRun(meta("get-gi"))).split("\n")[0] ?? "");
  t.is(onDisk.current, before.current);
  t.true(onDisk.primary && onDisk.consistent && onDisk.connected);

  await guest.boot();
  for (const resource of [r0, r1]) {
    await resource.up();
    await resource.connect();
  }
  await r0.reaches({ cs: "Connected", ro: "Secondary/Secondary", ds: "UpToDate/UpToDate" });
  t.true((await r0.gi()).current.startsWith(before.current.slice(0, -1)));
  assertCleanLog(await guest.dmesg());
  for (const resource of [r0, r1]) await resource.down();
});

test("a guest can switch itself off; closed, it leaves nothing behind", async (t) => {
  await guest.powerOff();
  t.false(guest.isPowered);
  await guest.close();
  t.false(existsSync(guest.path));
});
