/** Where the devices of volumes are mounted, for the tables of the init script and of drbd-overview. */
import { existsSync, readFileSync, realpathSync, statfsSync } from "node:fs";

export interface Mount {
  readonly point: string;
  readonly type: string;
  /** As `df -h` prints them. */
  readonly size: string;
  readonly used: string;
  readonly available: string;
  readonly percent: string;
}

/** /proc/mounts writes blanks and backslashes as three octal digits. */
const unescaped = (word: string): string =>
  word.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** The first mount of `device` in the text of /proc/mounts. `device` may be a symbolic link to what is mounted. */
export function mountOf(device: string, mounts = readFileSync("/proc/mounts", "utf8")): Mount | undefined {
  const names = [device, ...(existsSync(device) ? [realpathSync(device)] : [])];
  for (const line of mounts.split("\n")) {
    const [from = "", point = "", type = ""] = line.split(" ");
    if (names.includes(unescaped(from))) return { point: unescaped(point), type, ...usage(unescaped(point)) };
  }
  return undefined;
}

function usage(point: string): Pick<Mount, "size" | "used" | "available" | "percent"> {
  try {
    const { blocks, bfree, bavail, bsize } = statfsSync(point);
    const used = blocks - bfree;
    const percent = used + bavail > 0 ? Math.ceil((100 * used) / (used + bavail)) : 0;
    return {
      size: human(blocks * bsize),
      used: human(used * bsize),
      available: human(bavail * bsize),
      percent: `${percent}%`,
    };
  } catch {
    // Unmounted meanwhile, or it belongs to another mount namespace.
    return { size: "-", used: "-", available: "-", percent: "-" };
  }
}

/** `9.8G`, `151M`: rounded up, one decimal below ten, as df. */
export function human(bytes: number): string {
  const units = ["", "K", "M", "G", "T", "P"];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  if (unit === 0) return String(value);
  const tenths = Math.ceil(value * 10) / 10;
  return `${tenths < 10 ? tenths.toFixed(1) : Math.ceil(value)}${units[unit]}`;
}
