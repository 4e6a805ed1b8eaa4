/**
 * Commands that take several tries: promotion (drbd-84 §10.10) and disconnect (§4.4). Each function is told the
 * verdict of the last try and says what comes next; the caller requests the changes, runs fence-peer and waits.
 */
import { type SsCode, ss } from "./ss.ts";
import { Conn, DiskState, Role, type State, type StateChange } from "./state.ts";

export const MAX_PROMOTION_TRIES = 4;

export interface Promotion {
  readonly force: boolean;
  /** Tries begun, this one included. */
  readonly tries: number;
  /** What to request now. */
  readonly change: StateChange;
  /** `--force` made the disk UpToDate: the generation is new, and P_UUIDS precedes P_STATE. */
  readonly forced: boolean;
}

/** The first request; ping the peer along with it, to learn early if it is dead. */
export const startPromotion = (force: boolean): Promotion => ({
  force,
  tries: 1,
  change: { role: Role.Primary },
  forced: false,
});

export type PromotionStep =
  | { readonly kind: "request"; readonly promotion: Promotion; readonly warning?: string }
  /** Request the same again after `ping-timeout` + 0.1 s: the peer may just be dead. */
  | { readonly kind: "wait"; readonly promotion: Promotion }
  /** Run fence-peer, then `afterFencing`. */
  | { readonly kind: "fence"; readonly promotion: Promotion; readonly because: "no data" | "peer not outdated" }
  | { readonly kind: "done"; readonly forced: boolean; readonly warning?: string }
  | { readonly kind: "refused"; readonly code: SsCode };

const again = (promotion: Promotion, change: StateChange, more: Partial<Promotion> = {}): Promotion => ({
  ...promotion,
  ...more,
  tries: promotion.tries + 1,
  change,
});

/** What follows the verdict of a try. `state` is the own state now. */
export function nextPromotionStep(promotion: Promotion, verdict: SsCode, state: State): PromotionStep {
  const { change } = promotion;
  if (verdict >= ss.SS_SUCCESS)
    return promotion.forced
      ? { kind: "done", forced: true, warning: "Forced to consider local data as UpToDate!" }
      : { kind: "done", forced: false };
  if (promotion.tries >= MAX_PROMOTION_TRIES) return { kind: "refused", code: verdict };
  if (verdict === ss.SS_CW_FAILED_BY_PEER && change.pdsk !== undefined) {
    const { pdsk: _, ...rest } = change;
    return { kind: "request", promotion: again(promotion, rest) };
  }
  if (verdict === ss.SS_NO_UP_TO_DATE_DISK) {
    const forcible = state.disk >= DiskState.Inconsistent && state.disk < DiskState.UpToDate;
    if (promotion.force && forcible && !promotion.forced)
      return {
        kind: "request",
        promotion: again(promotion, { ...change, disk: DiskState.UpToDate }, { forced: true }),
      };
    if (state.disk === DiskState.Consistent && change.pdsk === undefined)
      return { kind: "fence", promotion, because: "no data" };
  }
  if (verdict === ss.SS_PRIMARY_NOP && change.pdsk === undefined)
    return { kind: "fence", promotion, because: "peer not outdated" };
  if (verdict === ss.SS_TWO_PRIMARIES) return { kind: "wait", promotion: { ...promotion, tries: MAX_PROMOTION_TRIES } };
  return { kind: "refused", code: verdict };
}

/** After fence-peer: `peerIsOutdated` says whether it succeeded (drbd-84 §10.9). */
export function afterFencing(
  promotion: Promotion,
  because: "no data" | "peer not outdated",
  peerIsOutdated: boolean,
): Extract<PromotionStep, { kind: "request" }> {
  const { change } = promotion;
  if (because === "no data")
    return {
      kind: "request",
      promotion: again(promotion, peerIsOutdated ? { ...change, disk: DiskState.UpToDate } : change),
    };
  if (!peerIsOutdated && promotion.force)
    return {
      kind: "request",
      promotion: again(promotion, { ...change, pdsk: DiskState.Outdated }),
      warning: "Forced into split brain situation!",
    };
  return { kind: "request", promotion: again(promotion, change) };
}

export type DisconnectStep =
  | {
      readonly kind: "request";
      readonly change: StateChange;
      readonly mode: "soft" | "hard";
      /** No further escalation: a refusal of this one stands. */
      readonly last: boolean;
    }
  | { readonly kind: "done" }
  | { readonly kind: "refused"; readonly code: SsCode };

const disconnecting: StateChange = { conn: Conn.Disconnecting };

const request = (more: StateChange, mode: "soft" | "hard", last: boolean): DisconnectStep => ({
  kind: "request",
  change: { ...disconnecting, ...more },
  mode,
  last,
});

/** The first request of a disconnect; `--force` does not ask the peer. */
export const startDisconnect = (force: boolean): DisconnectStep => request({}, force ? "hard" : "soft", force);

/** What follows the verdict of `asked` (drbd-84 §4.4, escalation on refusal). */
export function nextDisconnectStep(
  asked: Extract<DisconnectStep, { kind: "request" }>,
  verdict: SsCode,
  state: State,
): DisconnectStep {
  if (verdict >= ss.SS_SUCCESS || verdict === ss.SS_ALREADY_STANDALONE) return { kind: "done" };
  if (asked.last) return { kind: "refused", code: verdict };
  const { pdsk, disk } = asked.change;
  if (pdsk === undefined && disk === undefined) {
    // The own check wants to see the peer outdated before a Primary lets it go.
    if (verdict === ss.SS_PRIMARY_NOP) return request({ pdsk: DiskState.Outdated }, "soft", false);
    // The peer, a Primary, wants to see us outdated. If it is gone meanwhile, nobody is left to ask.
    if (verdict === ss.SS_CW_FAILED_BY_PEER)
      return state.conn <= Conn.WFConnection
        ? request({}, "soft", true)
        : request({ disk: DiskState.Outdated }, "soft", false);
  }
  if (pdsk !== undefined && verdict === ss.SS_OUTDATE_WO_CONN) return request({}, "soft", true);
  const worseThanOutdated = verdict === ss.SS_IS_DISKLESS || verdict === ss.SS_LOWER_THAN_OUTDATED;
  if (disk !== undefined && worseThanOutdated) return request({}, "hard", true);
  return { kind: "refused", code: verdict };
}
