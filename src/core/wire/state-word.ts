/**
 * The state word of P_STATE and of the state change requests: a BE32 of packed fields, bit 0 least significant (drbd-84 §4.2).
 * One row per field; reading, writing and printing follow from the table.
 */
import { type ConnectionName, connectionNames, type DiskName, diskNames, type RoleName, roleNames } from "../status.ts";

/** Fields under DRBD's own names. `role` and `disk` are the sender's, `peer` and `pdsk` its view of the receiver. */
export interface StateWord {
  readonly role: RoleName;
  readonly peer: RoleName;
  readonly conn: ConnectionName;
  readonly disk: DiskName;
  readonly pdsk: DiskName;
  /** I/O suspended by the user. */
  readonly susp: boolean;
  /** Sync paused by resync-after. */
  readonly aftr_isp: boolean;
  readonly peer_isp: boolean;
  readonly user_isp: boolean;
  /** No data accessible. */
  readonly susp_nod: boolean;
  /** Fencing running. */
  readonly susp_fen: boolean;
}

export type StateField = keyof StateWord;

interface FieldRow {
  readonly shift: number;
  readonly width: number;
  /** Undefined for a flag. */
  readonly names?: readonly string[];
}

/** Bits of every field (drbd-84 §4.2); bits 23 … 31 are zero and ignored on receipt. */
export const stateFields = {
  role: { shift: 0, width: 2, names: roleNames },
  peer: { shift: 2, width: 2, names: roleNames },
  conn: { shift: 4, width: 5, names: connectionNames },
  disk: { shift: 9, width: 4, names: diskNames },
  pdsk: { shift: 13, width: 4, names: diskNames },
  susp: { shift: 17, width: 1 },
  aftr_isp: { shift: 18, width: 1 },
  peer_isp: { shift: 19, width: 1 },
  user_isp: { shift: 20, width: 1 },
  susp_nod: { shift: 21, width: 1 },
  susp_fen: { shift: 22, width: 1 },
} as const satisfies Record<StateField, FieldRow>;

const rows = Object.entries(stateFields) as readonly (readonly [StateField, FieldRow])[];

/** Every bit of one field set: the mask of a state change request that touches it. */
export function stateMask(field: StateField): number {
  const { shift, width } = stateFields[field];
  return (2 ** width - 1) * 2 ** shift;
}

/** The number that stands in one field. */
export function stateNumber(word: number, field: StateField): number {
  const { shift, width } = stateFields[field];
  return (word >>> shift) & (2 ** width - 1);
}

/** A change asked for by P_STATE_CHG_REQ or P_CONN_ST_CHG_REQ: only the fields under the mask. */
export type StateChange = { readonly [K in StateField]?: StateWord[K] };

function numberOf(row: FieldRow, value: string | boolean): number {
  return typeof value === "boolean" ? Number(value) : (row.names ?? []).indexOf(value);
}

/** The word of a whole state, unsigned. */
export function packState(state: StateWord): number {
  return packChange(state).val;
}

/** Mask and value of a change, both unsigned (p_req_state, drbd-84 §2.4). */
export function packChange(change: StateChange): { readonly mask: number; readonly val: number } {
  let mask = 0;
  let val = 0;
  for (const [field, row] of rows) {
    const value = change[field];
    if (value === undefined) continue;
    mask += stateMask(field);
    val += numberOf(row, value) * 2 ** row.shift;
  }
  return { mask, val };
}

/** The state in a word, or the violation: a number without a name in one of the enumerated fields. */
export function unpackState(word: number): StateWord | string {
  return unpack(word, rows) as StateWord | string;
}

/**
 * The change in a mask and value. A violation is a number without a name, or a field masked in part. Bits of `val` outside the
 * mask mean nothing.
 */
export function unpackChange(mask: number, val: number): StateChange | string {
  const touched: (readonly [StateField, FieldRow])[] = [];
  for (const row of rows) {
    const [field] = row;
    const bits = stateNumber(mask, field);
    if (bits === 0) continue;
    const whole = 2 ** row[1].width - 1;
    if (bits !== whole) return `state change: mask of field ${field} expected:${whole} received:${bits}`;
    touched.push(row);
  }
  return unpack(val, touched);
}

function unpack(word: number, fields: readonly (readonly [StateField, FieldRow])[]): StateChange | string {
  const state: Record<string, unknown> = {};
  for (const [field, row] of fields) {
    const number = stateNumber(word, field);
    const name = row.names?.[number];
    if (row.names !== undefined && name === undefined) {
      return `state word: field ${field} expected:0..${row.names.length - 1} received:${number}`;
    }
    state[field] = name ?? number === 1;
  }
  return state as StateChange;
}

/** `role=Primary peer=Secondary conn=Connected disk=UpToDate pdsk=UpToDate`, then the flags that are set. Any word can be shown. */
export function showState(word: number): string {
  return show(word, rows, false);
}

/** The same for the fields a change touches, cleared flags included: `role=Primary`. */
export function showChange(mask: number, val: number): string {
  return show(
    val,
    rows.filter(([field]) => stateNumber(mask, field) !== 0),
    true,
  );
}

function show(word: number, fields: readonly (readonly [StateField, FieldRow])[], clearedToo: boolean): string {
  const parts: string[] = [];
  for (const [field, row] of fields) {
    const number = stateNumber(word, field);
    if (row.names !== undefined) parts.push(`${field}=${row.names[number] ?? number}`);
    else if (number === 1 || clearedToo) parts.push(`${field}=${number}`);
  }
  return parts.join(" ");
}
