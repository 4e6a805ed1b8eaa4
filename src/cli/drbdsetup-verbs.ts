/**
 * The commands of drbdsetup 8.4 that an engine can carry out, one row each: what they act on and which command of `futago` that is.
 * drbdsetup names things as the kernel does: by minor number, by resource, by pair of addresses.
 */
import type { OptionName, VerbName } from "./verbs.ts";

/** `minor or resource` and the like also take `all`. */
export type SetupObject = "minor" | "resource" | "addresses" | "any";

export interface SetupVerb {
  readonly object: SetupObject;
  readonly does: VerbName | "show" | "new-minor";
  /** Words after the object: `lower_dev meta_dev index` of attach. */
  readonly more: number;
  /** Options that the engine takes from the command line. */
  readonly options: readonly OptionName[];
  /** True: options of other names are for the kernel; the engine has them from the configuration file. */
  readonly configured?: boolean;
  /** No object at all means `all`. */
  readonly optional?: boolean;
}

const onMinor = { object: "minor", more: 0, options: [] } as const;
const waitOptions = ["wfc-timeout", "degr-wfc-timeout", "outdated-wfc-timeout", "wait-after-sb"] as const;

export const setupVerbs = {
  primary: { ...onMinor, does: "primary", options: ["force", "overwrite-data-of-peer"] },
  secondary: { ...onMinor, does: "secondary" },
  attach: { ...onMinor, does: "attach", more: 3, configured: true },
  detach: { ...onMinor, does: "detach", options: ["force"] },
  connect: {
    object: "resource",
    does: "connect",
    more: 2,
    options: ["discard-my-data", "tentative"],
    configured: true,
  },
  disconnect: { object: "addresses", does: "disconnect", more: 1, options: ["force"] },
  invalidate: { ...onMinor, does: "invalidate" },
  "invalidate-remote": { ...onMinor, does: "invalidate-remote" },
  "pause-sync": { ...onMinor, does: "pause-sync" },
  "resume-sync": { ...onMinor, does: "resume-sync" },
  outdate: { ...onMinor, does: "outdate" },
  down: { object: "resource", does: "down", more: 0, options: [] },
  role: { ...onMinor, does: "role" },
  state: { ...onMinor, does: "role" },
  cstate: { ...onMinor, does: "cstate" },
  dstate: { ...onMinor, does: "dstate" },
  "show-gi": { ...onMinor, does: "show-gi" },
  "get-gi": { ...onMinor, does: "get-gi" },
  "sh-status": { object: "any", does: "sh-status", more: 0, options: [], optional: true },
  show: { object: "any", does: "show", more: 0, options: [], optional: true },
  status: { object: "any", does: "status", more: 0, options: ["verbose", "json"], optional: true },
  events: { object: "any", does: "events", more: 0, options: [], optional: true },
  events2: { object: "any", does: "events2", more: 0, options: ["now", "statistics", "timestamps"], optional: true },
  "wait-connect": { ...onMinor, does: "wait-connect", options: waitOptions },
  "wait-sync": { ...onMinor, does: "wait-sync", options: waitOptions },
  "new-resource": { object: "resource", does: "new-resource", more: 0, options: [], configured: true },
  "new-minor": { object: "resource", does: "new-minor", more: 2, options: [] },
} as const satisfies Record<string, SetupVerb>;

export type SetupVerbName = keyof typeof setupVerbs;
export const isSetupVerb = (word: string): word is SetupVerbName => Object.hasOwn(setupVerbs, word);
export const setupVerbNames = Object.keys(setupVerbs) as SetupVerbName[];
