/**
 * Words of heartbeat's files as exact values: times and booleans of ha.cf (heartbeat §13), and scores and durations
 * of cib.xml (heartbeat §18.2).
 */
import { type Milliseconds, ms } from "../../../core/units.ts";

const trueWords = ["true", "on", "yes", "y", "1"];
const falseWords = ["false", "off", "no", "n", "0"];

/** Either case, as heartbeat and the CRM read it. */
export const booleanWords: readonly string[] = [...trueWords, ...falseWords];

/** Undefined where `text` is no boolean. */
export function parseBoolean(text: string): boolean | undefined {
  const word = text.toLowerCase();
  if (trueWords.includes(word)) return true;
  return falseWords.includes(word) ? false : undefined;
}

const haCfUnits: Readonly<Record<string, number>> = { "": 1000, ms: 1, msec: 1, us: 0.001, usec: 0.001 };

/** What a time of ha.cf may look like, for messages. */
export const haCfTimeForms = ["SECONDS", "MILLISECONDSms", "MICROSECONDSus"] as const;

/** A time of ha.cf: seconds unless `ms` or `us` follows; rounds to the nearest millisecond, as heartbeat does. */
export function parseHaCfTime(text: string): Milliseconds | undefined {
  return scaled(text, haCfUnits);
}

const cibUnits: Readonly<Record<string, number>> = {
  "": 1000,
  us: 0.001,
  usec: 0.001,
  ms: 1,
  msec: 1,
  s: 1000,
  sec: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  hr: 3_600_000,
};

/** What a duration of cib.xml may look like, for messages. */
export const cibTimeForms = ["SECONDS", "Nms", "Ns", "Nmin", "Nh", "PT…"] as const;

/** A duration of cib.xml: seconds unless a unit follows; `PT1H30M` too. Rounds to the nearest millisecond. */
export function parseCibTime(text: string): Milliseconds | undefined {
  return scaled(text, cibUnits) ?? parseIsoDuration(text);
}

const isoDuration = /^P(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9})S)?)?$/;

function parseIsoDuration(text: string): Milliseconds | undefined {
  const match = isoDuration.exec(text);
  if (match === null || text.endsWith("P") || text.endsWith("T")) return undefined;
  const [days, hours, minutes, seconds] = match.slice(1).map((digits) => Number(digits ?? 0));
  return ms((((days ?? 0) * 24 + (hours ?? 0)) * 60 + (minutes ?? 0)) * 60_000 + (seconds ?? 0) * 1000);
}

function scaled(text: string, units: Readonly<Record<string, number>>): Milliseconds | undefined {
  const match = /^(\d{1,12}(?:\.\d{0,9})?|\.\d{1,9})[ \t]*([a-z]*)$/i.exec(text);
  if (match === null) return undefined;
  const unit = (match[2] ?? "").toLowerCase();
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (factor === undefined) return undefined;
  return ms(Math.round(Number(match[1]) * factor));
}

/** The CRM's score of infinity: everything at or above it is the same. */
export const INFINITY = 1_000_000;

/** A score of cib.xml: an integer, `INFINITY`, `+INFINITY` or `-INFINITY`; held within ±INFINITY. */
export function parseScore(text: string): number | undefined {
  if (/^\+?INFINITY$/i.test(text)) return INFINITY;
  if (/^-INFINITY$/i.test(text)) return -INFINITY;
  if (!/^[+-]?\d{1,15}$/.test(text)) return undefined;
  return Math.max(-INFINITY, Math.min(INFINITY, Number(text)));
}

/** As cib.xml writes it. */
export function showScore(score: number): string {
  if (score >= INFINITY) return "INFINITY";
  return score <= -INFINITY ? "-INFINITY" : `${score}`;
}

/** A whole decimal number within a range; undefined otherwise. */
export function parseCount(text: string, min: number, max: number): number | undefined {
  if (!/^[+-]?\d{1,15}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}
