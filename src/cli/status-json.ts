/** `status --json` with the keys of `drbdsetup status --json` (drbd-84 §10.8), and our verdict under `futago`. Sizes in KiB. */
import type { ResourceStatus, SyncProgress, VolumeStatus } from "../core/status.ts";
import { doneShare, isSyncState, isVerifyState } from "./progress-text.ts";
import { connectionShown, replicationShown, resyncSuspended } from "./status-text.ts";
import { verdictOf } from "./verdict.ts";

/** One element of the array that the command prints. */
export function statusJson(status: ResourceStatus): Record<string, unknown> {
  const verdict = verdictOf(status);
  return {
    name: status.name,
    // DRBD 8.4 has no node ids; drbdsetup shows the peer as 0.
    "node-id": 0,
    role: status.role,
    suspended: status.suspended,
    "suspended-user": false,
    "suspended-no-data": false,
    "suspended-fencing": false,
    "suspended-quorum": false,
    "force-io-failures": false,
    "write-ordering": { f: "flush", d: "drain", n: "none" }[status.writeOrdering],
    devices: status.volumes.map(deviceJson),
    connections: [connectionJson(status)],
    futago: {
      node: status.node,
      protected: verdict.level,
      verdict: verdict.text,
      reason: status.reason,
      protocol: status.protocol,
      "agreed-version": status.agreedVersion,
      backend: status.backend,
      io: status.io,
    },
  };
}

function deviceJson(volume: VolumeStatus): Record<string, unknown> {
  const { counters } = volume;
  return {
    volume: volume.volume,
    minor: volume.minor,
    "disk-state": volume.disk,
    client: volume.disk === "Diskless",
    open: volume.openCount > 0,
    quorum: true,
    size: volume.size / 1024,
    read: counters.dr,
    written: counters.dw,
    "al-writes": counters.al,
    "bm-writes": counters.bm,
    "upper-pending": counters.ap,
    "lower-pending": counters.lo,
  };
}

/** `192.168.1.100:7789` or `[fe80::1]:7789`; undefined if there is no address. */
function endpointJson(text: string): Record<string, unknown> | undefined {
  const [, six, four, port] = /^(?:\[(.+)\]|([^[\]]+)):(\d+)$/.exec(text) ?? [];
  const address = six ?? four;
  return address === undefined
    ? undefined
    : { address, port: Number(port), family: six === undefined ? "ipv4" : "ipv6" };
}

function connectionJson(status: ResourceStatus): Record<string, unknown> {
  const established = connectionShown(status.connection) === "Connected";
  const sum = (pick: (volume: VolumeStatus) => number): number => status.volumes.reduce((n, one) => n + pick(one), 0);
  return {
    "peer-node-id": 0,
    name: "peer",
    "connection-state": connectionShown(status.connection),
    congested: false,
    "peer-role": status.peerRole,
    tls: false,
    "ap-in-flight": sum((volume) => volume.counters.pe),
    "rs-in-flight": 0,
    paths: [{ this_host: endpointJson(status.local), remote_host: endpointJson(status.remote), established }],
    peer_devices: status.volumes.map(peerDeviceJson),
  };
}

function peerDeviceJson(volume: VolumeStatus): Record<string, unknown> {
  const { sync, counters } = volume;
  const verifying = isVerifyState(volume);
  const syncing = sync !== undefined && isSyncState(volume);
  // Out-of-sync KiB of the whole volume: what drbdsetup shows also when no resync runs.
  const inSync = volume.size > 0 ? 100 * (1 - (counters.oos * 1024) / volume.size) : 0;
  return {
    volume: volume.volume,
    "replication-state": replicationShown(volume.replication),
    "peer-disk-state": volume.peerDisk,
    "peer-client": volume.peerDisk === "Diskless",
    "resync-suspended": resyncSuspended(volume),
    received: counters.nr,
    sent: counters.ns,
    "out-of-sync": counters.oos,
    pending: counters.pe,
    unacked: counters.ua,
    "has-sync-details": syncing,
    "has-online-verify-details": verifying && sync !== undefined,
    "percent-in-sync": Number(inSync.toFixed(2)),
    ...(syncing ? syncJson(sync) : {}),
  };
}

const mebibytes = (kib: number): number => Number((kib / 1024).toFixed(2));

/** Only what the engine knows; drbdsetup's raw step counters are left out rather than invented. */
function syncJson(sync: SyncProgress): Record<string, unknown> {
  return {
    "rs-total": sync.total * 2,
    "rs-dt-start-ms": Math.round(sync.elapsedSeconds * 1000),
    "rs-failed": sync.failed * 2,
    ...(sync.want === undefined ? {} : { want: sync.want }),
    "db0/dt0 [MiB/s]": mebibytes(sync.rate),
    ...(sync.secondsLeft === undefined ? {} : { "estimated-seconds-to-finish": Math.round(sync.secondsLeft) }),
    "db/dt [MiB/s]": mebibytes(sync.averageRate),
    "percent-resync-done": Number((doneShare(sync) * 100).toFixed(2)),
  };
}
