/** Flag words and enumerated numbers inside packets, each as one table of DRBD's names. */

/** dp_flags of p_data (drbd-84 §2.4). Below apv 95 only RW_SYNC exists; the two ack bits exist from apv 100. */
export const dpFlags = {
  HARDBARRIER: 1,
  RW_SYNC: 2,
  MAY_SET_IN_SYNC: 4,
  UNPLUG: 8,
  FUA: 16,
  FLUSH: 32,
  DISCARD: 64,
  SEND_RECEIVE_ACK: 128,
  SEND_WRITE_ACK: 256,
  WSAME: 512,
  ZEROES: 1024,
} as const;

/** conn_flags of p_protocol (drbd-84 §2.4). DRY_RUN from apv 92. */
export const connFlags = { DISCARD_MY_DATA: 1, DRY_RUN: 2 } as const;

/** flags of p_uuids (drbd-84 §2.4). */
export const uuidFlags = { DISCARD_MY_DATA: 1, CRASHED_PRIMARY: 2, INCONSISTENT: 4, SKIP_INITIAL_SYNC: 8 } as const;

/** dds_flags of p_sizes (drbd-84 §2.4). */
export const ddsFlags = { FORCED: 1, NO_RESYNC: 2 } as const;

/** Wire protocol of p_protocol. */
export const wireProtocols = { A: 1, B: 2, C: 3 } as const;

/** After-split-brain policies of p_protocol (drbd-84 §5.6); 9 and 10 carry other names in rr-conflict. */
export const afterSb = {
  disconnect: 0,
  "discard-younger-primary": 1,
  "discard-older-primary": 2,
  "discard-zero-changes": 3,
  "discard-least-changes": 4,
  "discard-local": 5,
  "discard-remote": 6,
  consensus: 7,
  "discard-secondary": 8,
  "call-pri-lost-after-sb": 9,
  "violently-as0p": 10,
} as const;

/** block_id of resync traffic, as two equal halves (drbd-84 §0). */
export const ID_SYNCER_HALF = 0xffffffff;
export const ID_SYNCER = 0xffffffffffffffffn;
/** block_id of P_OV_RESULT; the high half is 0 (drbd-84 §2.4). */
export const ID_IN_SYNC = 4711;
export const ID_OUT_OF_SYNC = 4712;

/** Generation UUID of a volume that was just created (drbd-84 §0). */
export { UUID_JUST_CREATED } from "../state/uuids.ts";
/** The sync UUID is the Bitmap UUID plus this (drbd-84 §0). */
export const UUID_NEW_BM_OFFSET = 0x0001000000000000n;

type FlagTable = Readonly<Record<string, number>>;

/** `RW_SYNC|FUA`; bits without a name as one hex number; `0` for none. */
export function flagNames(table: FlagTable, value: number): string {
  const names: string[] = [];
  let rest = value;
  for (const [name, bit] of Object.entries(table)) {
    if (Math.floor(value / bit) % 2 === 0) continue;
    names.push(name);
    rest -= bit;
  }
  if (rest > 0) names.push(`0x${rest.toString(16)}`);
  return names.length === 0 ? "0" : names.join("|");
}

/** The name of `value` in an enumeration, or the number itself. */
export function nameOf(table: FlagTable, value: number): string {
  for (const [name, number] of Object.entries(table)) if (number === value) return name;
  return String(value);
}
