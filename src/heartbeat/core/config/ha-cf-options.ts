/**
 * Every directive of ha.cf, one row each (heartbeat §13): the parser, the range check, the defaults and the types of
 * the values derive from these rows. Directives that hold more than one value are rows of kind `line`; what they hold
 * is described in ha-cf.ts.
 */
import { type Milliseconds, ms, seconds } from "../../../core/units.ts";

interface Row {
  /** Another name for the same directive, which takes its place. */
  readonly aliasOf?: string;
  /** Read, checked, and of no effect here. */
  readonly ignored?: true;
}
export interface TimeRow extends Row {
  readonly kind: "time";
  readonly min: Milliseconds;
  /** `derived`: from deadtime, where it is not written. */
  readonly byDefault: Milliseconds | "derived";
}
export interface NumberRow extends Row {
  readonly kind: "number";
  readonly min: number;
  readonly max: number;
  readonly byDefault: number;
  /** Other values are refused although they lie between `min` and `max`. */
  readonly oneOf?: readonly number[];
}
export interface BooleanRow extends Row {
  readonly kind: "boolean";
  readonly byDefault: boolean;
}
export interface OneOfRow extends Row {
  readonly kind: "oneOf";
  readonly values: readonly string[];
  readonly byDefault: string;
  /** True and false words stand for these two of the values. */
  readonly booleans?: readonly [string, string];
}
export interface TextRow extends Row {
  readonly kind: "text";
  /** Empty: none. */
  readonly byDefault: string;
}
/** `words`: the words after the directive are applied one by one; `rest`: they belong together. */
export interface LineRow extends Row {
  readonly kind: "line";
  readonly form: "words" | "rest";
  readonly holds: string;
}
export type HaCfRow = TimeRow | NumberRow | BooleanRow | OneOfRow | TextRow | LineRow;

const time = { kind: "time", min: ms(1) } as const;
const yes = { kind: "boolean", byDefault: true } as const;
const no = { kind: "boolean", byDefault: false } as const;
const text = { kind: "text", byDefault: "" } as const;
const words = { kind: "line", form: "words" } as const;
const rest = { kind: "line", form: "rest" } as const;

const syslogFacilities = [
  ...["none", "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "security", "syslog"],
  ...["user", "uucp", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
] as const;

/** UDP port of heartbeat at IANA, `ha-cluster`. */
export const HA_PORT = 694;

const crm = {
  kind: "oneOf",
  values: ["yes", "no", "respawn", "manual", "minimal", "ccm-only", "valgrind"],
  byDefault: "no",
  booleans: ["yes", "no"],
} as const;

/** Directives with one value; the last one written counts. */
export const haCfScalars = {
  keepalive: { ...time, byDefault: seconds(1) },
  deadtime: { ...time, byDefault: seconds(30) },
  /** deadtime / 2. */
  warntime: { ...time, byDefault: "derived" },
  /** deadtime above 10 s; 12 s for a deadtime below 6 s; else twice the deadtime. */
  initdead: { ...time, byDefault: "derived" },
  /** deadtime. */
  deadping: { ...time, byDefault: "derived" },
  udpport: { kind: "number", min: 1, max: 65535, byDefault: HA_PORT },
  auto_failback: { kind: "oneOf", values: ["on", "off", "legacy"], byDefault: "legacy", booleans: ["on", "off"] },
  /** Obsolete. */
  nice_failback: { ...no },
  watchdog: text,
  crm,
  pacemaker: { ...crm, aliasOf: "crm" },
  debug: { kind: "number", min: 0, max: 255, byDefault: 0 },
  debugfile: text,
  logfile: text,
  /** Empty where it is not written; `none` switches syslog off. */
  logfacility: { kind: "oneOf", values: ["", ...syslogFacilities], byDefault: "" },
  use_logd: no,
  conn_logd_time: { ...time, byDefault: seconds(60), ignored: true },
  syslogmsgfmt: yes,
  msgfmt: { kind: "oneOf", values: ["classic", "netstring"], byDefault: "classic" },
  compression: { kind: "oneOf", values: ["zlib", "bz2"], byDefault: "zlib" },
  /** KiB. */
  compression_threshold: { kind: "number", min: 1, max: 2048, byDefault: 2 },
  traditional_compression: no,
  realtime: yes,
  /** 0, where not written: the middle of the system's range. */
  rtprio: { kind: "number", min: 1, max: 99, byDefault: 0 },
  /** KiB. */
  memreserve: { kind: "number", min: 0, max: 1_048_576, byDefault: 6500, ignored: true },
  hopfudge: { kind: "number", min: 0, max: 255, byDefault: 1 },
  hbgenmethod: { kind: "oneOf", values: ["file", "time"], byDefault: "file" },
  uuidfrom: { kind: "oneOf", values: ["file", "nodename"], byDefault: "file" },
  autojoin: { kind: "oneOf", values: ["none", "other", "any"], byDefault: "none" },
  /** Milliseconds, written without a unit. */
  max_rexmit_delay: { kind: "number", min: 1, max: 60_000, byDefault: 250 },
  log_badpack: yes,
  coredumps: { ...yes, ignored: true },
  coreroot: { ...text, ignored: true },
  cluster: { ...text, byDefault: "linux-ha" },
  baud: {
    kind: "number",
    min: 9600,
    max: 460_800,
    byDefault: 19_200,
    oneOf: [9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800],
    ignored: true,
  },
  quorum_server: { ...text, ignored: true },
  use_apphbd: { ...no, ignored: true },
  normalpoll: { ...yes, ignored: true },
  crm_daemon_dir: { ...text, ignored: true },
  crmd_spawns_pengine: { ...yes, ignored: true },
  record_config_changes: { ...yes, ignored: true },
  record_pengine_inputs: { ...yes, ignored: true },
  enable_config_writes: { ...yes, ignored: true },
} as const satisfies Readonly<Record<string, Exclude<HaCfRow, LineRow>>>;

/** Directives that add to a list. */
export const haCfLines = {
  node: { ...words, holds: "NAME…" },
  bcast: { ...words, holds: "INTERFACE…" },
  udp: { ...words, holds: "INTERFACE…", aliasOf: "bcast" },
  ucast: { ...rest, holds: "INTERFACE IPV4" },
  ucast6: { ...rest, holds: "INTERFACE IPV6" },
  mcast: { ...rest, holds: "INTERFACE GROUP PORT TTL LOOP" },
  mcast6: { ...rest, holds: "INTERFACE GROUP PORT HOPS LOOP" },
  serial: { ...words, holds: "DEVICE…", ignored: true },
  ping: { ...words, holds: "ADDRESS…" },
  ping6: { ...words, holds: "ADDRESS…" },
  ping_group: { ...rest, holds: "NAME ADDRESS…" },
  hbaping: { ...words, holds: "CARD…", ignored: true },
  stonith: { ...rest, holds: "TYPE CONFIGFILE" },
  stonith_host: { ...rest, holds: "HOST|* TYPE PARAMETER…" },
  respawn: { ...rest, holds: "USER COMMAND ARGUMENT…" },
  failfast: { ...rest, holds: "USER COMMAND ARGUMENT…" },
  apiauth: { ...rest, holds: "NAME [uid=LIST] [gid=LIST]" },
  env: { ...words, holds: "NAME=VALUE" },
} as const satisfies Readonly<Record<string, LineRow>>;

export type HaCfScalar = keyof typeof haCfScalars;
export type HaCfLine = keyof typeof haCfLines;

export const haCfDirectives: readonly string[] = [...Object.keys(haCfScalars), ...Object.keys(haCfLines)];

type ValueOf<R extends HaCfRow> = R extends { kind: "time" }
  ? Milliseconds
  : R extends { kind: "number" }
    ? number
    : R extends { kind: "boolean" }
      ? boolean
      : R extends { kind: "oneOf"; values: readonly (infer Value)[] }
        ? Value
        : string;

/** Every directive with one value, under its own name; an alias under the name it stands for. */
export type HaCfValues = {
  readonly [Name in Exclude<HaCfScalar, "pacemaker" | "nice_failback">]: ValueOf<(typeof haCfScalars)[Name]>;
};
