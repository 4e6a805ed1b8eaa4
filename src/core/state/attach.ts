/** What a disk is worth when it is attached, from the flags of its metadata (drbd-84 §9.4). */
import type { Fencing } from "./context.ts";
import { Conn, DiskState, Role, type State } from "./state.ts";
import { sameGeneration, setPrimaryBit, type UuidSet, uuidText } from "./uuids.ts";

/** MDF_*: flags of the superblock (drbd-84 §9.4). */
export const MdFlag = {
  consistent: 0x001,
  primaryInd: 0x002,
  connectedInd: 0x004,
  fullSync: 0x008,
  wasUpToDate: 0x010,
  peerOutDated: 0x020,
  crashedPrimary: 0x040,
  alClean: 0x080,
  alDisabled: 0x100,
} as const;

export interface AttachInput {
  /** The superblock's flags, after `apply-al` has run. */
  readonly flags: number;
  /** The magic is the clean one. */
  readonly cleanMagic: boolean;
  readonly uuids: UuidSet;
  /** The volume before the attach. */
  readonly state: State;
  readonly fencing: Fencing;
  /** UUID of the data this node has been showing; 0 if none. */
  readonly exposedUuid: bigint;
  /** Size the device would have, and the last agreed size, in sectors. */
  readonly newSize: number;
  readonly lastSize: number;
}

export interface Attached {
  readonly kind: "attached";
  /** To be applied as a soft change out of Attaching. */
  readonly disk: number;
  readonly pdsk: number;
  /**
   * While Connected the disk is Negotiating and these are what it and the peer's disk become if the handshake agrees
   * (drbd-84 §9.4, 5); P_SIZES, P_UUIDS and P_STATE are sent.
   */
  readonly negotiating: { readonly disk: number; readonly pdsk: number } | undefined;
  readonly crashedPrimary: boolean;
  /** Set all bits and write the bitmap, instead of reading it. */
  readonly fullSync: boolean;
  /** Wait for the peer only `degr-wfc-timeout`. */
  readonly degraded: boolean;
  /** The set with bit 0 of Current as the own role wants it: written back. */
  readonly uuids: UuidSet;
  readonly log: readonly string[];
}
export interface AttachRefused {
  readonly kind: "refused";
  /** Configuration failure of the tools (drbd-84 §10.6). */
  readonly code: 150 | 165 | 170;
  readonly text: string;
}

interface RefusalRow {
  readonly rule: string;
  readonly code: AttachRefused["code"];
  readonly when: (i: AttachInput) => boolean;
  readonly text: (i: AttachInput) => string;
}

const has = (flags: number, flag: number): boolean => (flags & flag) !== 0;

export const attachRefusals: readonly RefusalRow[] = [
  {
    rule: "9.4/1",
    code: 165,
    when: (i) => !i.cleanMagic || !has(i.flags, MdFlag.alClean),
    text: () => "Unclean meta-data found. You need to 'drbdadm apply-al res'",
  },
  {
    // Only a Primary without peer's data has shown something that other data could contradict.
    rule: "9.4/7 other data",
    code: 150,
    when: (i) =>
      i.state.conn < Conn.Connected &&
      i.state.role === Role.Primary &&
      i.exposedUuid !== 0n &&
      !sameGeneration(i.exposedUuid, i.uuids.current),
    text: (i) => `Can only attach to data with current UUID=${uuidText(i.exposedUuid)}`,
  },
  {
    rule: "9.4/7 shrink",
    code: 170,
    when: (i) => has(i.flags, MdFlag.consistent) && i.newSize < i.lastSize,
    text: (i) => `refusing to truncate a consistent device (${i.newSize} < ${i.lastSize})`,
  },
];

/** The outcome of attaching, before the state change to Attaching has become one to `disk` (drbd-84 §9.4, 1 to 7). */
export function decideAttach(input: AttachInput): Attached | AttachRefused {
  const refusal = attachRefusals.find((row) => row.when(input));
  if (refusal !== undefined) return { kind: "refused", code: refusal.code, text: refusal.text(input) };
  const { flags, state } = input;
  const reattachedPrimary = state.role === Role.Primary && state.suspNod === 1;
  const crashedPrimary = has(flags, MdFlag.crashedPrimary) || (has(flags, MdFlag.primaryInd) && !reattachedPrimary);
  const fullSync = has(flags, MdFlag.fullSync) || (crashedPrimary && has(flags, MdFlag.alDisabled));
  const pdsk = has(flags, MdFlag.peerOutDated) ? DiskState.Outdated : state.pdsk;
  const disk = rememberedDisk(flags, pdsk, input.fencing);
  const negotiates = state.conn === Conn.Connected;
  return {
    kind: "attached",
    disk: negotiates ? DiskState.Negotiating : disk,
    pdsk: negotiates ? state.pdsk : pdsk,
    negotiating: negotiates ? { disk, pdsk } : undefined,
    crashedPrimary,
    fullSync,
    degraded: state.role !== Role.Primary && has(flags, MdFlag.primaryInd) && !has(flags, MdFlag.connectedInd),
    uuids: setPrimaryBit(input.uuids, state.role === Role.Primary),
    log: fullSync ? ["Assuming that all blocks are out of sync (aka FullSync)"] : [],
  };
}

/** §9.4/4. */
function rememberedDisk(flags: number, pdsk: number, fencing: Fencing): number {
  if (!has(flags, MdFlag.consistent)) return DiskState.Inconsistent;
  if (!has(flags, MdFlag.wasUpToDate)) return DiskState.Outdated;
  return pdsk === DiskState.Outdated || fencing === "dont-care" ? DiskState.UpToDate : DiskState.Consistent;
}

interface FlagRow {
  readonly flag: number;
  readonly when: (state: State, crashedPrimary: boolean) => boolean;
}

/** Flags that follow from the state (drbd-84 §9.4); the others keep their value, AL_CLEAN is dropped. */
export const flagRows: readonly FlagRow[] = [
  { flag: MdFlag.consistent, when: (s) => s.disk > DiskState.Inconsistent },
  {
    flag: MdFlag.primaryInd,
    when: (s) => s.role === Role.Primary || (s.pdsk < DiskState.Inconsistent && s.peer === Role.Primary),
  },
  { flag: MdFlag.connectedInd, when: (s) => s.conn > Conn.WFReportParams },
  { flag: MdFlag.wasUpToDate, when: (s) => s.disk > DiskState.Outdated },
  {
    flag: MdFlag.peerOutDated,
    when: (s) => s.pdsk === DiskState.Inconsistent || s.pdsk === DiskState.Outdated,
  },
  { flag: MdFlag.crashedPrimary, when: (_, crashedPrimary) => crashedPrimary },
];

/** The superblock's flags after a state change, given what they were. */
export function metadataFlags(flags: number, state: State, crashedPrimary: boolean): number {
  let next = flags & ~MdFlag.alClean;
  for (const row of flagRows) next = row.when(state, crashedPrimary) ? next | row.flag : next & ~row.flag;
  return next;
}
