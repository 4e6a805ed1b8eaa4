import test from "ava";
import { columns, initdText, overviewText } from "../../../src/cli/initd-text.ts";
import { human, mountOf } from "../../../src/cli/mounts.ts";
import { procText } from "../../../src/cli/proc-text.ts";
import { shellWord, shStatus, shStatusOfNothing } from "../../../src/cli/sh-status-text.ts";
import type { ResourceStatus, SyncProgress, VolumeCounters, VolumeStatus } from "../../../src/core/status.ts";
import { counters, resource, volume } from "./scripted-control.ts";

// The texts were printed by Debian's kernel 6.1 with DRBD 8.4.11 and drbd-utils 9.22, three resources in one guest.
const head = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: F73C670A7EC572DB9CF3E5B\n";
const sync = (change: Partial<SyncProgress>): SyncProgress => ({
  total: 24536,
  left: 22804,
  failed: 0,
  rate: 1732,
  averageRate: 1732,
  want: undefined,
  secondsLeft: 11,
  elapsedSeconds: 2,
  ...change,
});
const one = (
  name: string,
  number: number,
  status: Partial<ResourceStatus>,
  change: Partial<VolumeStatus>,
  counted: Partial<VolumeCounters> = {},
): ResourceStatus =>
  resource({
    name,
    ...status,
    volumes: [volume({ minor: number, counters: { ...counters, ...counted }, ...change })],
  });
const source = one(
  "r0",
  0,
  {},
  { peerDisk: "Inconsistent", replication: "SyncSource", sync: sync({}) },
  { ns: 1732, dr: 1732, al: 8, oos: 22804 },
);
const target = one(
  "r1",
  1,
  { role: "Secondary", peerRole: "Primary" },
  { disk: "Inconsistent", replication: "SyncTarget", sync: sync({ want: 1640 }) },
  { nr: 1732, dw: 1732, al: 8, oos: 22804 },
);
const alone = one(
  "r5",
  5,
  { role: "Secondary", peerRole: "Unknown", connection: "StandAlone" },
  { disk: "Inconsistent", peerDisk: "DUnknown", replication: "StandAlone", alSuspended: true },
  { al: 8, oos: 2008 },
);
const unconfigured = (name: string, number: number): ResourceStatus =>
  one(
    name,
    number,
    { role: "Secondary", peerRole: "Unknown", connection: "StandAlone" },
    { disk: "Diskless", peerDisk: "DUnknown", replication: "StandAlone" },
  );

test("§10.8: /proc/drbd of a resync between two minors of one kernel, and one that is alone behind a gap", (t) => {
  t.is(
    procText(head, [alone, target, source]),
    `${head} 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----
    ns:1732 nr:0 dw:0 dr:1732 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:22804
\t[==>.................] sync'ed: 16.7% (22804/24536)K
\tfinish: 0:00:11 speed: 1,732 (1,732) K/sec
 1: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----
    ns:0 nr:1732 dw:1732 dr:0 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:22804
\t[==>.................] sync'ed: 16.7% (22804/24536)K
\tfinish: 0:00:11 speed: 1,732 (1,732) want: 1,640 K/sec

 5: cs:StandAlone ro:Secondary/Unknown ds:Inconsistent/DUnknown   r----s
    ns:0 nr:0 dw:0 dr:0 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:2008
`,
  );
});

test("§10.8: /proc/drbd: minors without disk and connection, a gap of several minors is one empty line", (t) => {
  t.is(
    procText(head, [unconfigured("r0", 0), unconfigured("r1", 1), unconfigured("r5", 5)]),
    `${head} 0: cs:Unconfigured\n 1: cs:Unconfigured\n\n 5: cs:Unconfigured\n`,
  );
  t.is(procText(head, []), head);
});

test("§10.8: /proc/drbd: a paused resync has flags instead of progress lines", (t) => {
  const paused = (change: Partial<VolumeStatus>) =>
    procText("", [one("r0", 0, {}, { peerDisk: "Inconsistent", sync: sync({}), ...change })]).split("\n");
  const bySelf = paused({ replication: "PausedSyncS", pausedByUser: true });
  t.is(bySelf[0], " 0: cs:PausedSyncS ro:Primary/Secondary ds:UpToDate/Inconsistent C r--u--");
  t.is(bySelf.length, 3);
  t.regex(paused({ replication: "PausedSyncT", pausedByPeer: true })[0] ?? "", / r-p---$/);
  t.regex(paused({ replication: "PausedSyncT", pausedByDependency: true })[0] ?? "", / ra----$/);
});

test("the init script's table: the report's line, alone ones with -, unconfigured minors left out", (t) => {
  const mounted = { point: "/mnt", type: "ext3", size: "", used: "", available: "", percent: "" };
  const text = initdText(head, [one("r0", 0, {}, {}), alone, unconfigured("r7", 7)], (minor) =>
    minor === 0 ? mounted : undefined,
  );
  const squeezed = text.split("\n").map((line) => line.trimEnd().replace(/ +/g, " "));
  t.deepEqual(squeezed, [
    "drbd driver loaded OK; device status:",
    ...head.trimEnd().split("\n"),
    "m:res cs ro ds p mounted fstype",
    "0:r0 Connected Primary/Secondary UpToDate/UpToDate C /mnt ext3",
    "5:r5 StandAlone Secondary/Unknown Inconsistent/DUnknown -",
    "",
  ]);
});

test("a resync in the init script's table and in drbd-overview", (t) => {
  const rows = initdText("", [source], () => undefined).split("\n");
  t.regex(rows[3] ?? "", /^\.\.\. +sync'ed: +16\.7% +\(22804\/24536\)K *$/);
  const mount = { point: "/data", type: "ext4", size: "9.8G", used: "151M", available: "9.1G", percent: "2%" };
  t.is(
    overviewText([target, source], (minor) => (minor === 0 ? mount : undefined)),
    "  0:r0/0  SyncSource Primary/Secondary UpToDate/Inconsistent C r----- /data ext4 9.8G 151M 9.1G 2%\n" +
      "\t[==>.................] sync'ed: 16.7% (22804/24536)K\n" +
      "  1:r1/0  SyncTarget Secondary/Primary Inconsistent/UpToDate C r-----\n" +
      "\t[==>.................] sync'ed: 16.7% (22804/24536)K\n",
  );
  t.is(
    overviewText([], () => undefined),
    "",
  );
});

test("columns are aligned as column -t does: short rows filled up, the last column not padded", (t) => {
  t.is(
    columns([
      ["a", "bb", "c"],
      ["aaa", "b"],
    ]),
    "a    bb  c\naaa  b   \n",
  );
});

test("mounts: names with blanks, types, and sizes as df -h rounds them", (t) => {
  const mounts = "proc /proc proc rw 0 0\n/dev/drbd3 /nowhere/my\\040data xfs rw 0 0\n";
  t.like(mountOf("/dev/drbd3", mounts), { point: "/nowhere/my data", type: "xfs", percent: "-" });
  t.is(mountOf("/dev/drbd0", mounts), undefined);
  t.deepEqual([0, 1023, 1024, 1025, 10 * 1024, 10.5 * 1024 ** 2, 151 * 1024 ** 2].map(human), [
    ...["0", "1023", "1.0K", "1.1K", "10K", "11M", "151M"],
  ]);
});

test("§10.8: sh-status of a resync, of what has neither disk nor peer, and of nothing", (t) => {
  const [syncing] = source.volumes;
  t.truthy(syncing);
  if (syncing === undefined) return;
  t.is(
    shStatus(source, syncing),
    `_minor=0\n_res_name=r0\n_volume=0\n_known=Configured\n
_cstate=SyncSource\n_role=Primary\n_peer=Secondary\n_disk=UpToDate\n_pdsk=Inconsistent\n
_flags_susp=\n_flags_aftr_isp=\n_flags_peer_isp=\n_flags_user_isp=\n
_resynced_percent=16.7\n
_sh_status_process\n\n\n`,
  );
  const empty = "_cstate=Unconfigured\n_role=\n_peer=\n_disk=\n_pdsk=\n_flags_susp=\n_flags_aftr_isp=\n";
  const rest = `${empty}_flags_peer_isp=\n_flags_user_isp=\n_resynced_percent=\n\n_sh_status_process\n\n\n`;
  const without = unconfigured("r0", 5);
  const [diskless] = without.volumes;
  if (diskless !== undefined)
    t.is(shStatus(without, diskless), `_minor=5\n_res_name=r0\n_volume=0\n_known=Unconfigured\n\n${rest}`);
  const nothing = `_minor=0\n_res_name=\n_volume=-1\n_known=NA # not available or not yet created\n\n${rest}`;
  t.is(shStatusOfNothing(0, "", -1), nothing);
  t.is(shellWord("a b'$(x)"), "a\\ b\\'\\$\\(x\\)");
});
