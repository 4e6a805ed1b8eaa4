/**
 * The engine's log on stderr, in DRBD's wording: `drbd r0: conn( Unconnected -> WFConnection )`,
 * `block drbd0: disk( Diskless -> Attaching )`. `--log json` writes the same as one JSON object per line.
 */
import type { ConnectionName, DiskName, RoleName } from "../core/status.ts";
import { dateOf } from "../node/clock.ts";

/** The kernel's levels that DRBD uses; the number is syslog's, which journald reads from a `<6>` before the line. */
export const logLevels = { error: 3, warning: 4, notice: 5, info: 6, debug: 7 } as const;
export type LogLevel = keyof typeof logLevels;
export const logFormats = ["text", "json"] as const;
export type LogFormat = (typeof logFormats)[number];

/** What a line is about: the resource, or one of its volumes. */
export interface LogSubject {
  readonly resource: string;
  readonly minor?: number;
}

export type Log = (level: LogLevel, subject: LogSubject, text: string) => void;

export interface LogOptions {
  readonly format: LogFormat;
  /** Lines less important than this are left out. */
  readonly least: LogLevel;
  /** Gets one line, with its newline. */
  write(line: string): void;
  now(): Date;
  /** Standard error goes to journald, which has clock and level of its own. */
  readonly journald: boolean;
}

/** Options for this process: stderr, the system's clock, and journald if systemd says that stderr is its stream. */
export function stderrLogOptions(format: LogFormat, least: LogLevel = "info"): LogOptions {
  return {
    format,
    least,
    write: (line) => void process.stderr.write(line),
    now: () => dateOf(),
    journald: process.env["JOURNAL_STREAM"] !== undefined,
  };
}

/** A log that never throws: a full disk or a closed pipe behind stderr must not stop I/O. */
export function createLog(options: LogOptions): Log {
  return (level, subject, text) => {
    if (logLevels[level] > logLevels[options.least]) return;
    const lines =
      options.format === "json" ? jsonLine(options, level, subject, text) : textLines(options, level, subject, text);
    try {
      options.write(lines);
    } catch {
      // Nowhere left to say it.
    }
  };
}

const prefixOf = (subject: LogSubject): string =>
  subject.minor === undefined ? `drbd ${subject.resource}: ` : `block drbd${subject.minor}: `;

/** A text of several lines becomes several lines with the prefix, so that no line can pass for another subject's. */
function textLines(options: LogOptions, level: LogLevel, subject: LogSubject, text: string): string {
  const head = options.journald ? `<${logLevels[level]}>` : `${options.now().toISOString()} `;
  return text
    .split("\n")
    .map((line) => `${head}${prefixOf(subject)}${line}\n`)
    .join("");
}

function jsonLine(options: LogOptions, level: LogLevel, subject: LogSubject, text: string): string {
  const { resource, minor } = subject;
  return `${JSON.stringify({ time: options.now().toISOString(), level, resource, minor, text })}\n`;
}

/** The parts of a state that DRBD logs, in its order. Undefined fields are not compared. */
export interface LoggedState {
  readonly peer?: RoleName;
  readonly role?: RoleName;
  readonly conn?: ConnectionName;
  readonly disk?: DiskName;
  readonly pdsk?: DiskName;
  readonly susp?: boolean;
}

const loggedFields = ["role", "peer", "conn", "disk", "pdsk", "susp"] as const;

/** `conn( WFReportParams -> Connected ) pdsk( DUnknown -> UpToDate )`, or an empty text if nothing of it changed. */
export function stateChangeText(before: LoggedState, after: LoggedState): string {
  const show = (value: string | boolean | undefined): string =>
    typeof value === "boolean" ? String(Number(value)) : String(value);
  return loggedFields
    .filter((field) => before[field] !== undefined && after[field] !== undefined && before[field] !== after[field])
    .map((field) => `${field}( ${show(before[field])} -> ${show(after[field])} )`)
    .join(" ");
}
