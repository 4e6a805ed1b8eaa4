/**
 * Decides which messages make up the reply to a request, and in which order its payload goes (proto.md "NBD_CMD_READ",
 * "Structured reply chunk message"). `reply.ts` writes them.
 */
import type { BlockDevice, RequestId } from "../block-device.ts";
import type { Stream } from "../ports.ts";
import type { Terms } from "./exports.ts";
import { commandFlags, commands } from "./protocol.ts";
import { sendBlockStatus, sendDataHeader, sendError, sendNone, sendPadding, sendSimpleReply } from "./reply.ts";
import { cell, NONE, type PieceTable, type RequestTable, SENDING, type Slot, WAITING } from "./request-table.ts";
import { OK, verdictRow } from "./verdict.ts";

export class Replies {
  readonly #stream: Stream;
  readonly #device: BlockDevice;
  readonly #terms: Terms;
  readonly #requests: RequestTable;
  readonly #pieces: PieceTable;

  constructor(stream: Stream, terms: Terms, requests: RequestTable, pieces: PieceTable) {
    this.#stream = stream;
    this.#device = terms.device;
    this.#terms = terms;
    this.#requests = requests;
    this.#pieces = pieces;
  }

  /** A read whose payload is one run after one header: a simple reply, or DF. */
  isOrdered(slot: Slot): boolean {
    const isUnfragmented = (cell(this.#requests.flags, slot) & commandFlags.NBD_CMD_FLAG_DF) !== 0;
    return isUnfragmented || !this.#terms.structuredReplies;
  }

  /**
   * Sends a piece as a chunk of its own. The last chunk ends the reply, if nothing failed. `isCurrent`: pieces are still being
   * issued, which counts as one pending part; `piecesLeft` of them are to come.
   */
  sendChunk(id: RequestId, slot: Slot, isCurrent: boolean, piecesLeft: number): void {
    const requests = this.#requests;
    const others = cell(requests.pending, slot) - (isCurrent ? 2 : 1);
    const isLast = others === 0 && !(isCurrent && piecesLeft > 0) && cell(requests.verdict, slot) === OK;
    const offset = cell(this.#pieces.offset, id);
    sendDataHeader(this.#stream, requests, slot, offset, cell(this.#pieces.length, id), isLast);
    if (isLast) requests.finished[slot] = 1;
    this.#sendPayload(id, slot);
  }

  /**
   * Sends what is ready of an ordered read. The header says that nothing failed, so it waits for every piece, unless
   * `mayStart` (see `Transmission`). A failure after that costs DF zeroes and an error chunk, and a simple reply the
   * connection ("MUST immediately initiate a hard disconnect"): false.
   */
  sendInOrder(slot: Slot, mayStart: boolean): boolean {
    const requests = this.#requests;
    const pieces = this.#pieces;
    const isReplying = cell(requests.replying, slot) === 1;
    if (cell(requests.verdict, slot) !== OK) return !isReplying || this.#terms.structuredReplies;
    const isComplete = cell(requests.pending, slot) === 0;
    if (!isReplying && !isComplete && !mayStart) return true;
    let id = cell(requests.first, slot);
    while (id !== NONE && pieces.state[id] === WAITING) {
      if (cell(requests.replying, slot) === 0) this.#startInOrder(slot, isComplete);
      const next = cell(pieces.next, id);
      this.#sendPayload(id, slot);
      id = next;
    }
    requests.first[slot] = id;
    if (id === NONE) requests.last[slot] = NONE;
    return true;
  }

  /** Sends what is missing of the reply, once nothing of the request is pending. */
  finish(slot: Slot): void {
    const requests = this.#requests;
    const row = verdictRow(cell(requests.verdict, slot));
    if (row.error === 0) this.#succeed(slot);
    else if (this.#terms.structuredReplies) {
      if (cell(requests.replying, slot) === 1) {
        sendPadding(this.#stream, cell(requests.length, slot) - cell(requests.sent, slot));
      }
      sendError(this.#stream, requests, slot, row, cell(requests.failedAt, slot));
    } else sendSimpleReply(this.#stream, requests, slot, row.error);
  }

  #succeed(slot: Slot): void {
    const requests = this.#requests;
    const type = cell(requests.type, slot);
    if (type === commands.NBD_CMD_BLOCK_STATUS.code) sendBlockStatus(this.#stream, requests, slot, this.#device);
    else if (cell(requests.finished, slot) === 1) return;
    else if (type === commands.NBD_CMD_READ.code && this.#terms.structuredReplies) {
      sendNone(this.#stream, requests, slot);
    } else sendSimpleReply(this.#stream, requests, slot, 0);
  }

  #startInOrder(slot: Slot, isComplete: boolean): void {
    const requests = this.#requests;
    requests.replying[slot] = 1;
    if (isComplete || !this.#terms.structuredReplies) requests.finished[slot] = 1;
    if (!this.#terms.structuredReplies) {
      sendSimpleReply(this.#stream, requests, slot, 0);
      return;
    }
    const length = cell(requests.length, slot);
    sendDataHeader(this.#stream, requests, slot, cell(requests.offset, slot), length, isComplete);
  }

  #sendPayload(id: RequestId, slot: Slot): void {
    const length = cell(this.#pieces.length, id);
    this.#pieces.state[id] = SENDING;
    this.#pieces.sendingBytes += length;
    this.#requests.sent[slot] = cell(this.#requests.sent, slot) + length;
    this.#stream.sendMemory(this.#device.memoryOf(id), length, id);
  }
}
