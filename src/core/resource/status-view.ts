/** What `status` shows of a resource (drbd-84 §10.8). */
import { Conn, connName, DiskState, diskName, isSuspended, isSyncState, roleName, type State } from "../state/state.ts";
import { uuidText } from "../state/uuids.ts";
import type { ConnectionName, DiskName, ResourceStatus, RoleName, SyncProgress, VolumeStatus } from "../status.ts";
import type { Volume } from "../volume/volume.ts";
import type { Resource } from "./resource.ts";

const KIB_PER_BIT = 4;

/** What only the shell knows. */
export interface ShellFacts {
  readonly backend: string;
}

export function statusOf(resource: Resource, shell: ShellFacts): ResourceStatus {
  const { settings, volumes, connection } = resource;
  const first = volumes[0]?.state;
  const { local, remote, protocol } = settings.net;
  return {
    name: settings.name,
    node: settings.node,
    role: resource.role,
    peerRole: roleName(Math.max(0, ...volumes.map((v) => v.state.peer))) as RoleName,
    connection: connectionOf(volumes),
    protocol,
    writeOrdering: volumes.some((v) => v.settings.diskFlushes) ? "f" : "d",
    suspended: first !== undefined && isSuspended(first),
    local: `${local.address}:${local.port}`,
    remote: `${remote.address}:${remote.port}`,
    agreedVersion: connection.apv,
    reason: resource.reason,
    backend: shell.backend,
    io: settings.io,
    volumes: volumes.map((volume) => volumeStatus(resource, volume)),
  };
}

/** Below Connected all volumes agree; above, the resource as a whole is Connected unless one is busy. */
function connectionOf(volumes: readonly Volume[]): ConnectionName {
  const lowest = Math.min(...volumes.map((v) => v.state.conn));
  if (lowest < Conn.Connected) return connName(lowest) as ConnectionName;
  const busy = volumes.find((v) => v.state.conn > Conn.Connected);
  return connName(busy?.state.conn ?? Conn.Connected) as ConnectionName;
}

function volumeStatus(resource: Resource, volume: Volume): VolumeStatus {
  const { state, settings, counters, uuids } = volume;
  const { current, bitmap, history1, history2 } = uuids;
  return {
    volume: volume.number,
    minor: settings.minor,
    size: volume.size,
    disk: diskName(state.disk) as DiskName,
    peerDisk: diskName(state.pdsk) as DiskName,
    replication: connName(state.conn) as ConnectionName,
    backingDisk: settings.backingDisk,
    uuids: [uuidText(current), uuidText(bitmap), uuidText(history1), uuidText(history2)],
    counters: {
      ns: Math.floor(counters.ns),
      nr: Math.floor(counters.nr),
      dw: Math.floor(counters.dw),
      dr: Math.floor(counters.dr),
      al: counters.al,
      bm: counters.bm,
      lo: volume.overlap.members,
      pe: resource.log.openWrites,
      ua: volume.peer.unacknowledged,
      ap: volume.app.open,
      ep: resource.log.unacknowledged + 1,
      oos: (volume.bitmap?.count ?? 0) * KIB_PER_BIT,
    },
    sync: isSyncState(state.conn) ? progressOf(resource, volume, state) : undefined,
    pausedByUser: state.userIsp === 1,
    pausedByPeer: state.peerIsp === 1,
    pausedByDependency: state.aftrIsp === 1,
    alSuspended: false,
    openCount: volume.openCount,
  };
}

function progressOf(resource: Resource, volume: Volume, state: State): SyncProgress {
  const left = volume.bitmap?.count ?? 0;
  const elapsed = Math.max(0, (resource.now - volume.resyncStarted) / 1000);
  const done = Math.max(0, volume.resyncTotal - left);
  const rate = elapsed > 0 ? Math.round((done * KIB_PER_BIT) / elapsed) : 0;
  const isTarget = state.conn === Conn.SyncTarget || state.conn === Conn.PausedSyncT;
  return {
    total: volume.resyncTotal * KIB_PER_BIT,
    left: left * KIB_PER_BIT,
    failed: (isTarget ? volume.target.failedBits : volume.sourceFailedBits) * KIB_PER_BIT,
    rate,
    averageRate: rate,
    want: isTarget ? volume.target.controller.want : undefined,
    secondsLeft: rate > 0 ? Math.ceil((left * KIB_PER_BIT) / rate) : undefined,
    elapsedSeconds: Math.floor(elapsed),
  };
}

/** Whether a volume's data is UpToDate on both nodes and connected. */
export const isProtected = (volume: Volume): boolean =>
  volume.state.conn >= Conn.Connected &&
  volume.state.disk === DiskState.UpToDate &&
  volume.state.pdsk === DiskState.UpToDate;
