/** The DRBD that this program behaves as, for those who ask DRBD's programs and files for their version (drbd-84 §10.8). */
import { engineVersion } from "../engine/control-version.ts";

const kernel = { major: 8, minor: 4, patch: 11 } as const;
export const API_VERSION = 1;
export const PROTOCOL_VERSIONS = "86-101";

export const drbdVersion = `${kernel.major}.${kernel.minor}.${kernel.patch}`;
const hex = (n: number): string => n.toString(16).padStart(2, "0");
const versionCode = `0x${hex(kernel.major)}${hex(kernel.minor)}${hex(kernel.patch)}`;

/** What `drbdadm --version` prints; scripts evaluate it in a shell. */
export const versionAssignments = (): string =>
  [
    `DRBDADM_BUILDTAG=futago\\ ${engineVersion}`,
    `DRBDADM_API_VERSION=${API_VERSION}`,
    `DRBD_KERNEL_VERSION_CODE=${versionCode}`,
    `DRBD_KERNEL_VERSION=${drbdVersion}`,
    `DRBDADM_VERSION_CODE=${versionCode}`,
    `DRBDADM_VERSION=${drbdVersion}`,
    "",
  ].join("\n");

/** The first two lines of /proc/drbd. The kernel's second line names its build, so does this. */
export const procHead = (): string =>
  `version: ${drbdVersion} (api:${API_VERSION}/proto:${PROTOCOL_VERSIONS})\nsrcversion: futago-${engineVersion}\n`;
