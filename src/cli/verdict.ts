/** Whether the data of a resource is protected, in one line, and what to do if not. Pure: from the status alone. */
import { connectionNames, type ResourceStatus, type VolumeStatus } from "../core/status.ts";

export type VerdictLevel = "protected" | "in progress" | "NOT protected";

export interface Verdict {
  readonly level: VerdictLevel;
  readonly text: string;
}

const rank = (name: ResourceStatus["connection"]): number => connectionNames.indexOf(name);
const isConnected = (status: ResourceStatus): boolean => rank(status.connection) >= rank("Connected");

/** The first rule that applies decides, so the order is from the most urgent to the least. */
export function verdictOf(status: ResourceStatus): Verdict {
  const { name, volumes } = status;
  if (volumes.length === 0) return { level: "NOT protected", text: "no volume is configured" };
  return (
    stopped(status) ??
    diskTrouble(status) ??
    connectionTrouble(status) ??
    neverSynced(status) ??
    syncing(status) ?? {
      level: volumes.every(bothUpToDate) ? "protected" : "NOT protected",
      text: volumes.every(bothUpToDate)
        ? protectedText(status)
        : `not every disk is UpToDate; see 'futago journal ${name}'`,
    }
  );
}

const bothUpToDate = (volume: VolumeStatus): boolean => volume.disk === "UpToDate" && volume.peerDisk === "UpToDate";

const protectedText = (status: ResourceStatus): string =>
  status.protocol === "A" || status.protocol === "B"
    ? `both nodes hold the data (protocol ${status.protocol}: the last writes may still be on their way)`
    : "both nodes hold the same data";

function stopped(status: ResourceStatus): Verdict | undefined {
  return status.suspended
    ? { level: "NOT protected", text: "I/O is suspended until the peer returns or is fenced" }
    : undefined;
}

function diskTrouble({ name, volumes, ...status }: ResourceStatus): Verdict | undefined {
  const own = volumes.find((volume) => volume.disk === "Diskless" || volume.disk === "Failed");
  if (own !== undefined) {
    const peer = own.peerDisk === "UpToDate" ? "the peer's disk serves alone" : "no disk holds the data";
    return { level: "NOT protected", text: `no local disk, ${peer}; repair it and 'futago attach ${name}'` };
  }
  const connected = rank(status.connection) >= rank("Connected");
  return connected && volumes.some((volume) => volume.peerDisk === "Diskless" || volume.peerDisk === "Failed")
    ? { level: "NOT protected", text: `the peer has no disk; repair it and 'futago attach ${name}' there` }
    : undefined;
}

function connectionTrouble(status: ResourceStatus): Verdict | undefined {
  if (isConnected(status)) return undefined;
  const why = status.reason === "" ? "" : ` (${status.reason})`;
  if (status.connection === "StandAlone" || status.connection === "Disconnecting") {
    return { level: "NOT protected", text: `not connected${why}; ${standAloneAdvice(status)}` };
  }
  const pending =
    status.role === "Primary" ? "changes are recorded and sent when it returns" : "no changes are received";
  const peer = status.remote === "" ? "the peer" : `the peer ${status.remote}`;
  return { level: "NOT protected", text: `waiting for ${peer}${why}; ${pending}; there: 'futago up ${status.name}'` };
}

function standAloneAdvice({ name, reason }: ResourceStatus): string {
  return /split.?brain/i.test(reason)
    ? `decide which node's changes are given up; there 'futago connect --discard-my-data ${name}', on the other 'futago connect ${name}'`
    : `'futago connect ${name}'`;
}

function neverSynced({ name, volumes }: ResourceStatus): Verdict | undefined {
  return volumes.some((volume) => volume.disk === "Inconsistent" && volume.peerDisk === "Inconsistent")
    ? {
        level: "NOT protected",
        text: `neither disk has valid data yet; on the node whose data is to be kept: 'futago primary --force ${name}'`,
      }
    : undefined;
}

const isSyncing = (volume: VolumeStatus): boolean =>
  rank(volume.replication) > rank("Connected") && volume.replication !== "VerifyS" && volume.replication !== "VerifyT";

function syncing({ name, volumes }: ResourceStatus): Verdict | undefined {
  const busy = volumes.filter(isSyncing);
  if (busy.length === 0) return undefined;
  if (busy.some((volume) => volume.replication.startsWith("PausedSync"))) {
    const byUser = busy.some((volume) => volume.pausedByUser);
    const wait = byUser
      ? `'futago resume-sync ${name}'`
      : "it goes on when the peer or the resource it waits for is ready";
    return { level: "NOT protected", text: `the resynchronisation is paused; ${wait}` };
  }
  if (busy.some((volume) => volume.replication === "Ahead" || volume.replication === "Behind")) {
    return { level: "NOT protected", text: "the link is congested: the peer is behind and catches up later" };
  }
  return { level: "in progress", text: "the nodes are being synchronised; protected when it is done" };
}
