/**
 * The status text of /etc/init.d/drbd and of drbd-overview: one line for each configured minor (drbd-84 §10.8). Pure.
 */
import type { ResourceStatus, VolumeStatus } from "../core/status.ts";
import type { Mount } from "./mounts.ts";
import { ioFlags, type Minor, minorsOf, protocolLetter } from "./proc-text.ts";
import { isUnderWay, progressLines } from "./progress-text.ts";
import { isUnconfigured } from "./status-text.ts";

/** The mount of a minor's device, undefined if it is not mounted. */
export type MountOf = (minor: number) => Mount | undefined;

/** As `column -t`: cells two blanks apart, short rows filled up, the last column not padded. */
export function columns(rows: readonly (readonly string[])[]): string {
  const count = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: count - 1 }, (_, n) => Math.max(...rows.map((row) => row[n]?.length ?? 0)));
  const lines = rows.map((row) => [...widths.map((width, n) => (row[n] ?? "").padEnd(width)), row[count - 1] ?? ""]);
  return lines.map((cells) => `${cells.join("  ")}\n`).join("");
}

const configured = (statuses: readonly ResourceStatus[]): readonly Minor[] =>
  minorsOf(statuses).filter(({ status, volume }) => !isUnconfigured(status, volume));

/** The bar is left out: `sync'ed: 10.5% (102400/114688)K`. */
function progressWords(volume: VolumeStatus): readonly string[] {
  if (!isUnderWay(volume) || volume.sync === undefined) return [];
  const [first] = progressLines(volume, volume.sync);
  return first.slice(first.indexOf("]") + 2).split(/ +/);
}

/** Head line, /proc/drbd's two lines, the table. */
export function initdText(head: string, statuses: readonly ResourceStatus[], mountOf: MountOf): string {
  const rows: string[][] = [["m:res", "cs", "ro", "ds", "p", "mounted", "fstype"]];
  for (const { status, volume } of configured(statuses)) {
    const letter = protocolLetter(status);
    const mount = mountOf(volume.minor);
    rows.push([
      `${volume.minor}:${status.name}`,
      volume.replication,
      `${status.role}/${status.peerRole}`,
      `${volume.disk}/${volume.peerDisk}`,
      letter === " " ? "-" : letter,
      ...(mount === undefined ? [] : [mount.point, mount.type]),
    ]);
    const progress = progressWords(volume);
    if (progress.length > 0) rows.push(["...", ...progress]);
  }
  return `drbd driver loaded OK; device status:\n${head}${columns(rows)}`;
}

/** ` 0:r0/0  Connected Primary/Secondary UpToDate/UpToDate C r----- /mnt ext4 9.8G 151M 9.1G 2%`, then the progress. */
export function overviewText(statuses: readonly ResourceStatus[], mountOf: MountOf): string {
  const minors = configured(statuses);
  const name = ({ status, volume }: Minor): string => `${status.name}/${volume.volume}`;
  const width = Math.max(0, ...minors.map((minor) => name(minor).length));
  return minors
    .map((minor) => {
      const { status, volume } = minor;
      const mount = mountOf(volume.minor);
      const where =
        mount === undefined
          ? ""
          : ` ${[mount.point, mount.type, mount.size, mount.used, mount.available, mount.percent].join(" ")}`;
      const states = `${volume.replication} ${status.role}/${status.peerRole} ${volume.disk}/${volume.peerDisk}`;
      const head = `${String(volume.minor).padStart(3)}:${name(minor).padEnd(width)}  ${states} ${protocolLetter(status)} ${ioFlags(minor)}${where}\n`;
      if (!isUnderWay(volume) || volume.sync === undefined) return head;
      return `${head}\t${progressLines(volume, volume.sync)[0]}\n`;
    })
    .join("");
}
