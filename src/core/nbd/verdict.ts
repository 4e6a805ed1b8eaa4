/**
 * Judging a request before anything is done about it, and naming what went wrong afterwards. A verdict is a row number of
 * `verdicts`, so that it fits in a typed array and costs nothing per request. Source: proto.md "Error values", "Size
 * constraints", "Request types".
 */
import { EINVAL, EIO, ENOMEM, ENOSPC, EOPNOTSUPP, EOVERFLOW, EPERM, ESHUTDOWN } from "../block-device.ts";
import type { Terms } from "./exports.ts";
import { commandFlags, commandOf, commands, MAX_PAYLOAD_BYTES } from "./protocol.ts";
import { encodeText } from "./text.ts";

const rows = {
  OK: { error: 0, text: "" },
  SHUTTING_DOWN: { error: ESHUTDOWN, text: "the export is being shut down" },
  UNKNOWN_COMMAND: { error: EINVAL, text: "unknown command" },
  UNKNOWN_FLAG: { error: EINVAL, text: "flag not valid for this command" },
  READ_ONLY: { error: EPERM, text: "the export is read-only" },
  NOT_ZERO: { error: EINVAL, text: "offset and length must be zero" },
  BEYOND_END: { error: EINVAL, text: "beyond the end of the export" },
  UNALIGNED: { error: EINVAL, text: "offset or length is not a multiple of the minimum block size" },
  TOO_LONG: { error: EINVAL, text: "longer than the maximum payload size" },
  TOO_LONG_TO_READ: { error: EOVERFLOW, text: "longer than the maximum payload size" },
  NO_CONTEXT: { error: EINVAL, text: "no metadata context was selected for this export" },
  EMPTY_RANGE: { error: EINVAL, text: "length must not be zero" },
  DEVICE_EPERM: { error: EPERM, text: "refused by the volume: not Primary" },
  DEVICE_EIO: { error: EIO, text: "input/output error" },
  DEVICE_ENOMEM: { error: ENOMEM, text: "out of memory" },
  DEVICE_EINVAL: { error: EINVAL, text: "refused by the volume" },
  DEVICE_ENOSPC: { error: ENOSPC, text: "no space left on the backing device" },
  DEVICE_EOVERFLOW: { error: EOVERFLOW, text: "value too large" },
  DEVICE_ENOTSUP: { error: EOPNOTSUPP, text: "not faster than writing zeroes" },
  DEVICE_ESHUTDOWN: { error: ESHUTDOWN, text: "the volume is being shut down" },
} as const;

export type VerdictName = keyof typeof rows;
export type Verdict = number;

export interface VerdictRow {
  readonly name: VerdictName;
  /** The NBD error value, 0 for success. */
  readonly error: number;
  readonly text: string;
  /** `text` as it goes into an error chunk. */
  readonly bytes: Uint8Array;
}

const names = Object.keys(rows) as VerdictName[];
const verdicts: readonly VerdictRow[] = names.map((name) => ({
  name,
  ...rows[name],
  bytes: encodeText(rows[name].text),
}));
const verdictNumber = Object.fromEntries(names.map((name, number) => [name, number])) as Record<VerdictName, Verdict>;

export const OK: Verdict = verdictNumber.OK;
export const SHUTTING_DOWN: Verdict = verdictNumber.SHUTTING_DOWN;

export function verdictRow(verdict: Verdict): VerdictRow {
  const row = verdicts[verdict];
  if (row === undefined) throw new RangeError(`no verdict ${verdict}`);
  return row;
}

/** errno values a device may report beyond NBD's own, and the row each becomes ("Error values"). */
const EACCES = 13;
const EFBIG = 27;
const EROFS = 30;
const EDQUOT = 122;
const byErrno: ReadonlyMap<number, Verdict> = new Map([
  [EPERM, verdictNumber.DEVICE_EPERM],
  [EACCES, verdictNumber.DEVICE_EPERM],
  [EROFS, verdictNumber.DEVICE_EPERM],
  [EIO, verdictNumber.DEVICE_EIO],
  [ENOMEM, verdictNumber.DEVICE_ENOMEM],
  [EINVAL, verdictNumber.DEVICE_EINVAL],
  [ENOSPC, verdictNumber.DEVICE_ENOSPC],
  [EDQUOT, verdictNumber.DEVICE_ENOSPC],
  [EFBIG, verdictNumber.DEVICE_ENOSPC],
  [EOVERFLOW, verdictNumber.DEVICE_EOVERFLOW],
  [ESHUTDOWN, verdictNumber.DEVICE_ESHUTDOWN],
]);

/** An errno without a row is EIO. ENOTSUP may only answer FAST_ZERO; elsewhere EOPNOTSUPP becomes EINVAL. */
export function verdictOfErrno(errno: number, flags: number): Verdict {
  if (errno === 0) return OK;
  if (errno === EOPNOTSUPP) {
    const fast = (flags & commandFlags.NBD_CMD_FLAG_FAST_ZERO) !== 0;
    return fast ? verdictNumber.DEVICE_ENOTSUP : verdictNumber.DEVICE_EINVAL;
  }
  return byErrno.get(errno) ?? verdictNumber.DEVICE_EIO;
}

/** `offset` above 2^53 may have been rounded: it is beyond the end of every export all the same. */
export function judge(terms: Terms, type: number, flags: number, offset: number, length: number): Verdict {
  const command = commandOf(type);
  if (terms.shuttingDown) return SHUTTING_DOWN;
  if (command === undefined) return verdictNumber.UNKNOWN_COMMAND;
  if ((flags & ~command.flags) !== 0) return verdictNumber.UNKNOWN_FLAG;
  const isUnfragmented = (flags & commandFlags.NBD_CMD_FLAG_DF) !== 0;
  if (isUnfragmented && !terms.structuredReplies) return verdictNumber.UNKNOWN_FLAG;
  if (command.writes && (terms.readOnly || terms.device.readOnly)) return verdictNumber.READ_ONLY;
  if (!command.ranged) return offset === 0 && length === 0 ? OK : verdictNumber.NOT_ZERO;
  if (offset + length > terms.device.size) return verdictNumber.BEYOND_END;
  const block = terms.device.minimumBlock;
  if (offset % block !== 0 || length % block !== 0) return verdictNumber.UNALIGNED;
  if (command.payload !== "none" && length > MAX_PAYLOAD_BYTES) {
    // proto.md allows EOVERFLOW only where a structured reply could have been asked for in smaller parts.
    const isStructuredRead = command.payload === "reply" && terms.structuredReplies;
    return isStructuredRead ? verdictNumber.TOO_LONG_TO_READ : verdictNumber.TOO_LONG;
  }
  if (type !== commands.NBD_CMD_BLOCK_STATUS.code) return OK;
  if (!terms.allocationContext) return verdictNumber.NO_CONTEXT;
  return length === 0 ? verdictNumber.EMPTY_RANGE : OK;
}
