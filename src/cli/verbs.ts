/**
 * Every verb of `futago`, one row each: command line parser, help, target rules and dry run derive from this table. Names and
 * options are drbdadm's (drbd-84 §10.6).
 */

/** `flag` takes `yes`/`no` after `=` like drbdsetup's; `seconds` and `count` are whole numbers; `text` is taken as it is. */
export type OptionKind = "flag" | "seconds" | "count" | "text";

export const options = {
  "config-file": {
    kind: "text",
    short: "c",
    help: "read FILE instead of the first of /etc/drbd-84.conf ... /etc/drbd.conf",
  },
  node: { kind: "text", help: "be this node of the configuration instead of the host's own name" },
  "dry-run": { kind: "flag", short: "d", help: "print what would be done, do nothing" },
  verbose: { kind: "flag", short: "v", help: "say more" },
  help: { kind: "flag", short: "h", help: "print the help of the command" },
  version: { kind: "flag", short: "V", help: "print the version" },
  force: { kind: "flag", short: "f", help: "" },
  "overwrite-data-of-peer": { kind: "flag", short: "o", help: "old name of --force" },
  "discard-my-data": { kind: "flag", short: "D", help: "after a split brain: give up this node's changes" },
  tentative: { kind: "flag", help: "connect and report what would be synchronised, then disconnect" },
  json: { kind: "flag", help: "as JSON, with the keys of `drbdsetup status --json`" },
  watch: { kind: "flag", short: "w", help: "print again whenever something changes, until interrupted" },
  follow: { kind: "flag", help: "go on as records are written" },
  lines: { kind: "count", short: "n", help: "only the last N records" },
  log: { kind: "text", help: "text or json" },
  "wfc-timeout": { kind: "seconds", short: "t", help: "seconds to wait, 0 for ever" },
  "degr-wfc-timeout": { kind: "seconds", help: "the same if this node was a Primary without its peer" },
  "outdated-wfc-timeout": { kind: "seconds", help: "the same if the peer's disk is known to be Outdated" },
  "wait-after-sb": { kind: "flag", help: "wait on although the connection was given up" },
  "al-stripes": { kind: "count", help: "stripes of the activity log" },
  "al-stripe-size-kB": { kind: "count", help: "size of one stripe in KiB" },
} as const satisfies Record<string, { kind: OptionKind; short?: string; help: string }>;

export type OptionName = keyof typeof options;

/** Options that every verb takes. */
export const generalOptions: readonly OptionName[] = ["config-file", "node", "dry-run", "verbose", "help", "version"];

/**
 * What a verb acts on. `volume`: resources or single volumes; `resource`: whole resources, a volume stands for its resource;
 * `one resource`: exactly one; `none`: no arguments. `optional` means that no argument stands for `all`.
 */
export type Scope = "volume" | "resource" | "one resource" | "none";

export interface Verb {
  readonly group: "daily use" | "state" | "looking" | "metadata" | "other";
  readonly scope: Scope;
  readonly optional?: boolean;
  readonly options: readonly OptionName[];
  readonly summary: string;
  /** Help of options whose meaning depends on the verb. */
  readonly notes?: Partial<Record<OptionName, string>>;
}

const waitOptions = ["wfc-timeout", "degr-wfc-timeout", "outdated-wfc-timeout", "wait-after-sb"] as const;

export const verbs = {
  up: {
    group: "daily use",
    scope: "resource",
    options: ["log"],
    summary: "start the engine, attach the disks and connect to the peer",
  },
  down: {
    group: "daily use",
    scope: "resource",
    options: ["force"],
    summary: "disconnect, detach and end the engine",
    notes: { force: "do not ask the peer" },
  },
  primary: {
    group: "daily use",
    scope: "volume",
    options: ["force", "overwrite-data-of-peer"],
    summary: "make this node the one that uses the data",
    notes: { force: "also without UpToDate data: THIS node's data becomes the good data, the peer's is overwritten" },
  },
  secondary: { group: "daily use", scope: "volume", options: [], summary: "stop using the data on this node" },
  status: {
    group: "daily use",
    scope: "resource",
    optional: true,
    options: ["json", "watch"],
    summary: "show resources, whether their data is protected, and what to do if not",
  },
  attach: { group: "state", scope: "volume", options: [], summary: "take the local disk into use" },
  detach: {
    group: "state",
    scope: "volume",
    options: ["force"],
    summary: "let go of the local disk",
    notes: { force: "at once, without asking the peer and without waiting for I/O" },
  },
  connect: {
    group: "state",
    scope: "resource",
    options: ["discard-my-data", "tentative"],
    summary: "connect to the peer",
  },
  disconnect: {
    group: "state",
    scope: "resource",
    options: ["force"],
    summary: "end the connection to the peer (StandAlone)",
    notes: { force: "without asking the peer" },
  },
  invalidate: {
    group: "state",
    scope: "volume",
    options: [],
    summary: "overwrite THIS node's data with the peer's",
  },
  "invalidate-remote": {
    group: "state",
    scope: "volume",
    options: [],
    summary: "overwrite the PEER's data with this node's",
  },
  outdate: { group: "state", scope: "volume", options: [], summary: "mark this node's data as outdated" },
  "pause-sync": { group: "state", scope: "volume", options: [], summary: "pause a resynchronisation" },
  "resume-sync": { group: "state", scope: "volume", options: [], summary: "let a paused resynchronisation go on" },
  "wait-connect": {
    group: "state",
    scope: "volume",
    options: waitOptions,
    summary: "wait until the peer is connected",
  },
  "wait-sync": { group: "state", scope: "volume", options: waitOptions, summary: "wait until both sides are in sync" },
  engine: {
    group: "other",
    scope: "one resource",
    options: ["log"],
    summary: "run the engine in the foreground (for systemd)",
  },
  role: { group: "looking", scope: "volume", options: [], summary: "print the roles, own/peer" },
  cstate: { group: "looking", scope: "volume", options: [], summary: "print the connection state" },
  dstate: { group: "looking", scope: "volume", options: [], summary: "print the disk states, own/peer" },
  "show-gi": {
    group: "looking",
    scope: "volume",
    options: [],
    summary: "print the data generation UUIDs, with a legend",
  },
  "get-gi": { group: "looking", scope: "volume", options: [], summary: "print the data generation UUIDs on one line" },
  dump: {
    group: "looking",
    scope: "resource",
    optional: true,
    options: [],
    summary: "check the configuration and print it",
  },
  journal: {
    group: "looking",
    scope: "one resource",
    options: ["json", "follow", "lines"],
    summary: "print what happened to a resource",
    notes: { json: "one JSON object per record" },
  },
  "create-md": {
    group: "metadata",
    scope: "volume",
    options: ["force", "al-stripes", "al-stripe-size-kB"],
    summary: "initialise the metadata of a disk",
    notes: { force: "without asking before existing metadata or data is overwritten" },
  },
  "dump-md": {
    group: "metadata",
    scope: "volume",
    options: ["force"],
    summary: "print the metadata in drbdmeta's format",
    notes: { force: "also if the activity log is not applied" },
  },
  "wipe-md": {
    group: "metadata",
    scope: "volume",
    options: ["force"],
    summary: "remove the metadata",
    notes: { force: "without asking" },
  },
  "apply-al": {
    group: "metadata",
    scope: "volume",
    options: [],
    summary: "apply the activity log after a crash (up does it itself)",
  },
  version: { group: "other", scope: "none", options: [], summary: "print the version" },
  help: { group: "other", scope: "none", options: [], summary: "print help; `futago help COMMAND` for one command" },
} as const satisfies Record<string, Verb>;

export type VerbName = keyof typeof verbs;

export const verbNames = Object.keys(verbs) as VerbName[];
export const isVerb = (word: string): word is VerbName => Object.hasOwn(verbs, word);
export const verbOf = (name: VerbName): Verb => verbs[name];
