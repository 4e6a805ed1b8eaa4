/** What two nodes agree on first: protocol version and features (drbd-84 §3.2), and the limits that follow from them (drbd-84 §0). */

export const VERSION_MIN = 86;
export const VERSION_MAX = 101;
/** Stands for the agreed version until P_CONNECTION_FEATURES has been exchanged: header form 80 holds (drbd-84 §2.1). */
export const NOT_AGREED = 0;

/** Feature bits of P_CONNECTION_FEATURES (drbd-84 §3.2). */
export const features = { TRIM: 1, THIN_RESYNC: 2, WSAME: 4, WZEROES: 8 } as const;
/** What this node offers; the same as 8.4.11. */
export const FEATURES_OFFERED = features.TRIM | features.THIN_RESYNC | features.WSAME | features.WZEROES;

/** The first agreed version that has the thing named (drbd-84 §3.2). For the verify stop sector see {@link hasVerifyStopSector}. */
export const since = {
  integrityAlg: 87,
  verifyAlg: 88,
  syncParam89: 89,
  csumsAlg: 89,
  compressedBitmap: 90,
  verifyStartSector: 90,
  skipInitialSync: 90,
  uuidFixUps: 91,
  dryRun: 92,
  growWithoutResync: 93,
  header95: 95,
  dpFlags: 95,
  controllerParams: 95,
  endOfResyncState: 95,
  outOfSync: 96,
  ioDuringBitmapExchange: 96,
  header100: 100,
  volumes: 100,
  ackFlags: 100,
  connStateChange: 100,
  retryWrite: 100,
  protocolUpdate: 100,
} as const;

/** 97 … 99 and from 101 on, but not 100 (drbd-84 §3.2). */
export function hasVerifyStopSector(apv: number): boolean {
  return (apv >= 97 && apv <= 99) || apv >= 101;
}

/** Size of a control packet with its header; bounds bitmap chunks too (drbd-84 §0, §6.2). */
export const SOCKET_BUFFER_BYTES = 4096;
/** Largest payload of one data packet at any version; what a receiver must be able to take. */
export const MAX_BIO_BYTES = 1024 * 1024;
/** Largest digest of the algorithms in use (SHA-512). */
export const MAX_DIGEST_BYTES = 64;
/** Algorithm names in packets, with their NUL. */
export const MAX_ALG_NAME_BYTES = 64;
/** `shared-secret`: the manual's limit, minus the NUL of the kernel's field. */
export const MAX_SECRET_BYTES = 63;
export const MAX_VOLUME = 65535;

/** Largest single write, read or resync request that may be sent (drbd-84 §0). Bytes. */
export function maxBioBytes(apv: number): number {
  if (apv >= since.header100) return MAX_BIO_BYTES;
  return apv >= since.header95 ? 128 * 1024 : 32 * 1024;
}

/** Largest range of one P_TRIM, P_ZEROES or P_WSAME (drbd-84 §0). Bytes. */
export function maxTrimBytes(agreedFeatures: number): number {
  return (agreedFeatures & features.WSAME) !== 0 ? 128 * 1024 * 1024 : 4 * 1024 * 1024;
}

/** One side's offer. */
export interface Offer {
  readonly min: number;
  readonly max: number;
  readonly features: number;
}

export const ownOffer: Offer = { min: VERSION_MIN, max: VERSION_MAX, features: FEATURES_OFFERED };

export type Agreement =
  | { readonly agreed: true; readonly apv: number; readonly features: number }
  /** `text` is DRBD's; the connection goes StandAlone. */
  | { readonly agreed: false; readonly text: string };

/** Version and features both sides have (drbd-84 §3.2). A peer's max of 0 means its max equals its min. */
export function agree(own: Offer, peer: Offer): Agreement {
  const peerMax = peer.max === 0 ? peer.min : peer.max;
  if (own.max < peer.min || own.min > peerMax) {
    const text = `incompatible DRBD dialects: I support ${own.min}-${own.max}, peer supports ${peer.min}-${peerMax}`;
    return { agreed: false, text };
  }
  return { agreed: true, apv: Math.min(own.max, peerMax), features: (own.features & peer.features) >>> 0 };
}
