/**
 * Every option of drbd.conf and futago.conf, one row each: the parser, the range check, the defaults, the dump and
 * the types of the effective configuration derive from these rows. Names, ranges, units and values are DRBD 8.4's
 * (drbd-84 §10.4); the rows of `net`, `disk` and `options` are those that `drbdsetup xml-help` of drbd-utils prints.
 */

/** `ds` is a tenth of a second; `pages` are 4 KiB; `KiB/s` and `sectors` say what a number without a suffix means. */
export type OptionUnit = "count" | "ds" | "seconds" | "KiB/s" | "sectors" | "bytes" | "pages" | "ms";

interface Row {
  /** Name of the option inside `syncer { }` (drbd-84 §10.3). */
  readonly syncer?: string;
  /** Accepted instead of `name`, and replaced by it. */
  readonly alias?: string;
}
export interface NumberRow extends Row {
  readonly kind: "number";
  readonly min: number;
  readonly max: number;
  readonly byDefault: number;
  readonly unit: OptionUnit;
  /** drbdadm leaves this range to the kernel: `dump` accepts any word, `resolve` does not. */
  readonly late?: true;
  /** Out of range is brought into range instead of refused. */
  readonly clamped?: true;
}
export interface BooleanRow extends Row {
  readonly kind: "boolean";
  readonly byDefault: boolean;
  /** Also written `no-<name>;` (8.3). */
  readonly legacyNo?: true;
  /** Accepted and without effect. */
  readonly ignored?: true;
}
/** A boolean that takes no value: `stacked-timeouts;`. */
export interface FlagRow extends Row {
  readonly kind: "flag";
  readonly byDefault: false;
}
export interface OneOfRow extends Row {
  readonly kind: "oneOf";
  readonly values: readonly string[];
  readonly byDefault: string;
  /** Values of the form `<prefix>NAME`. */
  readonly prefix?: string;
  /** The parser refuses other values already, and folds to upper case. */
  readonly early?: true;
}
export interface TextRow extends Row {
  readonly kind: "text";
  readonly byDefault: string;
  /** In bytes of UTF-8. */
  readonly maxLength: number;
  readonly pattern?: RegExp;
}
/** One or more node names. */
export interface NamesRow extends Row {
  readonly kind: "names";
  readonly byDefault: readonly string[];
}
/** `IPV4:PORT` or `ipv6 [IPV6]:PORT`; written several times, all of them count. */
export interface AddressesRow extends Row {
  readonly kind: "addresses";
  readonly byDefault: readonly never[];
}
export type OptionRow = NumberRow | BooleanRow | FlagRow | OneOfRow | TextRow | NamesRow | AddressesRow;
export type OptionRows = Readonly<Record<string, OptionRow>>;

const yes = { kind: "boolean", byDefault: true } as const;
const no = { kind: "boolean", byDefault: false } as const;
const count = { kind: "number", unit: "count" } as const;
const ds = { kind: "number", unit: "ds" } as const;
const seconds = { kind: "number", unit: "seconds" } as const;
const rate = { kind: "number", unit: "KiB/s", max: 4194304 } as const;
const sectors = { kind: "number", unit: "sectors" } as const;
const text = { kind: "text", byDefault: "" } as const;
/** A transform of the kernel's crypto interface; CRYPTO_MAX_ALG_NAME. */
const algorithm = { kind: "text", byDefault: "", maxLength: 63 } as const;
const command = { kind: "text", byDefault: "", maxLength: 255 } as const;

export const globalOptions = {
  "usage-count": { kind: "oneOf", values: ["yes", "no", "ask"], byDefault: "ask" },
  /** 0: not written. */
  "minor-count": { ...count, min: 1, max: 255, byDefault: 0 },
  "dialog-refresh": { ...seconds, min: 0, max: 600, byDefault: 1 },
  "disable-ip-verification": { kind: "flag", byDefault: false },
  "udev-always-use-vnr": { kind: "flag", byDefault: false },
  /** What drbdadm-84 prints only if it differs from 5, 121 and 600. */
  "cmd-timeout-short": { ...seconds, min: 0, max: 900, byDefault: 5 },
  "cmd-timeout-medium": { ...seconds, min: 0, max: 900, byDefault: 600 },
  "cmd-timeout-long": { ...seconds, min: 0, max: 900, byDefault: 0 },
} as const satisfies OptionRows;

export const resourceOptions = {
  "cpu-mask": { ...text, syncer: "cpu-mask", maxLength: 31, pattern: /^[\da-fA-F,]*$/ },
  "on-no-data-accessible": {
    kind: "oneOf",
    values: ["io-error", "suspend-io"],
    byDefault: "io-error",
    syncer: "on-no-data-accessible",
  },
} as const satisfies OptionRows;

export const netOptions = {
  protocol: { kind: "oneOf", values: ["A", "B", "C"], byDefault: "C", early: true },
  timeout: { ...ds, min: 1, max: 600, byDefault: 60 },
  "max-epoch-size": { ...count, min: 1, max: 20000, byDefault: 2048 },
  "max-buffers": { kind: "number", unit: "pages", min: 32, max: 131072, byDefault: 2048 },
  "unplug-watermark": { ...count, min: 1, max: 131072, byDefault: 128, late: true },
  "connect-int": { ...seconds, min: 1, max: 120, byDefault: 10 },
  "ping-int": { ...seconds, min: 1, max: 120, byDefault: 10 },
  "sndbuf-size": { kind: "number", unit: "bytes", min: 0, max: 10485760, byDefault: 0 },
  "rcvbuf-size": { kind: "number", unit: "bytes", min: 0, max: 10485760, byDefault: 0 },
  "ko-count": { ...count, min: 0, max: 200, byDefault: 7 },
  "allow-two-primaries": no,
  "cram-hmac-alg": algorithm,
  /** SHARED_SECRET_MAX. */
  "shared-secret": { ...text, maxLength: 64 },
  "after-sb-0pri": {
    kind: "oneOf",
    values: [
      "disconnect",
      "discard-younger-primary",
      "discard-older-primary",
      "discard-zero-changes",
      "discard-least-changes",
      "discard-local",
      "discard-remote",
    ],
    byDefault: "disconnect",
    prefix: "discard-node-",
  },
  "after-sb-1pri": {
    kind: "oneOf",
    values: ["disconnect", "consensus", "discard-secondary", "call-pri-lost-after-sb", "violently-as0p"],
    byDefault: "disconnect",
  },
  "after-sb-2pri": {
    kind: "oneOf",
    values: ["disconnect", "call-pri-lost-after-sb", "violently-as0p"],
    byDefault: "disconnect",
  },
  "always-asbp": no,
  "rr-conflict": { kind: "oneOf", values: ["disconnect", "call-pri-lost", "violently"], byDefault: "disconnect" },
  "ping-timeout": { ...ds, min: 1, max: 300, byDefault: 5, late: true },
  "data-integrity-alg": algorithm,
  "tcp-cork": { ...yes, legacyNo: true },
  "on-congestion": { kind: "oneOf", values: ["block", "pull-ahead", "disconnect"], byDefault: "block" },
  "congestion-fill": { ...sectors, min: 0, max: 20971520, byDefault: 0 },
  "congestion-extents": { ...count, min: 67, max: 65534, byDefault: 1237 },
  "csums-alg": { ...algorithm, syncer: "csums-alg" },
  "csums-after-crash-only": no,
  "verify-alg": { ...algorithm, syncer: "verify-alg" },
  "use-rle": { ...yes, syncer: "use-rle" },
  "socket-check-timeout": { ...ds, min: 0, max: 300, byDefault: 0, late: true },
} as const satisfies OptionRows;

export const diskOptions = {
  /** 0: the size of the smaller disk. */
  size: { ...sectors, min: 0, max: 2199023255552, byDefault: 0 },
  "max-bio-bvecs": { ...count, min: 0, max: 128, byDefault: 0, late: true },
  "on-io-error": { kind: "oneOf", values: ["pass_on", "call-local-io-error", "detach"], byDefault: "detach" },
  fencing: { kind: "oneOf", values: ["dont-care", "resource-only", "resource-and-stonith"], byDefault: "dont-care" },
  "disk-barrier": { ...no, legacyNo: true },
  "disk-flushes": { ...yes, legacyNo: true },
  "disk-drain": { ...yes, legacyNo: true },
  "md-flushes": { ...yes, legacyNo: true },
  "use-bmbv": { ...no, ignored: true },
  "resync-rate": { ...rate, min: 1, byDefault: 250, syncer: "rate" },
  /** `RESOURCE` or `RESOURCE/VOLUME`; a minor number on the wire. */
  "resync-after": { ...text, maxLength: 255, syncer: "after" },
  "al-extents": { ...count, min: 67, max: 65534, byDefault: 1237, late: true, clamped: true, syncer: "al-extents" },
  "al-updates": yes,
  "discard-zeroes-if-aligned": yes,
  "disable-write-same": no,
  "c-plan-ahead": { ...ds, min: 0, max: 300, byDefault: 20, syncer: "c-plan-ahead" },
  "c-delay-target": { ...ds, min: 1, max: 100, byDefault: 10, syncer: "c-delay-target" },
  "c-fill-target": { ...sectors, min: 0, max: 1048576, byDefault: 100, syncer: "c-fill-target" },
  "c-max-rate": { ...rate, min: 250, byDefault: 102400, syncer: "c-max-rate" },
  "c-min-rate": { ...rate, min: 0, byDefault: 250, syncer: "c-min-rate" },
  "disk-timeout": { ...ds, min: 0, max: 6000, byDefault: 0, late: true },
  "read-balancing": {
    kind: "oneOf",
    values: [
      "prefer-local",
      "prefer-remote",
      "round-robin",
      "least-pending",
      "when-congested-remote",
      "32K-striping",
      "64K-striping",
      "128K-striping",
      "256K-striping",
      "512K-striping",
      "1M-striping",
    ],
    byDefault: "prefer-local",
  },
  "rs-discard-granularity": { kind: "number", unit: "bytes", min: 0, max: 1048576, byDefault: 0, late: true },
} as const satisfies OptionRows;

export const startupOptions = {
  /** 0 waits for ever, here and in the next two. */
  "wfc-timeout": { ...seconds, min: 0, max: 300000, byDefault: 0 },
  "degr-wfc-timeout": { ...seconds, min: 0, max: 300000, byDefault: 0 },
  "outdated-wfc-timeout": { ...seconds, min: 0, max: 300000, byDefault: 0 },
  "wait-after-sb": no,
  "stacked-timeouts": { kind: "flag", byDefault: false },
  "become-primary-on": { kind: "names", byDefault: [] },
} as const satisfies OptionRows;

/** Commands run on an event (drbd-84 §10.9); empty: none. */
export const handlerOptions = {
  "pri-on-incon-degr": command,
  "pri-lost-after-sb": command,
  "pri-lost": command,
  "fence-peer": { ...command, alias: "outdate-peer" },
  "unfence-peer": command,
  "local-io-error": command,
  "initial-split-brain": command,
  "split-brain": command,
  "before-resync-target": command,
  "after-resync-target": command,
  "before-resync-source": command,
  "out-of-sync": command,
} as const satisfies OptionRows;

/** DRBD Proxy: parsed and dumped, of no effect here. */
export const proxyOptions = {
  memlimit: command,
  "read-loops": command,
  compression: command,
  bwlimit: command,
  "sndbuf-size": command,
  "rcvbuf-size": command,
  "ping-timeout": command,
} as const satisfies OptionRows;

/** 8.3 options that every section but `syncer` swallows together with their value. */
export const ignoredOptions = [
  "delay-probe-volume",
  "delay-probe-interval",
  "throttle-threshold",
  "hold-off-threshold",
] as const;

/** The sections of `resource` and `common` that hold options. */
export const drbdSections = {
  options: resourceOptions,
  net: netOptions,
  disk: diskOptions,
  startup: startupOptions,
  proxy: proxyOptions,
  handlers: handlerOptions,
} as const satisfies Readonly<Record<string, OptionRows>>;
export type SectionName = keyof typeof drbdSections;

/** Nothing listens unless it is written. */
const listen = { kind: "addresses", byDefault: [] } as const;

/**
 * Sections of futago.conf. Those of the node process, `metrics` and `web`, stand in `global`, the others in `common`
 * and `resource`; the options of `resource` itself stand there directly.
 */
export const futagoSections = {
  resource: {
    io: { kind: "oneOf", values: ["direct", "buffered"], byDefault: "direct" },
    /** Peer control over TLS with a key derived from the shared secret. */
    tls: no,
    /** Application write latency that resync makes way for; 0: no target. */
    "resync-latency-target": { kind: "number", unit: "ms", min: 0, max: 60000, byDefault: 0 },
    "slab-max": { kind: "number", unit: "bytes", min: 4194304, max: 4294967296, byDefault: 33554432 },
  },
  nbd: {
    /** TCP, besides the Unix socket that is always there. */
    listen,
    tls: no,
  },
  "verify-continuous": {
    /** 0: off. */
    rate: { kind: "number", unit: "KiB/s", min: 0, max: 4194304, byDefault: 0 },
  },
  journal: {
    /** Of all segments of one resource together; 0: no journal. */
    size: { kind: "number", unit: "bytes", min: 0, max: 1073741824, byDefault: 33554432 },
  },
  metrics: { listen },
  web: { listen },
} as const satisfies Readonly<Record<string, OptionRows>>;
export type FutagoSectionName = keyof typeof futagoSections;

/** What one unit of an unsuffixed number is worth: bytes for sizes and rates, 1 for plain numbers. */
export type UnitFactor = 1 | 512 | 1024;
export const unitFactor = (unit: OptionUnit): UnitFactor => (unit === "KiB/s" ? 1024 : unit === "sectors" ? 512 : 1);

/** `0..1048576 sectors`, as refusals and help print it. */
export const showRange = (row: NumberRow): string =>
  `${row.min}..${row.max}${row.unit === "count" ? "" : ` ${row.unit}`}`;

/** Where an option word leads: to a row, to the `no-` form of one, or to nothing. */
export interface Lookup {
  readonly section: SectionName;
  readonly name: string;
  readonly row: OptionRow;
  readonly negated: boolean;
}

const bySection = new Map<string, ReadonlyMap<string, Lookup>>();
const syncer = new Map<string, Lookup>();
for (const section of Object.keys(drbdSections) as SectionName[]) {
  const words = new Map<string, Lookup>();
  for (const [name, row] of Object.entries<OptionRow>(drbdSections[section])) {
    const lookup = { section, name, row, negated: false };
    words.set(name, lookup);
    if (row.alias !== undefined) words.set(row.alias, lookup);
    if (row.kind === "boolean" && row.legacyNo) words.set(`no-${name}`, { ...lookup, negated: true });
    if (row.syncer !== undefined) syncer.set(row.syncer, lookup);
  }
  bySection.set(section, words);
}
bySection.set("syncer", syncer);

const none: ReadonlyMap<string, Lookup> = new Map();
/** Words a section of drbd.conf accepts, `syncer` included. */
export const wordsOf = (section: SectionName | "syncer"): ReadonlyMap<string, Lookup> => bySection.get(section) ?? none;

const grammarWords =
  `global common resource skip include options net disk startup handlers proxy syncer protocol on ignore-on floating
  stacked-on-top-of volume device minor meta-disk flexible-meta-disk address alternate-link-address ipv4 ipv6 sdp ssocks sci
  inside outside plugin yes no ask discard-my-data _this_host _remote_host`.split(/\s+/);

/** Words with a meaning, which therefore cannot name a resource, a node or a disk unless quoted. */
export const keywords: ReadonlySet<string> = new Set([
  ...grammarWords,
  ...Object.keys(globalOptions),
  ...ignoredOptions,
  ...[...bySection.values()].flatMap((words) => [...words.keys()]),
]);
