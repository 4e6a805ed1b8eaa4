/**
 * The transmission phase of one connection (proto.md "Transmission"): parses requests in place, splits them into pieces the
 * device takes, answers in whatever order the pieces finish.
 *
 *     open ─DISC→ draining ─last reply→ ended ─────┐
 *       │ └─onShutdown, last reply──────→ ended ───┤
 *       └─violation→ destroyed ────────────────────┴─onClosed→ closed
 *
 * Reading is sequential: one request at a time is *current*, until its payload has been received and its last piece issued.
 * While the device has no room for the next piece nothing is read from the client.
 *
 * A simple reply or DF has one header for all its pieces, which goes when the last is done. That would wait for ever where the
 * done pieces hold the very memory the others need. A read that lacks room therefore starts its reply early, but only when it
 * is the only request left, and no other is read before it is complete: nothing may come between the parts of its payload.
 */
import {
  type BlockClient,
  type BlockDevice,
  MAX_RANGE_BYTES,
  MAX_REQUEST_BYTES,
  NO_REQUEST,
  type RequestId,
} from "../block-device.ts";
import type { CloseReason, Stream, StreamHandler } from "../ports.ts";
import type { Terms } from "./exports.ts";
import {
  commandFlags,
  commands,
  MAX_LINGER_BYTES,
  MAX_UNREAD_BYTES,
  NBD_REQUEST_MAGIC,
  requestHeader,
  UNREAD_TEXT,
} from "./protocol.ts";
import { Replies } from "./replies.ts";
import {
  cell,
  FREE,
  NONE,
  PieceTable,
  RECEIVING,
  RequestTable,
  SENDING,
  type Slot,
  SUBMITTED,
  WAITING,
} from "./request-table.ts";
import { describeRequest } from "./trace.ts";
import { judge, OK, SHUTTING_DOWN, verdictOfErrno } from "./verdict.ts";

export interface TransmissionOutcome {
  onViolation(text: string): void;
  /** One line per request, only asked for where `traces` is true. */
  trace(line: string): void;
  readonly traces: boolean;
}

const READ = commands.NBD_CMD_READ.code;
const WRITE = commands.NBD_CMD_WRITE.code;
const DISC = commands.NBD_CMD_DISC.code;
const FLUSH = commands.NBD_CMD_FLUSH.code;
const TRIM = commands.NBD_CMD_TRIM.code;
const WRITE_ZEROES = commands.NBD_CMD_WRITE_ZEROES.code;

/** The longest piece of each command; commands without a row need nothing of the device's memory or order. */
const pieceLimits: ReadonlyMap<number, number> = new Map([
  [READ, MAX_REQUEST_BYTES],
  [WRITE, MAX_REQUEST_BYTES],
  [TRIM, MAX_RANGE_BYTES],
  [WRITE_ZEROES, MAX_RANGE_BYTES],
]);

type Phase = "open" | "draining" | "ended" | "destroyed" | "closed";
type Awaiting = "nothing" | "header" | "payload" | "skip" | "end";

export class Transmission implements StreamHandler, BlockClient {
  readonly #stream: Stream;
  readonly #device: BlockDevice;
  readonly #terms: Terms;
  readonly #outcome: TransmissionOutcome;
  readonly #requests: RequestTable;
  readonly #pieces: PieceTable;
  readonly #replies: Replies;
  #phase: Phase = "open";
  #awaiting: Awaiting = "nothing";
  /** `device.closed` has been called: the device is not ours to use any more. */
  #left = false;
  /** The request being read or issued, and what of it is still to be issued. */
  #current: Slot = NONE;
  /** A request whose pieces are all issued and whose reply has begun early: the next request is read after it. */
  #exclusive: Slot = NONE;
  #nextOffset = 0;
  #bytesLeft = 0;
  #piecesLeft = 0;
  #pieceLimit = 0;
  #receiving: RequestId = NO_REQUEST;
  /** `allocate` said NO_REQUEST for the current request. */
  #needsRoom = false;
  /** No header is asked for until the client has taken some of its replies. */
  #isPaused = false;

  constructor(stream: Stream, terms: Terms, outcome: TransmissionOutcome) {
    this.#stream = stream;
    this.#device = terms.device;
    this.#terms = terms;
    this.#outcome = outcome;
    // Every request but the current one has at least one piece with the device.
    this.#requests = new RequestTable(terms.device.requestCapacity + 1);
    this.#pieces = new PieceTable(terms.device.requestCapacity);
    this.#replies = new Replies(stream, terms, this.#requests, this.#pieces);
  }

  /** Opens the device and asks for the first request. */
  start(): void {
    this.#device.opened(this);
    this.#expectRequest();
  }

  onHeader(at: number): void {
    this.#awaiting = "nothing";
    if (this.#phase !== "open") {
      this.#linger();
      return;
    }
    const view = this.#stream.window;
    const magic = view.getUint32(at + requestHeader.at.magic);
    if (magic !== NBD_REQUEST_MAGIC) {
      const expected = NBD_REQUEST_MAGIC.toString(16);
      this.#violation(`request magic: expected 0x${expected}, actual 0x${magic.toString(16)}`);
      return;
    }
    const type = view.getUint16(at + requestHeader.at.type);
    if (type === DISC) {
      this.#phase = "draining";
      this.#endIfIdle();
      return;
    }
    const flags = view.getUint16(at + requestHeader.at.flags);
    const cookieHigh = view.getUint32(at + requestHeader.at.cookieHigh);
    const cookieLow = view.getUint32(at + requestHeader.at.cookieLow);
    const offset =
      view.getUint32(at + requestHeader.at.offsetHigh) * 0x100000000 + view.getUint32(at + requestHeader.at.offsetLow);
    const length = view.getUint32(at + requestHeader.at.length);
    const slot = this.#requests.take(cookieHigh, cookieLow, type, flags, offset, length);
    this.#current = slot;
    this.#nextOffset = offset;
    const verdict = judge(this.#terms, type, flags, offset, length);
    if (verdict === OK) {
      const limit = pieceLimits.get(type) ?? 0;
      this.#pieceLimit = limit;
      this.#bytesLeft = limit === 0 ? 0 : length;
      // A flush is one piece without a range.
      this.#piecesLeft = type === FLUSH ? 1 : limit === 0 ? 0 : Math.ceil(length / limit);
    } else {
      this.#requests.fail(slot, verdict, NONE);
      this.#bytesLeft = type === WRITE ? length : 0;
      this.#piecesLeft = 0;
    }
    this.#issue();
  }

  onPayload(): void {
    const awaited = this.#awaiting;
    this.#awaiting = "nothing";
    if (this.#phase === "destroyed" || this.#phase === "closed") return;
    if (awaited === "end") {
      this.#stream.destroy();
      return;
    }
    if (awaited === "skip") {
      this.#issued();
      return;
    }
    if (awaited !== "payload") return;
    const id = this.#receiving;
    this.#receiving = NO_REQUEST;
    this.#submit(id, this.#current);
    this.#issue();
  }

  onSent(token: number): void {
    this.#pieces.expect(token, SENDING);
    this.#pieces.sendingBytes -= cell(this.#pieces.length, token);
    this.#release(token);
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#expectRequest();
    }
  }

  onClosed(_reason: CloseReason, _detail: string): void {
    this.#phase = "closed";
    this.#awaiting = "nothing";
    this.#needsRoom = false;
    for (let id = 0; id < this.#pieces.state.length; id++) {
      // What is submitted comes back by `onDone`; a closed stream uses no memory any more.
      if (this.#pieces.state[id] !== FREE && this.#pieces.state[id] !== SUBMITTED) this.#release(id);
    }
    this.#leaveIfIdle();
  }

  onDone(id: RequestId, errno: number): void {
    this.#pieces.expect(id, SUBMITTED);
    if (this.#phase === "destroyed" || this.#phase === "closed") {
      this.#release(id);
      return;
    }
    const requests = this.#requests;
    const slot = cell(this.#pieces.slot, id);
    const type = cell(requests.type, slot);
    if (errno !== 0) {
      const at = type === FLUSH ? NONE : cell(this.#pieces.offset, id);
      requests.fail(slot, verdictOfErrno(errno, cell(requests.flags, slot)), at);
    }
    const isKept = type === READ && errno === 0;
    if (isKept) this.#pieces.state[id] = WAITING;
    if (isKept && !this.#replies.isOrdered(slot)) {
      this.#replies.sendChunk(id, slot, slot === this.#current, this.#piecesLeft);
    }
    this.#partDone(slot);
    if (!isKept) this.#release(id);
    // A request that has failed needs no more room.
    if (this.#needsRoom && cell(requests.verdict, this.#current) !== OK) this.#retry();
  }

  onRoom(): void {
    if (this.#needsRoom) this.#retry();
  }

  onShutdown(): void {
    if (this.#phase !== "open") return;
    this.#terms.shuttingDown = true;
    if (this.#needsRoom) this.#retry();
    this.#endIfIdle();
  }

  /**
   * Asks for the next request, unless the client leaves its replies unread: they are ours to store. Payload on its way will
   * tell when the client reads again, so there is something to wait for from half the limit on; without it there is not.
   */
  #expectRequest(): void {
    if (this.#phase !== "open") return;
    const { sendingBytes } = this.#pieces;
    const unread = this.#stream.queued - sendingBytes;
    if (sendingBytes > 0 && unread > MAX_UNREAD_BYTES / 2) {
      this.#isPaused = true;
      return;
    }
    if (unread > MAX_UNREAD_BYTES) {
      this.#violation(UNREAD_TEXT);
      return;
    }
    this.#awaiting = "header";
    this.#stream.expectHeader(requestHeader.size);
  }

  #retry(): void {
    this.#needsRoom = false;
    this.#issue();
  }

  /** Goes on with the current request as far as it gets: to the next payload, to the next lack of room, or to its end. */
  #issue(): void {
    const slot = this.#current;
    const requests = this.#requests;
    const type = cell(requests.type, slot);
    const isData = type === READ || type === WRITE;
    while (this.#piecesLeft > 0 && cell(requests.verdict, slot) === OK) {
      const length = Math.min(this.#bytesLeft, this.#pieceLimit);
      const id = this.#device.allocate(this, isData ? length : 0);
      if (id === NO_REQUEST) {
        // A reply that has begun is finished, shutdown or not.
        if (!this.#terms.shuttingDown || cell(requests.replying, slot) === 1) {
          this.#needsRoom = true;
          this.#sendInOrder(slot);
          return;
        }
        requests.fail(slot, SHUTTING_DOWN, NONE);
        break;
      }
      this.#takePiece(id, slot, length);
      if (type === WRITE) {
        this.#pieces.state[id] = RECEIVING;
        this.#receiving = id;
        this.#awaiting = "payload";
        this.#stream.expectInto(this.#device.memoryOf(id), length);
        return;
      }
      this.#submit(id, slot);
      // The device may have answered at once, and a failed read may have ended the connection.
      if (this.#phase !== "open") return;
    }
    this.#piecesLeft = 0;
    if (type !== WRITE || this.#bytesLeft === 0) {
      this.#issued();
      return;
    }
    this.#awaiting = "skip";
    this.#stream.expectSkip(this.#bytesLeft);
  }

  #takePiece(id: RequestId, slot: Slot, length: number): void {
    const requests = this.#requests;
    const pieces = this.#pieces;
    pieces.take(id, slot, this.#nextOffset, length);
    requests.addPending(slot, 1);
    this.#nextOffset += length;
    this.#bytesLeft -= length;
    this.#piecesLeft -= 1;
    if (!this.#isOrderedRead(slot)) return;
    const last = cell(requests.last, slot);
    if (last === NONE) requests.first[slot] = id;
    else pieces.next[last] = id;
    requests.last[slot] = id;
  }

  /** Every piece of the current request is on its way: reads the next request. */
  #issued(): void {
    const slot = this.#current;
    this.#current = NONE;
    if (cell(this.#requests.replying, slot) === 1) {
      this.#exclusive = slot;
      this.#partDone(slot);
      return;
    }
    this.#partDone(slot);
    this.#expectRequest();
  }

  #submit(id: RequestId, slot: Slot): void {
    const device = this.#device;
    const flags = cell(this.#requests.flags, slot);
    const offset = cell(this.#pieces.offset, id);
    const length = cell(this.#pieces.length, id);
    const fua = (flags & commandFlags.NBD_CMD_FLAG_FUA) !== 0;
    this.#pieces.state[id] = SUBMITTED;
    const type = cell(this.#requests.type, slot);
    if (type === READ) device.read(id, offset, length);
    else if (type === WRITE) device.write(id, offset, length, fua);
    else if (type === FLUSH) device.flush(id);
    else if (type === TRIM) device.trim(id, offset, length, fua);
    else if (type === WRITE_ZEROES) {
      const mayUnmap = (flags & commandFlags.NBD_CMD_FLAG_NO_HOLE) === 0;
      const fastOnly = (flags & commandFlags.NBD_CMD_FLAG_FAST_ZERO) !== 0;
      device.writeZeroes(id, offset, length, fua, mayUnmap, fastOnly);
    } else throw new RangeError(`command ${type} has no pieces`);
  }

  #isOrderedRead(slot: Slot): boolean {
    return cell(this.#requests.type, slot) === READ && this.#replies.isOrdered(slot);
  }

  #sendInOrder(slot: Slot): void {
    if (!this.#isOrderedRead(slot)) return;
    const mayStart = this.#needsRoom && slot === this.#current && this.#requests.active === 1;
    if (this.#replies.sendInOrder(slot, mayStart)) return;
    this.#violation(`a read failed after its reply had begun: ${describeRequest(this.#requests, slot)}`);
  }

  #partDone(slot: Slot): void {
    const pending = this.#requests.addPending(slot, -1);
    this.#sendInOrder(slot);
    if (pending === 0 && this.#phase !== "destroyed") this.#conclude(slot);
  }

  /** Nothing of the request is pending: completes its reply and forgets it. */
  #conclude(slot: Slot): void {
    this.#replies.finish(slot);
    if (this.#outcome.traces) this.#outcome.trace(describeRequest(this.#requests, slot));
    const unsent = cell(this.#requests.first, slot);
    this.#requests.release(slot);
    this.#releaseWaiting(unsent);
    this.#endIfIdle();
    if (this.#exclusive === slot) {
      this.#exclusive = NONE;
      this.#expectRequest();
    } else if (this.#needsRoom) this.#sendInOrder(this.#current);
  }

  /** Gives back the pieces of an ordered read that were done but will not be sent because another one failed. */
  #releaseWaiting(first: number): void {
    for (let id = first; id !== NONE; ) {
      const next = cell(this.#pieces.next, id);
      if (this.#pieces.state[id] === WAITING) this.#release(id);
      id = next;
    }
  }

  #release(id: RequestId): void {
    this.#pieces.state[id] = FREE;
    this.#pieces.live -= 1;
    this.#device.release(id);
    this.#leaveIfIdle();
  }

  #endIfIdle(): void {
    const isLeaving = this.#phase === "draining" || (this.#phase === "open" && this.#terms.shuttingDown);
    if (!isLeaving || this.#requests.active > 0) return;
    this.#phase = "ended";
    this.#stream.end();
    this.#linger();
    this.#leaveIfIdle();
  }

  /** Keeps an expectation open after our side has ended, so that the client's end is noticed. */
  #linger(): void {
    if (this.#phase !== "ended" || this.#awaiting !== "nothing") return;
    this.#awaiting = "end";
    this.#stream.expectSkip(MAX_LINGER_BYTES);
  }

  #leaveIfIdle(): void {
    if (this.#phase !== "ended" && this.#phase !== "closed") return;
    if (this.#left || this.#pieces.live > 0) return;
    this.#left = true;
    this.#device.closed(this);
  }

  #violation(text: string): void {
    this.#phase = "destroyed";
    this.#needsRoom = false;
    this.#outcome.onViolation(text);
  }
}
