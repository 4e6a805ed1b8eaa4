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
  stacked: { kind: "flag", short: "S", help: "the stacked resources instead of the normal ones" },
  peer: { kind: "text", short: "P", help: "the peer's node name, for a resource with more than two hosts" },
  force: { kind: "flag", short: "f", help: "" },
  "overwrite-data-of-peer": { kind: "flag", short: "o", help: "old name of --force" },
  "discard-my-data": { kind: "flag", short: "D", help: "after a split brain: give up this node's changes" },
  tentative: { kind: "flag", help: "connect and report what would be synchronised, then disconnect" },
  json: { kind: "flag", help: "as JSON, with the keys of `drbdsetup status --json`" },
  watch: { kind: "flag", short: "w", help: "print again whenever something changes, until interrupted" },
  now: { kind: "flag", help: "only what is there now" },
  statistics: { kind: "flag", help: "with counters" },
  timestamps: { kind: "flag", help: "each line begins with the time" },
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
export const generalOptions: readonly OptionName[] = [
  "config-file",
  "node",
  "dry-run",
  "verbose",
  "stacked",
  "peer",
  "help",
  "version",
];

/**
 * What a verb acts on. `volume`: resources or single volumes; `resource`: whole resources, a volume stands for its resource;
 * `whole resource`: a volume is refused; `one resource`: exactly one; `folder`: a path instead; `none`: no arguments; `ignored`: names are
 * accepted with a warning. `optional` means that no argument stands for `all`.
 */
export type Scope = "volume" | "resource" | "whole resource" | "one resource" | "folder" | "none" | "ignored";

export interface Verb {
  /** `scripts` and `handlers` are left out of the general help: `hidden-commands` lists them. */
  readonly group: "daily use" | "state" | "looking" | "metadata" | "other" | "scripts" | "handlers";
  readonly scope: Scope;
  readonly optional?: boolean;
  readonly options: readonly OptionName[];
  readonly summary: string;
  /** Help of options whose meaning depends on the verb. */
  readonly notes?: Partial<Record<OptionName, string>>;
}

/** Run by hand or by a script what drbd.conf's handlers section says (drbd-84 §10.9). */
const handler = {
  group: "handlers",
  scope: "volume",
  options: [],
  summary: "run this handler of the configuration",
} as const;
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
  adjust: {
    group: "daily use",
    scope: "resource",
    options: ["log"],
    summary: "do what is missing: start the engine, attach, connect",
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
  proc: {
    group: "looking",
    scope: "none",
    options: [],
    summary: "print the text of /proc/drbd",
  },
  "initd-status": {
    group: "looking",
    scope: "none",
    options: [],
    summary: "print the status text of /etc/init.d/drbd; exit 3 if no engine runs",
  },
  overview: {
    group: "looking",
    scope: "none",
    options: [],
    summary: "print one line for each volume, as drbd-overview",
  },
  events2: {
    group: "looking",
    scope: "resource",
    optional: true,
    options: ["now", "statistics", "timestamps"],
    summary: "print what exists, then every change, as drbdsetup events2",
  },
  events: {
    group: "looking",
    scope: "volume",
    optional: true,
    options: [],
    summary: "print every change of state on one line, as drbdsetup events of 8.4",
  },
  dump: {
    group: "looking",
    scope: "resource",
    optional: true,
    options: [],
    summary: "check the configuration and print it",
  },
  "dump-xml": {
    group: "looking",
    scope: "resource",
    optional: true,
    options: [],
    summary: "check the configuration and print it as XML",
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
  "install-names": {
    group: "other",
    scope: "folder",
    options: ["force"],
    summary: "make the links drbdadm, drbdsetup, drbdmeta and drbd-overview in a folder",
    notes: { force: "also in place of other programs of these names" },
  },
  "hidden-commands": { group: "other", scope: "none", options: [], summary: "print the commands for scripts" },
  "adjust-with-progress": { group: "scripts", scope: "resource", options: ["log"], summary: "as adjust" },
  "new-resource": {
    group: "scripts",
    scope: "resource",
    options: ["log"],
    summary: "start the engine, without disk and peer",
  },
  "new-minor": {
    group: "scripts",
    scope: "resource",
    options: [],
    summary: "nothing more than a running engine: it has its volumes from the configuration",
  },
  "sh-new-minor": { group: "scripts", scope: "resource", options: [], summary: "as new-minor" },
  "check-resize": {
    group: "scripts",
    scope: "volume",
    options: [],
    summary: "check that the metadata lies where the disk's size puts it",
  },
  "wait-con-int": {
    group: "scripts",
    scope: "none",
    options: waitOptions,
    summary: "wait-connect for all resources, until interrupted",
  },
  "sh-nop": { group: "scripts", scope: "ignored", options: [], summary: "check the configuration" },
  "sh-resources": {
    group: "scripts",
    scope: "ignored",
    options: [],
    summary: "print the names of the resources of this host on one line",
  },
  "sh-resource": { group: "scripts", scope: "whole resource", options: [], summary: "print the name of a resource" },
  "sh-mod-parms": {
    group: "scripts",
    scope: "ignored",
    options: [],
    summary: "print the parameters of the kernel module",
  },
  "sh-dev": { group: "scripts", scope: "volume", options: [], summary: "print the device, /dev/drbd0" },
  "sh-udev": {
    group: "scripts",
    scope: "volume",
    options: [],
    summary: "print what udev's rules need to know of a volume",
  },
  "sh-minor": { group: "scripts", scope: "volume", options: [], summary: "print the minor number" },
  "sh-ll-dev": { group: "scripts", scope: "volume", options: [], summary: "print the backing disk" },
  "sh-md-dev": { group: "scripts", scope: "volume", options: [], summary: "print the disk of the metadata" },
  "sh-md-idx": {
    group: "scripts",
    scope: "volume",
    options: [],
    summary: "print where on it: internal, flexible, or the index",
  },
  "sh-ip": { group: "scripts", scope: "volume", options: [], summary: "print this node's address" },
  "sh-lr-of": { group: "scripts", scope: "resource", options: [], summary: "print the resource below a stacked one" },
  "sh-b-pri": {
    group: "scripts",
    scope: "volume",
    options: [],
    summary: "become primary where become-primary-on names this node",
  },
  "sh-status": {
    group: "scripts",
    scope: "volume",
    optional: true,
    options: [],
    summary: "print the state as assignments for a shell",
  },
  "before-resync-target": handler,
  "after-resync-target": handler,
  "before-resync-source": handler,
  "pri-on-incon-degr": handler,
  "pri-lost-after-sb": handler,
  "fence-peer": handler,
  "unfence-peer": handler,
  "local-io-error": handler,
  "pri-lost": handler,
  "initial-split-brain": handler,
  "split-brain": handler,
  "out-of-sync": handler,
  version: { group: "other", scope: "none", options: [], summary: "print the version" },
  help: { group: "other", scope: "none", options: [], summary: "print help; `futago help COMMAND` for one command" },
} as const satisfies Record<string, Verb>;

export type VerbName = keyof typeof verbs;

export const verbNames = Object.keys(verbs) as VerbName[];
export const isVerb = (word: string): word is VerbName => Object.hasOwn(verbs, word);
export const verbOf = (name: VerbName): Verb => verbs[name];
