/** Writes the messages of the transmission phase (proto.md "Transmission"). Payload itself goes by `Stream.sendMemory`. */
import type { BlockDevice } from "../block-device.ts";
import type { Stream } from "../ports.ts";
import {
  ALLOCATION_CONTEXT_ID,
  allocationFlags,
  blockStatusChunk,
  blockStatusExtent,
  commandFlags,
  errorChunk,
  MAX_EXTENTS,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  offsetData,
  replyFlags,
  replyTypes,
  simpleReply,
  structuredChunk,
} from "./protocol.ts";
import { putText, putU64 } from "./put.ts";
import { cell, NONE, type RequestTable, type Slot } from "./request-table.ts";
import type { VerdictRow } from "./verdict.ts";

const HOLE = allocationFlags.NBD_STATE_HOLE | allocationFlags.NBD_STATE_ZERO;
const ZEROES_AT_ONCE = 8192;
/** Questions to the device per BLOCK_STATUS: bounds the time of one turn; the client asks again from where the reply ends. */
const MAX_RUNS = 4096;

export function sendSimpleReply(stream: Stream, requests: RequestTable, slot: Slot, error: number): void {
  const at = stream.reserve(simpleReply.size);
  const out = stream.out;
  out.setUint32(at + simpleReply.at.magic, NBD_SIMPLE_REPLY_MAGIC);
  out.setUint32(at + simpleReply.at.error, error);
  out.setUint32(at + simpleReply.at.cookieHigh, cell(requests.cookieHigh, slot));
  out.setUint32(at + simpleReply.at.cookieLow, cell(requests.cookieLow, slot));
}

/** Reserves the chunk's header and `inline` bytes after it; returns where those bytes are to be written. */
function startChunk(
  stream: Stream,
  requests: RequestTable,
  slot: Slot,
  type: number,
  isDone: boolean,
  length: number,
  inline: number,
): number {
  const at = stream.reserve(structuredChunk.size + inline);
  const out = stream.out;
  out.setUint32(at + structuredChunk.at.magic, NBD_STRUCTURED_REPLY_MAGIC);
  out.setUint16(at + structuredChunk.at.flags, isDone ? replyFlags.NBD_REPLY_FLAG_DONE : 0);
  out.setUint16(at + structuredChunk.at.type, type);
  out.setUint32(at + structuredChunk.at.cookieHigh, cell(requests.cookieHigh, slot));
  out.setUint32(at + structuredChunk.at.cookieLow, cell(requests.cookieLow, slot));
  out.setUint32(at + structuredChunk.at.length, length);
  return at + structuredChunk.size;
}

export function sendNone(stream: Stream, requests: RequestTable, slot: Slot): void {
  startChunk(stream, requests, slot, replyTypes.NBD_REPLY_TYPE_NONE, true, 0, 0);
}

/** Announces `length` bytes of the export from `offset`; the caller sends them next. */
export function sendDataHeader(
  stream: Stream,
  requests: RequestTable,
  slot: Slot,
  offset: number,
  length: number,
  isDone: boolean,
): void {
  const type = replyTypes.NBD_REPLY_TYPE_OFFSET_DATA;
  const at = startChunk(stream, requests, slot, type, isDone, offsetData.size + length, offsetData.size);
  putU64(stream.out, at, offset);
}

/** Ends a reply with an error: ERROR_OFFSET where the failure has a place in the export, ERROR where it has none. */
export function sendError(
  stream: Stream,
  requests: RequestTable,
  slot: Slot,
  { error, bytes }: VerdictRow,
  failedAt: number,
): void {
  const hasOffset = failedAt !== NONE;
  const type = hasOffset ? replyTypes.NBD_REPLY_TYPE_ERROR_OFFSET : replyTypes.NBD_REPLY_TYPE_ERROR;
  const length = errorChunk.size + bytes.length + (hasOffset ? offsetData.size : 0);
  const at = startChunk(stream, requests, slot, type, true, length, length);
  const out = stream.out;
  out.setUint32(at + errorChunk.at.error, error);
  out.setUint16(at + errorChunk.at.textLength, bytes.length);
  putText(out, at + errorChunk.size, bytes);
  if (hasOffset) putU64(out, at + errorChunk.size + bytes.length, failedAt);
}

/** Zeroes in place of payload that was announced and then could not be read ("MUST use padding bytes"). */
export function sendPadding(stream: Stream, length: number): void {
  for (let left = length; left > 0; ) {
    const size = Math.min(left, ZEROES_AT_ONCE);
    const at = stream.reserve(size);
    const out = stream.out;
    for (let i = 0; i < size; i++) out.setUint8(at + i, 0);
    left -= size;
  }
}

/**
 * Two passes over `device.allocation`, because the header comes first and the reply takes exactly the room it needs. Returns the
 * number of extents: neighbours of one kind are merged, and a reply never claims more than was asked for.
 */
export function sendBlockStatus(stream: Stream, requests: RequestTable, slot: Slot, device: BlockDevice): number {
  const offset = cell(requests.offset, slot);
  const length = cell(requests.length, slot);
  const isOne = (cell(requests.flags, slot) & commandFlags.NBD_CMD_FLAG_REQ_ONE) !== 0;
  const limit = isOne ? 1 : MAX_EXTENTS;
  const count = walkExtents(device, offset, length, limit, undefined, 0);
  const payload = blockStatusChunk.size + count * blockStatusExtent.size;
  const at = startChunk(stream, requests, slot, replyTypes.NBD_REPLY_TYPE_BLOCK_STATUS, true, payload, payload);
  stream.out.setUint32(at + blockStatusChunk.at.context, ALLOCATION_CONTEXT_ID);
  walkExtents(device, offset, length, count, stream.out, at + blockStatusChunk.size);
  return count;
}

/** Writes at most `limit` extents to `out` (none if undefined); returns how many there are. */
function walkExtents(
  device: BlockDevice,
  offset: number,
  length: number,
  limit: number,
  out: DataView | undefined,
  at: number,
): number {
  let done = 0;
  let count = 0;
  let extentLength = 0;
  let extentFlags = NONE;
  for (let runs = 0; runs < MAX_RUNS && done < length; runs++) {
    const run = device.allocation(offset + done, length - done);
    const flags = run < 0 ? HOLE : 0;
    // A device that answers nothing, or more than asked, is taken to mean the whole rest.
    const size = run === 0 ? length - done : Math.min(Math.abs(run), length - done);
    if (flags !== extentFlags) {
      if (count === limit) break;
      count += 1;
      extentLength = 0;
      extentFlags = flags;
    }
    extentLength += size;
    done += size;
    if (out === undefined) continue;
    const extentAt = at + (count - 1) * blockStatusExtent.size;
    out.setUint32(extentAt + blockStatusExtent.at.length, extentLength);
    out.setUint32(extentAt + blockStatusExtent.at.flags, extentFlags);
  }
  return count;
}
