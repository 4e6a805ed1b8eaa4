/**
 * What the operator decided beforehand about a split brain (drbd-84 §5.6). Both nodes must come to mirrored verdicts.
 */
import { Role } from "./state.ts";

/** Numbers on the wire (P_PROTOCOL): the index is the number. */
export const afterSplitBrainPolicies = [
  "disconnect",
  "discard-younger-primary",
  "discard-older-primary",
  "discard-zero-changes",
  "discard-least-changes",
  "discard-local",
  "discard-remote",
  "consensus",
  "discard-secondary",
  "call-pri-lost-after-sb",
  "violently-as0p",
] as const;
export type AfterSplitBrainPolicy = (typeof afterSplitBrainPolicies)[number];

export const policiesFor0Primaries = [
  "disconnect",
  "discard-younger-primary",
  "discard-older-primary",
  "discard-zero-changes",
  "discard-least-changes",
  "discard-local",
  "discard-remote",
] as const satisfies readonly AfterSplitBrainPolicy[];
export const policiesFor1Primary = [
  "disconnect",
  "consensus",
  "discard-secondary",
  "call-pri-lost-after-sb",
  "violently-as0p",
] as const satisfies readonly AfterSplitBrainPolicy[];
export const policiesFor2Primaries = [
  "disconnect",
  "call-pri-lost-after-sb",
  "violently-as0p",
] as const satisfies readonly AfterSplitBrainPolicy[];

export type Policy0p = (typeof policiesFor0Primaries)[number];
export type Policy1p = (typeof policiesFor1Primary)[number];
export type Policy2p = (typeof policiesFor2Primaries)[number];

export interface SplitBrain {
  readonly after0p: Policy0p;
  readonly after1p: Policy1p;
  readonly after2p: Policy2p;
  readonly role: number;
  readonly peerRole: number;
  /** Bit 0 of the own and the peer's Bitmap UUID: was Primary when the data parted. */
  readonly wasPrimary: boolean;
  readonly peerWasPrimary: boolean;
  /** Own dirty bits as sent in P_UUIDS, and the peer's as received. */
  readonly changes: number;
  readonly peerChanges: number;
  readonly resolveConflicts: boolean;
  /** The Primary role could be given up right now: the device is not open. */
  readonly mayDemote: boolean;
}

export interface Recovery {
  /** -1 discard mine, 1 discard the peer's, -100 unsolved. */
  readonly verdict: -1 | 1 | -100;
  /** Give up the Primary role before anything else. */
  readonly demote: boolean;
  readonly handlers: readonly "pri-lost-after-sb"[];
  readonly warnings: readonly string[];
}

type Verdict = Recovery["verdict"];
const UNSOLVED: Verdict = -100;

const tie = (s: SplitBrain): Verdict => (s.resolveConflicts ? -1 : 1);

type Criterion = (s: SplitBrain) => Verdict | undefined;
const younger: Criterion = (s) => (s.wasPrimary === s.peerWasPrimary ? undefined : s.wasPrimary ? 1 : -1);
const older: Criterion = (s) => (s.wasPrimary === s.peerWasPrimary ? undefined : s.wasPrimary ? -1 : 1);
const zeroChanges: Criterion = (s) => {
  if (s.changes === 0 && s.peerChanges === 0) return tie(s);
  if (s.peerChanges === 0) return 1;
  return s.changes === 0 ? -1 : undefined;
};
const leastChanges: Criterion = (s) => {
  if (s.changes === s.peerChanges) return tie(s);
  return s.changes < s.peerChanges ? -1 : 1;
};

/** The criteria of a policy in order: the first that decides, decides. None: unsolved. */
const criteria: Readonly<Record<Policy0p, readonly Criterion[]>> = {
  disconnect: [],
  "discard-younger-primary": [younger, older, zeroChanges, leastChanges],
  "discard-older-primary": [older, zeroChanges, leastChanges],
  "discard-zero-changes": [zeroChanges],
  "discard-least-changes": [leastChanges],
  "discard-local": [() => -1],
  "discard-remote": [() => 1],
};

const undecided = "Discard younger/older primary did not find a decision\nUsing discard-least-changes instead";

const plain = (verdict: Verdict, warnings: readonly string[] = []): Recovery => ({
  verdict,
  demote: false,
  handlers: [],
  warnings,
});

function with0Primaries(s: SplitBrain): Recovery {
  for (const criterion of criteria[s.after0p]) {
    const verdict = criterion(s);
    if (verdict === undefined) continue;
    const byAge = criterion === younger || criterion === older;
    const agePolicy = s.after0p === "discard-younger-primary" || s.after0p === "discard-older-primary";
    return plain(verdict, agePolicy && !byAge ? [undecided] : []);
  }
  return plain(UNSOLVED);
}

/** The losing Primary steps down if it can; else only the operator's handler can help. */
function callPriLost(s: SplitBrain, as0p: Recovery): Recovery {
  if (as0p.verdict !== -1 || s.role !== Role.Primary) return as0p;
  return s.mayDemote
    ? { ...as0p, demote: true, warnings: [...as0p.warnings, "Successfully gave up primary role."] }
    : { ...as0p, verdict: UNSOLVED, handlers: ["pri-lost-after-sb"] };
}

function with1Primary(s: SplitBrain): Recovery {
  switch (s.after1p) {
    case "disconnect":
      return plain(UNSOLVED);
    case "consensus": {
      const as0p = with0Primaries(s);
      const discardsSecondary = as0p.verdict === (s.role === Role.Primary ? 1 : -1);
      return discardsSecondary ? as0p : { ...as0p, verdict: UNSOLVED };
    }
    case "discard-secondary":
      return plain(s.role === Role.Primary ? 1 : -1);
    case "violently-as0p":
      return with0Primaries(s);
    case "call-pri-lost-after-sb":
      return callPriLost(s, with0Primaries(s));
    default:
      return s.after1p satisfies never;
  }
}

function with2Primaries(s: SplitBrain): Recovery {
  switch (s.after2p) {
    case "disconnect":
      return plain(UNSOLVED);
    case "violently-as0p":
      return with0Primaries(s);
    case "call-pri-lost-after-sb":
      return callPriLost(s, with0Primaries(s));
    default:
      return s.after2p satisfies never;
  }
}

export const primaryCount = (s: { readonly role: number; readonly peerRole: number }): 0 | 1 | 2 =>
  s.role === Role.Primary ? (s.peerRole === Role.Primary ? 2 : 1) : s.peerRole === Role.Primary ? 1 : 0;

/** The verdict of the policy for the number of Primaries (drbd-84 §5.6). */
export function recoverFromSplitBrain(s: SplitBrain): Recovery {
  const count = primaryCount(s);
  return count === 0 ? with0Primaries(s) : count === 1 ? with1Primary(s) : with2Primaries(s);
}
