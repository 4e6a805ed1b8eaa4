/** `futago journal RES`: the flight recorder, for people or as JSON lines. */
import { setTimeout as delay } from "node:timers/promises";
import { type JournalDamage, type JournalRecord, readJournal } from "../engine/journal-format.ts";
import type { ResourcePaths } from "../engine/run-paths.ts";
import { dateOf } from "../node/clock.ts";
import type { Session } from "./context.ts";
import type { ExitName } from "./exit-codes.ts";

const FOLLOW_MS = 500;

type Entry = JournalRecord | JournalDamage;
const isDamage = (entry: Entry): entry is JournalDamage => "segment" in entry && "offset" in entry;

/** msgpack gives what JSON cannot hold: UUIDs as bigint, bytes. */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString(16).toUpperCase().padStart(16, "0");
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}

/** One line for one entry. */
export function entryText(entry: Entry, json: boolean): string {
  if (isDamage(entry)) {
    return json
      ? JSON.stringify({ kind: "damage", ...entry })
      : `# ${entry.segment} at byte ${entry.offset}: ${entry.reason}`;
  }
  const { time, kind, ...fields } = entry;
  const when = dateOf(time).toISOString();
  if (json) return JSON.stringify({ time: when, kind, ...fields }, jsonValue);
  const words = Object.entries(fields).map(([name, value]) => {
    const shown = typeof value === "string" && /^[\w./:>+-]+$/.test(value) ? value : JSON.stringify(value, jsonValue);
    return `${name}:${typeof value === "bigint" ? jsonValue("", value) : shown}`;
  });
  return [when, kind, ...words].join(" ");
}

async function entriesOf(paths: ResourcePaths): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const entry of readJournal(paths.journal)) entries.push(entry);
  return entries;
}

/** Exits as `configuration` if there is no journal. */
export async function journalVerb(session: Session, resource: string, paths: ResourcePaths): Promise<ExitName> {
  const { json, lines, follow } = session.given;
  const print = (entry: Entry): void => session.out(`${entryText(entry, json ?? false)}\n`);
  let entries = await entriesOf(paths);
  if (entries.length === 0 && !follow) {
    session.err(`${resource}: no journal in ${paths.journal}\n`);
    return "configuration";
  }
  for (const entry of lines === undefined ? entries : entries.slice(entries.length - Math.min(lines, entries.length)))
    print(entry);
  let last = lastRecord(entries);
  while (follow && !session.interrupted.aborted) {
    await delay(FOLLOW_MS, undefined, { signal: session.interrupted }).catch(() => {});
    entries = await entriesOf(paths);
    for (const record of newerThan(entries, last)) print(record);
    last = lastRecord(entries) ?? last;
  }
  return "ok";
}

const recordsOf = (entries: readonly Entry[]): JournalRecord[] =>
  entries.filter((entry): entry is JournalRecord => !isDamage(entry));
const lastRecord = (entries: readonly Entry[]): JournalRecord | undefined => recordsOf(entries).at(-1);

/** Records behind the one equal to `last`; old segments may have been deleted meanwhile, so positions say nothing. */
function newerThan(entries: readonly Entry[], last: JournalRecord | undefined): readonly JournalRecord[] {
  const records = recordsOf(entries);
  if (last === undefined) return records;
  const text = entryText(last, true);
  const at = records.findLastIndex((record) => record.time === last.time && entryText(record, true) === text);
  return records.slice(at + 1);
}
