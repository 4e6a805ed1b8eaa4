/** How metadata is shown to people and scripts: `get-gi`, `show-gi`, `dstate`, and the argument of `set-gi` (drbd-84 §9.7). */
import { hasFlag, MDF, type Superblock } from "./superblock.ts";

/** The flags of a gi line, in its order. */
const giFlags = [
  MDF.CONSISTENT,
  MDF.WAS_UP_TO_DATE,
  MDF.PRIMARY_IND,
  MDF.CONNECTED_IND,
  MDF.FULL_SYNC,
  MDF.PEER_OUT_DATED,
  MDF.CRASHED_PRIMARY,
] as const;

/** 16 upper-case hex digits. */
export const uuidText = (uuid: bigint): string => uuid.toString(16).toUpperCase().padStart(16, "0");

/** `C:B:H1:H2:c:u:p:k:f:o:x`, without a newline. */
export function giLine(s: Superblock): string {
  const uuids = [s.current, s.bitmap, s.history1, s.history2].map(uuidText);
  return [...uuids, ...giFlags.map((flag) => (hasFlag(s, flag) ? "1" : "0"))].join(":");
}

/**
 * Size as drbdmeta rounds it: `KB` … with four digits at most, each step to the next unit rounded half up. `kib` is whole KiB.
 */
export function shortSize(kib: number): string {
  const units = ["K", "M", "G", "T", "P", "E"];
  let n = kib;
  let unit = 0;
  while (n >= 10000) {
    n = Math.floor((n + 512) / 1024);
    unit++;
  }
  return `${n} ${units[unit] ?? "?"}B`;
}

export type StoredDiskState = "Inconsistent" | "Outdated" | "Consistent" | "UpToDate";

/** `dstate`: UpToDate only where the peer is known to be outdated. */
export function storedDiskState(s: Pick<Superblock, "flags">): StoredDiskState {
  if (!hasFlag(s, MDF.CONSISTENT)) return "Inconsistent";
  if (!hasFlag(s, MDF.WAS_UP_TO_DATE)) return "Outdated";
  return hasFlag(s, MDF.PEER_OUT_DATED) ? "UpToDate" : "Consistent";
}

const above = `
       +--<  Current data generation UUID  >-
       |               +--<  Bitmap's base data generation UUID  >-
       |               |                 +--<  younger history UUID  >-
       |               |                 |         +-<  older history  >-
       V               V                 V         V
`;
/** Legend below the gi line: what each flag, left to right, is pointed at with. */
const below: readonly string[] = [
  "-<  Data consistency flag  >-",
  "-<  Data was/is currently up-to-date  >-",
  "-<  Node was/is currently primary  >-",
  "-<  Node was/is currently connected  >-",
  "-<  Node was in the progress of setting all bits in the bitmap  >-",
  "-<  The peer's disk was out-dated or inconsistent  >-",
  "-<  This node was a crashed primary, and has not seen its peer since   >-",
];
const FIRST_FLAG_COLUMN = 68;

function legend(): string {
  const carets = `${" ".repeat(FIRST_FLAG_COLUMN)}${below.map(() => "^").join(" ")}\n`;
  const lines = below.map((text, n) => {
    const corner = `${text}-+`.padStart(FIRST_FLAG_COLUMN + 2 * n + 1);
    return `${corner}${" |".repeat(below.length - 1 - n)}\n`;
  });
  return `${carets}${lines.join("")}`;
}

/** The whole output of `show-gi`. */
export function showGi(s: Superblock, clean: boolean): string {
  const disk = storedDiskState(s);
  const flags = [
    `flags:${hasFlag(s, MDF.CRASHED_PRIMARY) ? " crashed" : ""} ${hasFlag(s, MDF.PRIMARY_IND) ? "Primary" : "Secondary"}`,
    hasFlag(s, MDF.CONNECTED_IND) ? "Connected" : "StandAlone",
    disk === "Consistent" ? "UpToDate" : disk,
    ...(hasFlag(s, MDF.FULL_SYNC) ? ["need full sync"] : []),
    ...(hasFlag(s, MDF.PEER_OUT_DATED) ? ["peer Outdated"] : []),
  ].join(", ");
  const size =
    s.laSize === 0
      ? "zero size device -- never seen peer yet?\n"
      : `last agreed size: ${shortSize(Math.floor(s.laSize / 2))} (${s.laSize} sectors)\n` +
        `last agreed max bio size: ${s.laPeerMaxBioSize} Byte\n`;
  return `${above}${giLine(s)}\n${legend()}\n${flags}\nmeta-data: ${clean ? "clean" : "need apply-al"}\n${size}`;
}

export type GiChange =
  | { readonly ok: true; readonly superblock: Superblock }
  | { readonly ok: false; readonly reason: string };

const uuidNames = ["current", "bitmap", "history1", "history2"] as const;

/** `set-gi`: fields as in a gi line, separated by colons; empty and missing ones stay. UUIDs are hex, up to 16 digits; flags 0 or 1. */
export function changeGi(s: Superblock, text: string): GiChange {
  const fields = text.split(":");
  if (fields.length > uuidNames.length + giFlags.length)
    return { ok: false, reason: `'${text}' has more than ${uuidNames.length + giFlags.length} fields.` };
  const uuids: Partial<Record<(typeof uuidNames)[number], bigint>> = {};
  for (const [n, name] of uuidNames.entries()) {
    const field = fields[n] ?? "";
    if (field === "") continue;
    if (!/^(0x)?[0-9a-f]{1,16}$/i.test(field)) return { ok: false, reason: `'${field}' is not a number.` };
    uuids[name] = BigInt(`0x${field.replace(/^0x/i, "")}`);
  }
  let { flags } = s;
  for (const [n, flag] of giFlags.entries()) {
    const field = fields[uuidNames.length + n] ?? "";
    if (field === "") continue;
    if (field !== "0" && field !== "1") return { ok: false, reason: `'${field}' is not 0 or 1.` };
    flags = field === "1" ? flags | flag : flags & ~flag;
  }
  return { ok: true, superblock: { ...s, ...uuids, flags } };
}
