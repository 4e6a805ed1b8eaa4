/**
 * Exit codes: those of drbdadm and of the drbdsetup it calls (drbd-84 §10.6), so that scripts and resource agents written for
 * DRBD keep their meaning. This table is their only home; `futago help exit-codes` prints it.
 */
import type { Outcome } from "../core/status.ts";

export const exitCodes = {
  ok: { code: 0, meaning: "done" },
  usage: { code: 1, meaning: "wrong usage, or the resource is not defined for this host" },
  syntax: { code: 2, meaning: "an option's value or an argument is malformed" },
  notRunning: { code: 3, meaning: "initd-status: no engine runs" },
  waitOrOutdated: { code: 5, meaning: "a wait timed out, or the disk is lower than Outdated anyway" },
  configuration: { code: 10, meaning: "the configuration is invalid, or the engine refused it" },
  stateChange: { code: 11, meaning: "the state change was refused" },
  noLocalDisk: { code: 16, meaning: "refused: no local disk" },
  needUpToDate: { code: 17, meaning: "refused: needs access to UpToDate data" },
  execution: { code: 20, meaning: "could not be carried out: engine not reachable, I/O error, no answer in time" },
  wouldCorrupt: { code: 40, meaning: "create-md: existing data would be cut off or overwritten" },
  internal: { code: 42, meaning: "internal error of this program" },
} as const;

export type ExitName = keyof typeof exitCodes;
export type ExitCode = (typeof exitCodes)[ExitName]["code"];

/** The name of a code in the table; a code that a metadata command invents counts as `execution`. */
export function exitNamed(code: number): ExitName {
  const names = Object.keys(exitCodes) as ExitName[];
  return names.find((name) => exitCodes[name].code === code) ?? "execution";
}

/** After one of these the remaining resources are not tried (drbd-84 §10.6). */
export const stopsAtOnce = (code: number): boolean => code >= exitCodes.execution.code;

/** State change verdicts with an exit code of their own; the others exit as `stateChange`. */
const bySsCode: ReadonlyMap<number, ExitName> = new Map([
  [-2, "needUpToDate"],
  [-4, "noLocalDisk"],
  [-16, "waitOrOutdated"],
]);

/** DRBD's "no error" among the configuration codes. */
const NO_ERROR = 101;
const LAST_FAILURE = 199;

export const isSuccess = (outcome: Outcome): boolean =>
  (outcome.code >= 1 && outcome.code <= 4) || outcome.code === NO_ERROR;

/** Exit code for an engine's answer. A code outside DRBD's ranges is not understood, hence `execution`. */
export function exitNameOf(outcome: Outcome): ExitName {
  if (isSuccess(outcome)) return "ok";
  if (outcome.code > NO_ERROR && outcome.code <= LAST_FAILURE) return "configuration";
  if (outcome.code <= 0 && outcome.code >= -21) return bySsCode.get(outcome.code) ?? "stateChange";
  return "execution";
}

/** As drbdsetup prints a refusal; `object` is the minor number or the resource's name. */
export function refusalLine(object: string, outcome: Outcome): string {
  const failed = outcome.code > NO_ERROR ? "Failure" : "State change failed";
  return `${object}: ${failed}: (${outcome.code}) ${outcome.text.trimEnd()}`;
}
