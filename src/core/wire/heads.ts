/** The structures that packets start with, fields in wire order (drbd-84 §2.4). Several packets share one. */
import { MAX_ALG_NAME_BYTES } from "./agreement.ts";
import {
  afterSb,
  connFlags,
  ddsFlags,
  dpFlags,
  flagNames,
  ID_IN_SYNC,
  ID_OUT_OF_SYNC,
  ID_SYNCER,
  nameOf,
  uuidFlags,
  wireProtocols,
} from "./flags.ts";
import {
  type FieldType,
  i32,
  layout,
  octets,
  opaque4,
  opaque8,
  pad8,
  pad32,
  text,
  u8,
  u16,
  u32,
  u64,
  uuid64,
  word16,
  word32,
  word64,
} from "./layout.ts";
import { showState } from "./state-word.ts";

const blockId: FieldType<bigint> = {
  ...opaque8,
  show(value) {
    if (value === ID_SYNCER) return "ID_SYNCER";
    if (value === BigInt(ID_IN_SYNC)) return "ID_IN_SYNC";
    if (value === BigInt(ID_OUT_OF_SYNC)) return "ID_OUT_OF_SYNC";
    return value.toString(16).padStart(16, "0");
  },
};
const stateWord = word32((word) => `0x${word.toString(16).padStart(8, "0")} ${showState(word)}`);
const flagWord = word32((word) => `0x${word.toString(16)}`);
const afterSbWord = word32((value) => nameOf(afterSb, value));

export const noHead = layout({});

/** p_data. `blockId` and everything else in it is the sender's; replies carry zero in `seqNum` and `dpFlags`. */
export const dataHead = layout({
  sector: u64,
  blockId,
  seqNum: u32,
  dpFlags: word32((value) => flagNames(dpFlags, value)),
});

/** p_trim, p_zeroes, p_wsame: p_data and the bytes affected. */
export const trimHead = layout({ ...dataHead.fields, size: u32 });

/** p_block_ack. `blockId` of P_RS_IS_IN_SYNC, and of P_NEG_RS_DREPLY to P_CSUM_RS_REQUEST, is garbage. `blksize` in bytes. */
export const blockAck = layout({ sector: u64, blockId, blksize: u32, seqNum: u32 });

/** p_block_req. `blksize` in bytes; kernels leave stale memory in `pad`. */
export const blockRequest = layout({ sector: u64, blockId, blksize: u32, pad: pad32 });

/** p_block_desc. `blksize` in bytes; kernels leave stale memory in `pad`. */
export const blockDesc = layout({ sector: u64, blksize: u32, pad: pad32 });

/** p_barrier: the number is in the sender's byte order. */
export const barrierHead = layout({ barrier: opaque4, pad: pad32 });

/** p_barrier_ack. `setSize`: writes in the epoch. */
export const barrierAck = layout({ barrier: opaque4, setSize: u32 });

/** p_connection_features. 8.4 sends zero in `reserved` and ignores it. */
export const connectionFeatures = layout({
  protocolMin: u32,
  featureFlags: flagWord,
  protocolMax: u32,
  pad: pad32,
  reserved: octets(56),
});

/** p_protocol; from apv 87 the integrity algorithm follows as a NUL-terminated text. */
export const protocolHead = layout({
  protocol: word32((value) => nameOf(wireProtocols, value)),
  afterSb0p: afterSbWord,
  afterSb1p: afterSbWord,
  afterSb2p: afterSbWord,
  connFlags: word32((value) => flagNames(connFlags, value)),
  twoPrimaries: u32,
});

/** p_rs_param, apv <= 88. KiB/s. */
export const syncParam = layout({ resyncRate: u32 });
/** p_rs_param_89. */
export const syncParam89 = layout({
  resyncRate: u32,
  verifyAlg: text(MAX_ALG_NAME_BYTES),
  csumsAlg: text(MAX_ALG_NAME_BYTES),
});
/** p_rs_param_95: c_plan_ahead and c_delay_target in 0.1 s, c_fill_target in sectors, c_max_rate in KiB/s. */
export const syncParam95 = layout({
  ...syncParam89.fields,
  cPlanAhead: u32,
  cDelayTarget: u32,
  cFillTarget: u32,
  cMaxRate: u32,
});

/** p_uuids. `dirtyBits`: bits set in the sender's bitmap. */
export const uuidsHead = layout({
  current: uuid64,
  bitmap: uuid64,
  history1: uuid64,
  history2: uuid64,
  dirtyBits: u64,
  uuidFlags: word64((value) => flagNames(uuidFlags, value)),
});

/** p_sizes: d, u and c in sectors, `maxBioSize` in bytes. */
export const sizesHead = layout({
  dSize: u64,
  uSize: u64,
  cSize: u64,
  maxBioSize: u32,
  queueOrderType: u16,
  ddsFlags: word16((value) => flagNames(ddsFlags, value)),
});
/** p_sizes with the queue limits, in bytes, that feature WSAME adds. */
export const sizesWithLimits = layout({
  ...sizesHead.fields,
  physicalBlockSize: u32,
  logicalBlockSize: u32,
  alignmentOffset: u32,
  ioMin: u32,
  ioOpt: u32,
  discardEnabled: u8,
  discardZeroesData: u8,
  writeSameCapable: u8,
  pad: pad8,
});

/** p_state. */
export const stateHead = layout({ state: stateWord });
/** p_req_state: see `packChange`. */
export const stateRequest = layout({ mask: flagWord, val: flagWord });
/** p_req_state_reply: an SS_ code (drbd-84 §4.5). */
export const stateReply = layout({ retcode: i32 });
/** p_rs_uuid. */
export const syncUuid = layout({ uuid: uuid64 });
/** p_delay_probe93. `offset` in microseconds. */
export const delayProbe = layout({ seqNum: u32, offset: u32 });
