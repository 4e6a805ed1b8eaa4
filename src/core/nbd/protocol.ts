/**
 * The numbers and fixed layouts of the NBD protocol, as tables. Source of every row: `doc/proto.md` of
 * NetworkBlockDevice/nbd ("proto.md"), sections "Values" and "Protocol phases". Everything on the wire is big-endian.
 */

/** Byte offsets of a fixed message's fields, computed from their widths in order. */
export interface Layout<Field extends string> {
  readonly size: number;
  readonly at: { readonly [Name in Field]: number };
}

function layout<Field extends string>(widths: { readonly [Name in Field]: number }): Layout<Field> {
  const at = {} as { [Name in Field]: number };
  let size = 0;
  for (const name in widths) {
    at[name] = size;
    size += widths[name];
  }
  return { size, at };
}

/** 64-bit magics as their two 32-bit halves, most significant first. */
export const NBDMAGIC = [0x4e42444d, 0x41474943] as const;
export const IHAVEOPT = [0x49484156, 0x454f5054] as const;
export const NBD_REP_MAGIC = [0x0003e889, 0x045565a9] as const;
export const NBD_REQUEST_MAGIC = 0x25609513;
export const NBD_SIMPLE_REPLY_MAGIC = 0x67446698;
export const NBD_STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const greeting = layout({ nbdmagicHigh: 4, nbdmagicLow: 4, ihaveoptHigh: 4, ihaveoptLow: 4, flags: 2 });
export const clientFlags = layout({ flags: 4 });
export const optionHeader = layout({ magicHigh: 4, magicLow: 4, option: 4, length: 4 });
export const optionReply = layout({ magicHigh: 4, magicLow: 4, option: 4, type: 4, length: 4 });
/** What `NBD_OPT_EXPORT_NAME` is answered with; 124 zeroes follow unless NO_ZEROES was agreed. */
export const exportReply = layout({ sizeHigh: 4, sizeLow: 4, flags: 2 });
export const EXPORT_REPLY_ZEROES = 124;
export const infoExport = layout({ type: 2, sizeHigh: 4, sizeLow: 4, flags: 2 });
export const infoBlockSize = layout({ type: 2, minimum: 4, preferred: 4, maximum: 4 });
export const requestHeader = layout({
  magic: 4,
  flags: 2,
  type: 2,
  cookieHigh: 4,
  cookieLow: 4,
  offsetHigh: 4,
  offsetLow: 4,
  length: 4,
});
export const simpleReply = layout({ magic: 4, error: 4, cookieHigh: 4, cookieLow: 4 });
export const structuredChunk = layout({ magic: 4, flags: 2, type: 2, cookieHigh: 4, cookieLow: 4, length: 4 });
export const offsetData = layout({ offsetHigh: 4, offsetLow: 4 });
export const errorChunk = layout({ error: 4, textLength: 2 });
export const blockStatusChunk = layout({ context: 4 });
export const blockStatusExtent = layout({ length: 4, flags: 4 });

/** "Handshake flags" and "Client flags": the same two bits in both directions. */
export const handshakeFlags = { NBD_FLAG_FIXED_NEWSTYLE: 1 << 0, NBD_FLAG_NO_ZEROES: 1 << 1 } as const;

export const transmissionFlags = {
  NBD_FLAG_HAS_FLAGS: 1 << 0,
  NBD_FLAG_READ_ONLY: 1 << 1,
  NBD_FLAG_SEND_FLUSH: 1 << 2,
  NBD_FLAG_SEND_FUA: 1 << 3,
  NBD_FLAG_ROTATIONAL: 1 << 4,
  NBD_FLAG_SEND_TRIM: 1 << 5,
  NBD_FLAG_SEND_WRITE_ZEROES: 1 << 6,
  NBD_FLAG_SEND_DF: 1 << 7,
  NBD_FLAG_CAN_MULTI_CONN: 1 << 8,
  NBD_FLAG_SEND_RESIZE: 1 << 9,
  NBD_FLAG_SEND_CACHE: 1 << 10,
  NBD_FLAG_SEND_FAST_ZERO: 1 << 11,
} as const;

export const options = {
  NBD_OPT_EXPORT_NAME: 1,
  NBD_OPT_ABORT: 2,
  NBD_OPT_LIST: 3,
  NBD_OPT_PEEK_EXPORT: 4,
  NBD_OPT_STARTTLS: 5,
  NBD_OPT_INFO: 6,
  NBD_OPT_GO: 7,
  NBD_OPT_STRUCTURED_REPLY: 8,
  NBD_OPT_LIST_META_CONTEXT: 9,
  NBD_OPT_SET_META_CONTEXT: 10,
  NBD_OPT_EXTENDED_HEADERS: 11,
} as const;

export const optionReplies = {
  NBD_REP_ACK: 1,
  NBD_REP_SERVER: 2,
  NBD_REP_INFO: 3,
  NBD_REP_META_CONTEXT: 4,
  NBD_REP_ERR_UNSUP: 0x80000001,
  NBD_REP_ERR_POLICY: 0x80000002,
  NBD_REP_ERR_INVALID: 0x80000003,
  NBD_REP_ERR_PLATFORM: 0x80000004,
  NBD_REP_ERR_TLS_REQD: 0x80000005,
  NBD_REP_ERR_UNKNOWN: 0x80000006,
  NBD_REP_ERR_SHUTDOWN: 0x80000007,
  NBD_REP_ERR_BLOCK_SIZE_REQD: 0x80000008,
  NBD_REP_ERR_TOO_BIG: 0x80000009,
  NBD_REP_ERR_EXT_HEADER_REQD: 0x8000000a,
} as const;

export const infoTypes = {
  NBD_INFO_EXPORT: 0,
  NBD_INFO_NAME: 1,
  NBD_INFO_DESCRIPTION: 2,
  NBD_INFO_BLOCK_SIZE: 3,
} as const;

export const commandFlags = {
  NBD_CMD_FLAG_FUA: 1 << 0,
  NBD_CMD_FLAG_NO_HOLE: 1 << 1,
  NBD_CMD_FLAG_DF: 1 << 2,
  NBD_CMD_FLAG_REQ_ONE: 1 << 3,
  NBD_CMD_FLAG_FAST_ZERO: 1 << 4,
} as const;

export const replyFlags = { NBD_REPLY_FLAG_DONE: 1 << 0 } as const;

export const replyTypes = {
  NBD_REPLY_TYPE_NONE: 0,
  NBD_REPLY_TYPE_OFFSET_DATA: 1,
  NBD_REPLY_TYPE_OFFSET_HOLE: 2,
  NBD_REPLY_TYPE_BLOCK_STATUS: 5,
  NBD_REPLY_TYPE_ERROR: 0x8001,
  NBD_REPLY_TYPE_ERROR_OFFSET: 0x8002,
} as const;

/** Flags of an extent in the `base:allocation` context. */
export const allocationFlags = { NBD_STATE_HOLE: 1 << 0, NBD_STATE_ZERO: 1 << 1 } as const;
export const ALLOCATION_CONTEXT = "base:allocation";
/** "base:" asks for every context of the namespace, in NBD_OPT_LIST_META_CONTEXT only. */
export const ALLOCATION_NAMESPACE = "base:";
/** Our number for `base:allocation`; the client treats it as opaque. */
export const ALLOCATION_CONTEXT_ID = 1;

/** NBD_INFO_BLOCK_SIZE's maximum payload: proto.md asks servers to take at least 2^25. */
export const MAX_PAYLOAD_BYTES = 32 * 1024 * 1024;
/** Option data longer than this is drained and refused; also the protocol's limit for one string. */
export const MAX_OPTION_BYTES = 4096;
/** A client that haggles longer than this is disconnected. */
export const MAX_OPTIONS = 256;
/** Replies (without payload, which is the device's memory) a client may leave unread before it is disconnected. */
export const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
export const UNREAD_TEXT = `unread replies: expected at most ${MAX_UNREAD_BYTES} bytes`;
/** After our side has ended, this much is thrown away while waiting for the client to close; then we close. */
export const MAX_LINGER_BYTES = 64 * 1024 * 1024;
/** Extents in one BLOCK_STATUS reply: what fits in one piece of `Stream.reserve`. */
export const MAX_EXTENTS = Math.floor((8192 - structuredChunk.size - blockStatusChunk.size) / blockStatusExtent.size);

export interface Command {
  readonly code: number;
  /** Command flags defined for it; FUA is valid for all commands. */
  readonly flags: number;
  /** Changes the export: refused on a read-only one. */
  readonly writes: boolean;
  /** Offset and length name a range of the export; otherwise both must be zero. */
  readonly ranged: boolean;
  /** Which way `length` bytes of payload travel. The maximum payload applies to both. */
  readonly payload: "none" | "request" | "reply";
}

const { NBD_CMD_FLAG_FUA, NBD_CMD_FLAG_NO_HOLE, NBD_CMD_FLAG_DF, NBD_CMD_FLAG_REQ_ONE, NBD_CMD_FLAG_FAST_ZERO } =
  commandFlags;

/** "Request types". */
export const commands = {
  NBD_CMD_READ: { code: 0, flags: NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF, writes: false, ranged: true, payload: "reply" },
  NBD_CMD_WRITE: { code: 1, flags: NBD_CMD_FLAG_FUA, writes: true, ranged: true, payload: "request" },
  NBD_CMD_DISC: { code: 2, flags: NBD_CMD_FLAG_FUA, writes: false, ranged: false, payload: "none" },
  NBD_CMD_FLUSH: { code: 3, flags: NBD_CMD_FLAG_FUA, writes: false, ranged: false, payload: "none" },
  NBD_CMD_TRIM: { code: 4, flags: NBD_CMD_FLAG_FUA, writes: true, ranged: true, payload: "none" },
  NBD_CMD_CACHE: { code: 5, flags: NBD_CMD_FLAG_FUA, writes: false, ranged: true, payload: "none" },
  NBD_CMD_WRITE_ZEROES: {
    code: 6,
    flags: NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
    writes: true,
    ranged: true,
    payload: "none",
  },
  NBD_CMD_BLOCK_STATUS: {
    code: 7,
    flags: NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE,
    writes: false,
    ranged: true,
    payload: "none",
  },
} as const satisfies Record<string, Command>;

const commandsByCode: ReadonlyMap<number, Command> = new Map(Object.values(commands).map((row) => [row.code, row]));

/** The row of a command code, or undefined for one this server does not know. */
export const commandOf = (code: number): Command | undefined => commandsByCode.get(code);

/** Name of a number in one of the tables above, or the number itself where no row has it. */
export function nameIn(table: Readonly<Record<string, number | Command>>, code: number): string {
  for (const [name, row] of Object.entries(table)) {
    if ((typeof row === "number" ? row : row.code) === code) return name;
  }
  return `0x${code.toString(16)}`;
}

/** Names of the bits set in `flags`, joined by `|`; bits without a row as one hexadecimal number. */
export function flagNames(table: Readonly<Record<string, number>>, flags: number): string {
  const names: string[] = [];
  let rest = flags;
  for (const [name, bit] of Object.entries(table)) {
    if ((flags & bit) === 0) continue;
    names.push(name);
    rest &= ~bit;
  }
  if (rest !== 0) names.push(`0x${rest.toString(16)}`);
  return names.join("|");
}
