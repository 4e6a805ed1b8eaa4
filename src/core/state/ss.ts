/** DRBD's verdicts on a state change (drbd-84 §4.5): one row is the name, the number and the text of the tools. */
const rows = [
  ["SS_CW_NO_NEED", 4, "Cluster wide state change: nothing to do!"],
  ["SS_CW_SUCCESS", 3, "Cluster wide state change was successful"],
  ["SS_NOTHING_TO_DO", 2, "Nothing to do"],
  ["SS_SUCCESS", 1, "Success"],
  ["SS_UNKNOWN_ERROR", 0, "Unknown error"],
  ["SS_TWO_PRIMARIES", -1, "Multiple primaries not allowed by config"],
  ["SS_NO_UP_TO_DATE_DISK", -2, "Need access to UpToDate data"],
  ["SS_NO_LOCAL_DISK", -4, "Can not resync without local disk"],
  ["SS_NO_REMOTE_DISK", -5, "Can not resync without remote disk"],
  ["SS_CONNECTED_OUTDATES", -6, "Refusing to be Outdated while Connected"],
  ["SS_PRIMARY_NOP", -7, "Refusing to be Primary while peer is not outdated"],
  ["SS_RESYNC_RUNNING", -8, "Can not start OV/resync since it is already active"],
  ["SS_ALREADY_STANDALONE", -9, "Can not disconnect a StandAlone device"],
  ["SS_CW_FAILED_BY_PEER", -10, "State change was refused by peer node"],
  ["SS_IS_DISKLESS", -11, "Device is diskless, the requested operation requires a disk"],
  ["SS_DEVICE_IN_USE", -12, "Device is held open by someone"],
  ["SS_NO_NET_CONFIG", -13, "Have no net/connection configuration"],
  ["SS_NO_VERIFY_ALG", -14, "Need a verify algorithm to start online verify"],
  ["SS_NEED_CONNECTION", -15, "Need a connection to start verify or resync"],
  ["SS_LOWER_THAN_OUTDATED", -16, "Disk state is lower than outdated"],
  ["SS_NOT_SUPPORTED", -17, "Peer does not support protocol"],
  ["SS_IN_TRANSIENT_STATE", -18, "In transient state, retry after next state change"],
  ["SS_CONCURRENT_ST_CHG", -19, "Concurrent state changes detected and aborted"],
  ["SS_O_VOL_PEER_PRI", -20, "Other vol primary on peer not allowed by config"],
  ["SS_OUTDATE_WO_CONN", -21, "Need a connection for a graceful disconnect/outdate peer"],
] as const;

type Row = (typeof rows)[number];
/** A verdict's number: 1 and above is success, 0 means keep waiting, below is a refusal. */
export type SsCode = Row[1];
/** The verdicts that refuse. */
export type Refusal = Exclude<SsCode, 0 | 1 | 2 | 3 | 4>;

/** Numbers by DRBD's names. */
export const ss = Object.fromEntries(rows.map(([name, code]) => [name, code])) as {
  readonly [Each in Row as Each[0]]: Each[1];
};

const texts = new Map<number, string>(rows.map(([, code, text]) => [code, text]));

/** The text of a verdict; a number that no table knows (from a peer) is shown as such. */
export const ssText = (code: number): string => texts.get(code) ?? `Unknown state change verdict ${code}`;

/** As the tools print a refusal: `State change failed: (-2) Need access to UpToDate data`. */
export const refusalText = (code: number): string => `State change failed: (${code}) ${ssText(code)}`;

export const isRefusal = (code: number): boolean => code < ss.SS_SUCCESS;

export const ssTable: readonly (readonly [name: string, code: SsCode, text: string])[] = rows;
