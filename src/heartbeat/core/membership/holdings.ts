/**
 * What a node holds, as two bits: its own groups (`local`) and the other node's (`foreign`). Always from the point of view of
 * the node that is spoken of; `seenFromOther` turns the point of view (heartbeat §5, rsc_hold; §21.6).
 */
import type { Holdings } from "../wire/vocabulary.ts";
import { holdings } from "../wire/vocabulary.ts";

/** 0 none, 1 local, 2 foreign, 3 both. */
export type Share = 0 | 1 | 2 | 3;

export const NONE = 0;
export const LOCAL = 1;
export const FOREIGN = 2;
export const ALL = 3;
export const shares: readonly Share[] = [NONE, LOCAL, FOREIGN, ALL];

export const wordOf = (share: Share): Holdings => holdings[share] ?? "none";
export const shareOf = (word: Holdings): Share => holdings.indexOf(word) as Share;

export const union = (a: Share, b: Share): Share => (a | b) as Share;
export const common = (a: Share, b: Share): Share => (a & b) as Share;
export const minus = (a: Share, b: Share): Share => (a & ~b & ALL) as Share;
export const seenFromOther = (share: Share): Share => (((share & LOCAL) << 1) | ((share & FOREIGN) >> 1)) as Share;
