/** Shell assignments of `drbdsetup sh-status` and `drbdadm sh-status`, as drbd-utils 9.22 prints them for 8.4 (drbd-84 §10.8). Pure. */
import type { ResourceStatus, VolumeStatus } from "../core/status.ts";
import { kernelPermille } from "./progress-text.ts";
import { isUnconfigured } from "./status-text.ts";

const names = [
  ...["_cstate", "_role", "_peer", "_disk", "_pdsk"],
  ...["_flags_susp", "_flags_aftr_isp", "_flags_peer_isp", "_flags_user_isp", "_resynced_percent"],
];

/** What single quotes cannot be avoided for; names of resources hardly ever need it. */
export const shellWord = (text: string): string => text.replace(/[^A-Za-z0-9%+,./:=@_-]/g, (letter) => `\\${letter}`);

const head = (minor: number, resource: string, volume: number): string =>
  `_minor=${minor}\n_res_name=${shellWord(resource)}\n_volume=${volume}\n`;
const tail = "\n_sh_status_process\n\n\n";

function nothing(known: string): string {
  const assignments = names.map((name) => `${name}=${name === "_cstate" ? "Unconfigured" : ""}\n`);
  return `_known=${known}\n\n${assignments.join("")}${tail}`;
}

/** A minor that no engine has; `resource` empty if the configuration does not know it either. */
export const shStatusOfNothing = (minor: number, resource: string, volume: number): string =>
  head(minor, resource, volume) + nothing("NA # not available or not yet created");

export function shStatus(status: ResourceStatus, volume: VolumeStatus): string {
  const start = head(volume.minor, status.name, volume.volume);
  if (isUnconfigured(status, volume)) return start + nothing("Unconfigured");
  const flag = (set: boolean): string => (set ? "1" : "");
  const permille = volume.sync === undefined ? undefined : kernelPermille(volume.sync);
  const percent = permille === undefined ? "" : `${Math.floor(permille / 10)}.${permille % 10}`;
  return [
    `${start}_known=Configured\n`,
    `_cstate=${volume.replication}`,
    `_role=${status.role}`,
    `_peer=${status.peerRole}`,
    `_disk=${volume.disk}`,
    `_pdsk=${volume.peerDisk}\n`,
    `_flags_susp=${flag(status.suspended)}`,
    `_flags_aftr_isp=${flag(volume.pausedByDependency)}`,
    `_flags_peer_isp=${flag(volume.pausedByPeer)}`,
    `_flags_user_isp=${flag(volume.pausedByUser)}\n`,
    `_resynced_percent=${percent}\n${tail}`,
  ].join("\n");
}
