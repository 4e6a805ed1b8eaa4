/** The text of /proc/drbd as the kernel module 8.4.11 prints it (drbd-84 §10.8). Pure: from statuses alone. */
import type { ResourceStatus, VolumeStatus } from "../core/status.ts";
import { isUnderWay, progressLines } from "./progress-text.ts";
import { isUnconfigured } from "./status-text.ts";

export interface Minor {
  readonly status: ResourceStatus;
  readonly volume: VolumeStatus;
}

/** Every volume of the running engines, by minor number. */
export function minorsOf(statuses: readonly ResourceStatus[]): readonly Minor[] {
  return statuses
    .flatMap((status) => status.volumes.map((volume) => ({ status, volume })))
    .sort((a, b) => a.volume.minor - b.volume.minor);
}

/** The replication protocol, blank where the kernel has no net configuration. */
export const protocolLetter = ({ connection, protocol }: ResourceStatus): string =>
  connection === "StandAlone" || protocol === "" ? " " : protocol;

/** `r-----`: I/O, the three reasons of a pause, congestion (which an engine does not know), activity log. */
export function ioFlags({ status, volume }: Minor): string {
  const flag = (set: boolean, letter: string): string => (set ? letter : "-");
  return [
    status.suspended ? "s" : "r",
    flag(volume.pausedByDependency, "a"),
    flag(volume.pausedByPeer, "p"),
    flag(volume.pausedByUser, "u"),
    "-",
    flag(volume.alSuspended, "s"),
  ].join("");
}

function minorLines(minor: Minor): readonly string[] {
  const { status, volume } = minor;
  const number = String(volume.minor).padStart(2);
  if (isUnconfigured(status, volume)) return [`${number}: cs:Unconfigured`];
  const { counters: c } = volume;
  const ro = `${status.role}/${status.peerRole}`;
  const ds = `${volume.disk}/${volume.peerDisk}`;
  return [
    `${number}: cs:${volume.replication} ro:${ro} ds:${ds} ${protocolLetter(status)} ${ioFlags(minor)}`,
    `    ns:${c.ns} nr:${c.nr} dw:${c.dw} dr:${c.dr} al:${c.al} bm:${c.bm} lo:${c.lo} pe:${c.pe} ua:${c.ua} ap:${c.ap} ep:${c.ep} wo:${status.writeOrdering} oos:${c.oos}`,
    ...(isUnderWay(volume) && volume.sync !== undefined
      ? progressLines(volume, volume.sync).map((line) => `\t${line}`)
      : []),
  ];
}

/** `head`: the first two lines, which name version and build. However many minors are missing, one empty line stands for them. */
export function procText(head: string, statuses: readonly ResourceStatus[]): string {
  const lines: string[] = [];
  let previous: number | undefined;
  for (const minor of minorsOf(statuses)) {
    const here = minor.volume.minor;
    if (previous !== undefined && here > previous + 1) lines.push("");
    lines.push(...minorLines(minor));
    previous = here;
  }
  return head + lines.map((line) => `${line}\n`).join("");
}
