/**
 * The handshake phase: fixed newstyle negotiation without TLS (proto.md "Handshake").
 *
 *     client flags → option header ⇄ option data │ oversized data → (EXPORT_NAME, GO) transmission
 *                                                                 → (ABORT) ended
 */
import type { CloseReason, Stream, StreamHandler } from "../ports.ts";
import { canonicalName, type ExportTable, type Terms, transmissionFlagsOf } from "./exports.ts";
import { type MetaContextRequest, parseInfoRequest, parseMetaContextRequest } from "./option-data.ts";
import {
  ALLOCATION_CONTEXT,
  ALLOCATION_CONTEXT_ID,
  ALLOCATION_NAMESPACE,
  clientFlags,
  EXPORT_REPLY_ZEROES,
  exportReply,
  flagNames,
  greeting,
  handshakeFlags,
  IHAVEOPT,
  infoBlockSize,
  infoExport,
  infoTypes,
  MAX_OPTION_BYTES,
  MAX_OPTIONS,
  MAX_PAYLOAD_BYTES,
  MAX_UNREAD_BYTES,
  NBD_REP_MAGIC,
  NBDMAGIC,
  nameIn,
  optionHeader,
  optionReplies,
  optionReply,
  options,
  UNREAD_TEXT,
} from "./protocol.ts";
import { putText, putU64 } from "./put.ts";
import { decodeText, encodeText } from "./text.ts";

/** What negotiation reports to the session that owns the connection. */
export interface NegotiationOutcome {
  /** The last reply of the handshake has been queued; requests come next. */
  onTerms(terms: Terms): void;
  /** The client asked to leave: the stream has been ended. */
  onAbort(): void;
  /** The client broke the protocol, or asked by NBD_OPT_EXPORT_NAME for what it cannot have: close at once. */
  onViolation(text: string): void;
  trace(line: string): void;
}

type Awaiting =
  | { readonly name: "client flags" }
  | { readonly name: "option header" }
  | { readonly name: "option data"; readonly option: number; readonly length: number }
  | { readonly name: "oversized data"; readonly option: number; readonly length: number }
  /** Negotiation is over; whoever took over asks for the next bytes. */
  | { readonly name: "nothing" };

const {
  NBD_REP_ACK,
  NBD_REP_SERVER,
  NBD_REP_INFO,
  NBD_REP_META_CONTEXT,
  NBD_REP_ERR_UNSUP,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_SHUTDOWN,
  NBD_REP_ERR_TOO_BIG,
} = optionReplies;

const KNOWN_CLIENT_FLAGS = handshakeFlags.NBD_FLAG_FIXED_NEWSTYLE | handshakeFlags.NBD_FLAG_NO_ZEROES;
const supported: ReadonlySet<number> = new Set([
  options.NBD_OPT_LIST,
  options.NBD_OPT_INFO,
  options.NBD_OPT_GO,
  options.NBD_OPT_STRUCTURED_REPLY,
  options.NBD_OPT_LIST_META_CONTEXT,
  options.NBD_OPT_SET_META_CONTEXT,
]);
const hex = (high: number, low: number): string =>
  `0x${high.toString(16).padStart(8, "0")}${low.toString(16).padStart(8, "0")}`;

export class Negotiation implements StreamHandler {
  readonly #stream: Stream;
  readonly #exports: ExportTable;
  readonly #outcome: NegotiationOutcome;
  #awaiting: Awaiting = { name: "client flags" };
  #optionCount = 0;
  #wantsZeroes = true;
  #structuredReplies = false;
  /** The export `base:allocation` was last selected for. */
  #contextFor: string | undefined;
  #shuttingDown = false;

  /** Sends the greeting and asks for the client's flags. */
  constructor(stream: Stream, exports: ExportTable, outcome: NegotiationOutcome) {
    this.#stream = stream;
    this.#exports = exports;
    this.#outcome = outcome;
    const at = stream.reserve(greeting.size);
    const out = stream.out;
    out.setUint32(at + greeting.at.nbdmagicHigh, NBDMAGIC[0]);
    out.setUint32(at + greeting.at.nbdmagicLow, NBDMAGIC[1]);
    out.setUint32(at + greeting.at.ihaveoptHigh, IHAVEOPT[0]);
    out.setUint32(at + greeting.at.ihaveoptLow, IHAVEOPT[1]);
    out.setUint16(at + greeting.at.flags, KNOWN_CLIENT_FLAGS);
    stream.expectHeader(clientFlags.size);
  }

  /** From now on every option but ABORT is answered with NBD_REP_ERR_SHUTDOWN. */
  shutdown(): void {
    this.#shuttingDown = true;
  }

  onHeader(at: number): void {
    const awaiting = this.#awaiting;
    const view = this.#stream.window;
    if (awaiting.name === "client flags") this.#readClientFlags(view.getUint32(at));
    else if (awaiting.name === "option header") this.#readOptionHeader(view, at);
    else if (awaiting.name === "option data") this.#serve(awaiting.option, view, at, awaiting.length);
    // "nothing": what still arrives after an ABORT or a violation is ignored.
  }

  onPayload(): void {
    const awaiting = this.#awaiting;
    if (awaiting.name !== "oversized data") return;
    const { option, length } = awaiting;
    if (option === options.NBD_OPT_ABORT) {
      this.#abort();
      return;
    }
    const isKnown = supported.has(option);
    const text = isKnown ? `option data: expected at most ${MAX_OPTION_BYTES} bytes, actual ${length}` : "";
    this.#reply(option, isKnown ? NBD_REP_ERR_TOO_BIG : NBD_REP_ERR_UNSUP, encodeText(text));
    // A failed SET replaces what was selected before, too.
    if (option === options.NBD_OPT_SET_META_CONTEXT) this.#contextFor = undefined;
    this.#expectOption();
  }

  onSent(): void {}

  onClosed(_reason: CloseReason, _detail: string): void {
    this.#awaiting = { name: "nothing" };
  }

  #violation(text: string): void {
    this.#awaiting = { name: "nothing" };
    this.#outcome.onViolation(text);
  }

  #readClientFlags(flags: number): void {
    const unknown = flags - (flags & KNOWN_CLIENT_FLAGS);
    if (unknown !== 0) {
      const expected = flagNames(handshakeFlags, KNOWN_CLIENT_FLAGS);
      this.#violation(`client flags: expected at most ${expected}, actual 0x${(flags >>> 0).toString(16)}`);
      return;
    }
    this.#wantsZeroes = (flags & handshakeFlags.NBD_FLAG_NO_ZEROES) === 0;
    this.#expectOption();
  }

  #expectOption(): void {
    if (this.#optionCount === MAX_OPTIONS) {
      this.#violation(`options: expected at most ${MAX_OPTIONS}`);
      return;
    }
    if (this.#stream.queued > MAX_UNREAD_BYTES) {
      this.#violation(UNREAD_TEXT);
      return;
    }
    this.#optionCount += 1;
    this.#awaiting = { name: "option header" };
    this.#stream.expectHeader(optionHeader.size);
  }

  #readOptionHeader(view: DataView, at: number): void {
    const high = view.getUint32(at + optionHeader.at.magicHigh);
    const low = view.getUint32(at + optionHeader.at.magicLow);
    if (high !== IHAVEOPT[0] || low !== IHAVEOPT[1]) {
      this.#violation(`option magic: expected ${hex(IHAVEOPT[0], IHAVEOPT[1])}, actual ${hex(high, low)}`);
      return;
    }
    const option = view.getUint32(at + optionHeader.at.option);
    const length = view.getUint32(at + optionHeader.at.length);
    if (length > MAX_OPTION_BYTES) {
      // This option has no error reply, so there is nothing to drain for.
      if (option === options.NBD_OPT_EXPORT_NAME) {
        this.#violation(`NBD_OPT_EXPORT_NAME: expected at most ${MAX_OPTION_BYTES} bytes, actual ${length}`);
        return;
      }
      this.#awaiting = { name: "oversized data", option, length };
      this.#stream.expectSkip(length);
    } else if (length === 0) {
      this.#serve(option, view, at + optionHeader.size, 0);
    } else {
      this.#awaiting = { name: "option data", option, length };
      this.#stream.expectHeader(length);
    }
  }

  /** Answers one option whose data stands at `at`; then either asks for the next option or hands over. */
  #serve(option: number, view: DataView, at: number, length: number): void {
    if (option === options.NBD_OPT_ABORT) {
      this.#abort();
      return;
    }
    if (option === options.NBD_OPT_EXPORT_NAME) {
      this.#serveExportName(view, at, length);
      return;
    }
    if (this.#shuttingDown) this.#reply(option, NBD_REP_ERR_SHUTDOWN);
    else if (option === options.NBD_OPT_GO || option === options.NBD_OPT_INFO) {
      const terms = this.#serveInfo(option, view, at, length);
      if (option === options.NBD_OPT_GO && terms !== undefined) {
        this.#enter(terms);
        return;
      }
    } else if (option === options.NBD_OPT_LIST) this.#serveList(length);
    else if (option === options.NBD_OPT_STRUCTURED_REPLY) this.#serveStructuredReply(length);
    else if (option === options.NBD_OPT_LIST_META_CONTEXT || option === options.NBD_OPT_SET_META_CONTEXT) {
      this.#serveMetaContext(option, view, at, length);
    } else this.#reply(option, NBD_REP_ERR_UNSUP);
    this.#expectOption();
  }

  #abort(): void {
    this.#awaiting = { name: "nothing" };
    this.#reply(options.NBD_OPT_ABORT, NBD_REP_ACK);
    this.#outcome.onAbort();
  }

  #enter(terms: Terms): void {
    this.#awaiting = { name: "nothing" };
    this.#outcome.onTerms(terms);
  }

  #termsOf(name: string): Terms | undefined {
    const device = this.#exports.find(name);
    if (device === undefined) return undefined;
    return {
      device,
      exportName: name,
      readOnly: device.readOnly,
      structuredReplies: this.#structuredReplies,
      allocationContext: this.#contextFor === name,
      shuttingDown: false,
    };
  }

  #serveExportName(view: DataView, at: number, length: number): void {
    const name = decodeText(view, at, length);
    const terms = name === undefined || this.#shuttingDown ? undefined : this.#termsOf(name);
    if (terms === undefined) {
      this.#violation(`NBD_OPT_EXPORT_NAME: no export ${JSON.stringify(name ?? "?")}`);
      return;
    }
    const zeroes = this.#wantsZeroes ? EXPORT_REPLY_ZEROES : 0;
    const to = this.#stream.reserve(exportReply.size + zeroes);
    const out = this.#stream.out;
    putU64(out, to + exportReply.at.sizeHigh, terms.device.size);
    out.setUint16(to + exportReply.at.flags, transmissionFlagsOf(terms.device, terms.structuredReplies));
    for (let i = 0; i < zeroes; i++) out.setUint8(to + exportReply.size + i, 0);
    this.#outcome.trace(`NBD_OPT_EXPORT_NAME ${JSON.stringify(terms.exportName)}`);
    this.#enter(terms);
  }

  /** The terms for NBD_OPT_GO to begin with, or undefined where an error was sent. */
  #serveInfo(option: number, view: DataView, at: number, length: number): Terms | undefined {
    const parsed = parseInfoRequest(view, at, length);
    if (!parsed.ok) {
      this.#reply(option, NBD_REP_ERR_INVALID, encodeText(parsed.invalid));
      return undefined;
    }
    const { name, wanted } = parsed.value;
    const terms = this.#termsOf(name);
    if (terms === undefined) {
      this.#reply(option, NBD_REP_ERR_UNKNOWN, encodeText("no such export"));
      return undefined;
    }
    this.#sendInfoExport(option, terms);
    const canonical = canonicalName(this.#exports, name);
    if (wanted.includes(infoTypes.NBD_INFO_NAME)) this.#sendInfoText(option, infoTypes.NBD_INFO_NAME, canonical);
    if (wanted.includes(infoTypes.NBD_INFO_DESCRIPTION)) {
      const description = this.#exports.describe(canonical);
      if (description !== "") this.#sendInfoText(option, infoTypes.NBD_INFO_DESCRIPTION, description);
    }
    // Sent unasked too: the minimum is not the protocol's default of 1.
    this.#sendInfoBlockSize(option, terms);
    this.#reply(option, NBD_REP_ACK);
    return terms;
  }

  #sendInfoExport(option: number, { device, structuredReplies }: Terms): void {
    const at = this.#startReply(option, NBD_REP_INFO, infoExport.size);
    const out = this.#stream.out;
    out.setUint16(at + infoExport.at.type, infoTypes.NBD_INFO_EXPORT);
    putU64(out, at + infoExport.at.sizeHigh, device.size);
    out.setUint16(at + infoExport.at.flags, transmissionFlagsOf(device, structuredReplies));
  }

  #sendInfoBlockSize(option: number, { device }: Terms): void {
    const at = this.#startReply(option, NBD_REP_INFO, infoBlockSize.size);
    const out = this.#stream.out;
    out.setUint16(at + infoBlockSize.at.type, infoTypes.NBD_INFO_BLOCK_SIZE);
    out.setUint32(at + infoBlockSize.at.minimum, device.minimumBlock);
    out.setUint32(at + infoBlockSize.at.preferred, Math.max(device.preferredBlock, device.minimumBlock));
    out.setUint32(at + infoBlockSize.at.maximum, MAX_PAYLOAD_BYTES);
  }

  #sendInfoText(option: number, type: number, text: string): void {
    const bytes = encodeText(text);
    if (bytes.length > MAX_OPTION_BYTES) return;
    const at = this.#startReply(option, NBD_REP_INFO, 2 + bytes.length);
    this.#stream.out.setUint16(at, type);
    putText(this.#stream.out, at + 2, bytes);
  }

  #serveList(length: number): void {
    const option = options.NBD_OPT_LIST;
    if (length !== 0) {
      this.#reply(option, NBD_REP_ERR_INVALID, encodeText("option data: expected none"));
      return;
    }
    for (const name of this.#exports.list()) {
      const bytes = encodeText(name);
      if (bytes.length > MAX_OPTION_BYTES) continue;
      const at = this.#startReply(option, NBD_REP_SERVER, 4 + bytes.length);
      this.#stream.out.setUint32(at, bytes.length);
      putText(this.#stream.out, at + 4, bytes);
    }
    this.#reply(option, NBD_REP_ACK);
  }

  #serveStructuredReply(length: number): void {
    const option = options.NBD_OPT_STRUCTURED_REPLY;
    if (length !== 0) {
      this.#reply(option, NBD_REP_ERR_INVALID, encodeText("option data: expected none"));
      return;
    }
    this.#structuredReplies = true;
    this.#reply(option, NBD_REP_ACK);
  }

  #serveMetaContext(option: number, view: DataView, at: number, length: number): void {
    const isSet = option === options.NBD_OPT_SET_META_CONTEXT;
    if (isSet) this.#contextFor = undefined;
    if (!this.#structuredReplies) {
      this.#reply(option, NBD_REP_ERR_INVALID, encodeText("structured replies must be negotiated first"));
      return;
    }
    const parsed = parseMetaContextRequest(view, at, length);
    if (!parsed.ok) {
      this.#reply(option, NBD_REP_ERR_INVALID, encodeText(parsed.invalid));
      return;
    }
    if (this.#exports.find(parsed.value.name) === undefined) {
      this.#reply(option, NBD_REP_ERR_UNKNOWN, encodeText("no such export"));
      return;
    }
    if (selectsAllocation(isSet, parsed.value)) {
      const name = encodeText(ALLOCATION_CONTEXT);
      const to = this.#startReply(option, NBD_REP_META_CONTEXT, 4 + name.length);
      // A listing names no ids: "reserved and SHOULD be set to zero".
      this.#stream.out.setUint32(to, isSet ? ALLOCATION_CONTEXT_ID : 0);
      putText(this.#stream.out, to + 4, name);
      if (isSet) this.#contextFor = parsed.value.name;
    }
    this.#reply(option, NBD_REP_ACK);
  }

  #reply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): void {
    const at = this.#startReply(option, type, data.length);
    putText(this.#stream.out, at, data);
    this.#outcome.trace(`${nameIn(options, option)} ${nameIn(optionReplies, type)}`);
  }

  /** Returns where the reply's `length` bytes of data are to be written. */
  #startReply(option: number, type: number, length: number): number {
    const at = this.#stream.reserve(optionReply.size + length);
    const out = this.#stream.out;
    out.setUint32(at + optionReply.at.magicHigh, NBD_REP_MAGIC[0]);
    out.setUint32(at + optionReply.at.magicLow, NBD_REP_MAGIC[1]);
    out.setUint32(at + optionReply.at.option, option);
    out.setUint32(at + optionReply.at.type, type);
    out.setUint32(at + optionReply.at.length, length);
    return at + optionReply.size;
  }
}

/** Listing without a query lists everything, and knows the wildcard `base:`; selecting takes exact names only. */
function selectsAllocation(isSet: boolean, { queries }: MetaContextRequest): boolean {
  if (!isSet && (queries.length === 0 || queries.includes(ALLOCATION_NAMESPACE))) return true;
  return queries.includes(ALLOCATION_CONTEXT);
}
