import test from "ava";
import { clockText, kernelPermille, progressLines } from "../../../src/cli/progress-text.ts";
import { statusJson } from "../../../src/cli/status-json.ts";
import { shortText, statusText } from "../../../src/cli/status-text.ts";
import { verdictOf } from "../../../src/cli/verdict.ts";
import { connectionNames, diskNames, type ResourceStatus, type SyncProgress } from "../../../src/core/status.ts";
import { counters, resource, volume } from "./scripted-control.ts";

const sync = (change: Partial<SyncProgress>): SyncProgress => ({
  total: 65496,
  left: 21464,
  failed: 0,
  rate: 22016,
  averageRate: 22016,
  want: undefined,
  secondsLeft: 0,
  elapsedSeconds: 2,
  ...change,
});
/** The lines that drbdadm would print: ours begin with `#`. */
const drbdLines = (status: ResourceStatus): string[] =>
  statusText(status, false)
    .split("\n")
    .filter((line) => !line.trimStart().startsWith("#"));

test("§10.8: a connected resource, as drbdadm status prints it", (t) => {
  t.deepEqual(drbdLines(resource()), [
    "r0 role:Primary",
    "  disk:UpToDate",
    "  peer role:Secondary",
    "    replication:Established peer-disk:UpToDate",
    "",
    "",
  ]);
});

test("§10.8: not connected: connection instead of role, WFConnection reads Connecting", (t) => {
  const status = resource({ connection: "WFConnection", peerRole: "Unknown" });
  t.deepEqual(drbdLines(status).slice(0, 3), ["r0 role:Primary", "  disk:UpToDate", "  peer connection:Connecting"]);
  t.is(drbdLines(resource({ connection: "StandAlone" }))[2], "  peer connection:StandAlone");
});

test("§10.8: several volumes start their lines with volume:N", (t) => {
  const volumes = [
    volume(),
    volume({
      volume: 1,
      minor: 1,
      replication: "SyncSource",
      peerDisk: "Inconsistent",
      sync: sync({ total: 10000, left: 8766 }),
    }),
  ];
  t.deepEqual(drbdLines(resource({ volumes })), [
    "r0 role:Primary",
    "  volume:0 disk:UpToDate",
    "  volume:1 disk:UpToDate",
    "  peer role:Secondary",
    "    volume:0 replication:Established peer-disk:UpToDate",
    "    volume:1 replication:SyncSource peer-disk:Inconsistent done:12.34",
    "",
    "",
  ]);
});

test("§10.8: resync-suspended names who pauses it", (t) => {
  const paused = volume({ replication: "PausedSyncT", pausedByUser: true, pausedByDependency: true });
  t.is(
    drbdLines(resource({ volumes: [paused] }))[3],
    "    replication:PausedSyncT peer-disk:UpToDate resync-suspended:user,dependency",
  );
});

test("progress as the kernel printed it: 21464 of 65496 KiB left are 68.8 %", (t) => {
  const lines = progressLines(volume({ replication: "SyncSource" }), sync({}));
  t.deepEqual(lines, [
    "[============>.......] sync'ed: 68.8% (21464/65496)K",
    "finish: 0:00:00 speed: 22,016 (22,016) K/sec",
  ]);
});

test("§10.8: above 4 GiB in M, want on the Target, verified while verifying", (t) => {
  const big = sync({ total: 8 * 1024 ** 2, left: 4 * 1024 ** 2, want: 102400, secondsLeft: 3723 });
  const [bar, rate] = progressLines(volume({ replication: "SyncTarget" }), big);
  t.regex(bar, /\(4096\/8192\)M$/);
  t.is(rate, "finish: 1:02:03 speed: 22,016 (22,016) want: 102,400 K/sec");
  t.regex(progressLines(volume({ replication: "VerifyS" }), big)[0], /verified: 50\.\d%/);
});

test("§10.8: the bar is always 20 wide once it has begun, and never runs over", (t) => {
  for (let left = 0; left <= 1_000_000; left += 997) {
    const progress = sync({ total: 1_000_000, left });
    const [bar] = progressLines(volume({ replication: "SyncSource" }), progress);
    const drawn = /^\[(=*>\.*)\]/.exec(bar)?.[1]?.length;
    t.is(drawn, kernelPermille(progress) < 50 ? 21 : 20, bar);
  }
});

test("h:mm:ss", (t) => {
  t.deepEqual([0, 59, 60, 3599, 3600, 360000].map(clockText), [
    "0:00:00",
    "0:00:59",
    "0:01:00",
    "0:59:59",
    "1:00:00",
    "100:00:00",
  ]);
});

test("§10.8: role, cstate and dstate, one line per volume; Unconfigured without disk and network", (t) => {
  const two = resource({ volumes: [volume(), volume({ volume: 1, replication: "SyncTarget", disk: "Inconsistent" })] });
  t.is(shortText("role", two, undefined), "Primary/Secondary\nPrimary/Secondary\n");
  t.is(shortText("cstate", two, undefined), "Connected\nSyncTarget\n");
  t.is(shortText("dstate", two, 1), "Inconsistent/UpToDate\n");
  const off = resource({
    connection: "StandAlone",
    volumes: [volume({ disk: "Diskless", replication: "StandAlone" })],
  });
  for (const query of ["role", "cstate", "dstate"] as const) t.is(shortText(query, off, undefined), "Unconfigured\n");
});

const verdict = (status: ResourceStatus): string => {
  const { level, text } = verdictOf(status);
  return `${level}: ${text}`;
};

test("data is called protected only where both disks are UpToDate and nothing is going on", (t) => {
  for (const connection of connectionNames) {
    for (const disk of diskNames) {
      for (const peerDisk of diskNames) {
        const { level } = verdictOf(
          resource({ connection, volumes: [volume({ replication: connection, disk, peerDisk })] }),
        );
        const verifying = connection === "VerifyS" || connection === "VerifyT";
        const safe = (connection === "Connected" || verifying) && disk === "UpToDate" && peerDisk === "UpToDate";
        t.is(level === "protected", safe, `${connection} ${disk}/${peerDisk}`);
      }
    }
  }
  t.is(verdictOf(resource({ suspended: true })).level, "NOT protected");
});

test("the verdict says what to do", (t) => {
  t.is(verdict(resource()), "protected: both nodes hold the same data");
  t.regex(
    verdict(resource({ connection: "WFConnection" })),
    /^NOT protected: waiting for the peer 192\.168\.1\.200:7789; .*there: 'futago up r0'$/,
  );
  t.regex(
    verdict(resource({ connection: "StandAlone", reason: "Split-Brain detected" })),
    /connect --discard-my-data r0/,
  );
  t.regex(verdict(resource({ connection: "StandAlone" })), /'futago connect r0'$/);
  t.regex(verdict(resource({ volumes: [volume({ disk: "Diskless" })] })), /'futago attach r0'/);
  t.regex(
    verdict(resource({ volumes: [volume({ disk: "Inconsistent", peerDisk: "Inconsistent" })] })),
    /primary --force r0/,
  );
  t.regex(
    verdict(
      resource({ volumes: [volume({ replication: "PausedSyncS", pausedByUser: true, peerDisk: "Inconsistent" })] }),
    ),
    /resume-sync r0/,
  );
  t.regex(verdict(resource({ protocol: "A" })), /^protected: .*protocol A/);
});

test("§10.8: --json has drbdsetup's keys", (t) => {
  const syncing = volume({
    replication: "SyncSource",
    peerDisk: "Inconsistent",
    sync: sync({}),
    counters: { ...counters, oos: 21464 },
  });
  const json = statusJson(resource({ volumes: [syncing] }));
  const keys = (value: unknown): string[] => Object.keys(value as object);
  const [connection] = json["connections"] as Record<string, unknown>[];
  const [device] = json["devices"] as Record<string, unknown>[];
  const [peerDevice] = (connection?.["peer_devices"] ?? []) as Record<string, unknown>[];
  const words = (text: string): string[] => text.split(" ");
  t.deepEqual(
    keys(json),
    words(
      "name node-id role suspended suspended-user suspended-no-data suspended-fencing suspended-quorum force-io-failures write-ordering devices connections futago",
    ),
  );
  t.deepEqual(
    keys(device),
    words(
      "volume minor disk-state client open quorum size read written al-writes bm-writes upper-pending lower-pending",
    ),
  );
  t.deepEqual(
    keys(connection),
    words("peer-node-id name connection-state congested peer-role tls ap-in-flight rs-in-flight paths peer_devices"),
  );
  t.deepEqual(
    keys(peerDevice).slice(0, 13),
    words(
      "volume replication-state peer-disk-state peer-client resync-suspended received sent out-of-sync pending unacked has-sync-details has-online-verify-details percent-in-sync",
    ),
  );
  t.is(device?.["size"], 1024 ** 2);
  t.is(peerDevice?.["percent-resync-done"], 67.23);
  t.deepEqual(connection?.["paths"], [
    {
      this_host: { address: "192.168.1.100", port: 7789, family: "ipv4" },
      remote_host: { address: "192.168.1.200", port: 7789, family: "ipv4" },
      established: true,
    },
  ]);
});

test("a resource without a network has no addresses in its JSON, and still is JSON", (t) => {
  const json = statusJson(resource({ local: "", remote: "[fe80::1]:7789", connection: "StandAlone" }));
  const text = JSON.stringify(json);
  t.true(text.includes('"address":"fe80::1"'));
  t.false(text.includes("this_host"));
});
