/** `futago status` for people: drbdadm's text (drbd-84 §10.8), progress, and a last line that says how things stand. */
import { type ConnectionName, connectionNames, type ResourceStatus, type VolumeStatus } from "../core/status.ts";
import { doneShare, isSyncState, isVerifyState, progressLines } from "./progress-text.ts";
import { verdictOf } from "./verdict.ts";

const rank = (name: ConnectionName): number => connectionNames.indexOf(name);

/** The tools of DRBD 9 read 8.4's states this way: a connection is up as soon as parameters are exchanged. */
export function connectionShown(connection: ConnectionName): string {
  if (connection === "WFConnection") return "Connecting";
  return rank(connection) >= rank("WFReportParams") ? "Connected" : connection;
}

export function replicationShown(replication: ConnectionName): string {
  if (replication === "Connected") return "Established";
  return rank(replication) <= rank("WFReportParams") ? "Off" : replication;
}

/** `user,peer,dependency` of those that pause the resync, or `no`. */
export function resyncSuspended(volume: VolumeStatus): string {
  const by = [
    volume.pausedByUser ? "user" : "",
    volume.pausedByPeer ? "peer" : "",
    volume.pausedByDependency ? "dependency" : "",
  ].filter((word) => word !== "");
  return by.length === 0 ? "no" : by.join(",");
}

/** One resource, ending with an empty line. */
export function statusText(status: ResourceStatus, verbose: boolean): string {
  const several = status.volumes.length > 1;
  const lines = [`${status.name} role:${status.role}${status.suspended ? " suspended:yes" : ""}`];
  if (verbose) lines.push(...verboseLines(status));
  for (const volume of status.volumes) {
    const number = several || verbose ? `volume:${volume.volume} ` : "";
    const minor = verbose ? `minor:${volume.minor} ` : "";
    lines.push(`  ${number}${minor}disk:${volume.disk}${volume.alSuspended ? " al-suspended:yes" : ""}`);
  }
  lines.push(...peerLines(status, several || verbose));
  const verdict = verdictOf(status);
  lines.push(`  # ${verdict.level}: ${verdict.text}`, "");
  return `${lines.join("\n")}\n`;
}

function peerLines(status: ResourceStatus, numbered: boolean): string[] {
  if (connectionShown(status.connection) !== "Connected") {
    return [`  peer connection:${connectionShown(status.connection)}`];
  }
  const lines = [`  peer role:${status.peerRole}`];
  for (const volume of status.volumes) {
    const replication =
      rank(volume.replication) > rank("WFReportParams") ? `replication:${replicationShown(volume.replication)} ` : "";
    const done =
      volume.sync !== undefined && isSyncState(volume) ? ` done:${(doneShare(volume.sync) * 100).toFixed(2)}` : "";
    const paused = resyncSuspended(volume);
    const suspended = paused === "no" ? "" : ` resync-suspended:${paused}`;
    const number = numbered ? `volume:${volume.volume} ` : "";
    lines.push(`    ${number}${replication}peer-disk:${volume.peerDisk}${done}${suspended}`);
    if (volume.sync !== undefined && (isSyncState(volume) || isVerifyState(volume))) {
      lines.push(...progressLines(volume, volume.sync).map((line) => `      # ${line}`));
    }
  }
  return lines;
}

function verboseLines(status: ResourceStatus): string[] {
  const protocol = status.protocol === "" ? "none" : status.protocol;
  const version = status.agreedVersion === 0 ? "" : `, version ${status.agreedVersion}`;
  return [
    `  # node ${status.node}, ${status.local} to ${status.remote}, protocol ${protocol}${version}`,
    `  # I/O ${status.io} through ${status.backend}, write ordering ${status.writeOrdering}`,
    ...status.volumes.map((volume) => {
      const { counters: c } = volume;
      return `  # volume ${volume.volume}: ${volume.backingDisk}, ns:${c.ns} nr:${c.nr} dw:${c.dw} dr:${c.dr} al:${c.al} bm:${c.bm} lo:${c.lo} pe:${c.pe} ua:${c.ua} ap:${c.ap} ep:${c.ep} oos:${c.oos}`;
    }),
  ];
}

/** `Unconfigured` if there is neither disk nor network, as drbdsetup prints role, cstate and dstate. */
export const isUnconfigured = (status: ResourceStatus, volume: VolumeStatus): boolean =>
  status.connection === "StandAlone" && volume.disk === "Diskless";

export const shortQueries = {
  role: (status: ResourceStatus) => `${status.role}/${status.peerRole}`,
  cstate: (_status: ResourceStatus, volume: VolumeStatus) => volume.replication,
  dstate: (_status: ResourceStatus, volume: VolumeStatus) => `${volume.disk}/${volume.peerDisk}`,
} as const;
export type ShortQuery = keyof typeof shortQueries;

/** One line for each volume asked for. */
export function shortText(query: ShortQuery, status: ResourceStatus, volume: number | undefined): string {
  return status.volumes
    .filter((one) => volume === undefined || one.volume === volume)
    .map((one) => `${isUnconfigured(status, one) ? "Unconfigured" : shortQueries[query](status, one)}\n`)
    .join("");
}
