import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type JournalOptions, openJournal } from "../../../src/engine/journal.ts";
import {
  type JournalDamage,
  type JournalRecord,
  parseSegment,
  readJournal,
  segmentName,
} from "../../../src/engine/journal-format.ts";

function folderFor(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), "futago-journal-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "journal");
}

interface Options extends Partial<JournalOptions> {
  readonly warnings?: string[];
}

const journalIn = (folder: string, { warnings = [], ...change }: Options = {}) =>
  openJournal({ folder, now: () => 1706698800000, onWarning: (text) => warnings.push(text), ...change });

async function read(folder: string): Promise<{ records: JournalRecord[]; damages: JournalDamage[] }> {
  const records: JournalRecord[] = [];
  const damages: JournalDamage[] = [];
  for await (const entry of readJournal(folder)) {
    if ("offset" in entry && "segment" in entry) damages.push(entry as JournalDamage);
    else records.push(entry as JournalRecord);
  }
  return { records, damages };
}

test("what is appended is read back in order, with its time, 64-bit UUIDs and nested values", async (t) => {
  const folder = folderFor(t);
  const journal = journalIn(folder);
  journal.append("role", { from: "Secondary", to: "Primary" });
  journal.append("uuid", { current: 0xfedcba9876543210n, history: [1n, 2n] });
  await journal.close();
  const { records, damages } = await read(folder);
  t.deepEqual(damages, []);
  t.is(records.length, 2);
  t.like(records[0], { time: 1706698800000, kind: "role", from: "Secondary", to: "Primary" });
  t.is(records[1]?.["current"], 0xfedcba9876543210n);
});

test("a value msgpack cannot hold becomes its text, the record is kept", async (t) => {
  const folder = folderFor(t);
  const journal = journalIn(folder);
  journal.append("odd", { value: 2n ** 100n });
  await journal.close();
  t.like((await read(folder)).records[0], { kind: "odd", value: String(2n ** 100n) });
});

test("recovery: cut at every byte, all records before the cut are read and writing goes on", async (t) => {
  const folder = folderFor(t);
  const first = journalIn(folder);
  for (let n = 0; n < 5; n++) first.append("note", { n, text: "x".repeat(n * 3) });
  await first.close();
  const whole = readFileSync(join(folder, segmentName(1)));
  const ends = recordEnds(whole);
  t.is(ends.length, 5);
  for (let cut = 0; cut <= whole.length; cut++) {
    const torn = `${folder}-${cut}`;
    mkdirSync(torn);
    writeFileSync(join(torn, segmentName(1)), whole.subarray(0, cut));
    const before = ends.filter((end) => end <= cut).length;
    const journal = journalIn(torn);
    journal.append("after", { cut });
    await journal.close();
    const { records, damages } = await read(torn);
    t.deepEqual(
      records.map((record) => record["n"] ?? record.kind),
      [...Array.from({ length: before }, (_, n) => n), "after"],
      `cut at ${cut}`,
    );
    const clean = cut === 8 || ends.includes(cut);
    t.is(damages.length, clean ? 0 : 1, `cut at ${cut}`);
  }
});

/** Ends of the records, walked by their length fields as the format says. */
function recordEnds(segment: Buffer): number[] {
  const ends: number[] = [];
  for (let at = 8; at < segment.length; ) {
    at += 8 + segment.readUInt32LE(at);
    ends.push(at);
  }
  return ends;
}

test("a flipped bit anywhere is found: no record is invented, none before it is lost", async (t) => {
  const folder = folderFor(t);
  const journal = journalIn(folder);
  for (let n = 0; n < 3; n++) journal.append("note", { n });
  await journal.close();
  const whole = readFileSync(join(folder, segmentName(1)));
  const ends = recordEnds(whole);
  for (let at = 0; at < whole.length; at++) {
    const bad = Buffer.from(whole);
    bad.writeUInt8(bad.readUInt8(at) ^ 0x10, at);
    const { records, damage } = parseSegment("x", bad);
    t.not(damage, undefined, `byte ${at}`);
    t.deepEqual(
      records.map((record) => record["n"]),
      at < 8 ? [] : ends.flatMap((end, n) => (end <= at ? [n] : [])),
    );
  }
});

test("what a crash left is evidence: the torn segment stays as it is, writing goes on in a new one", async (t) => {
  const folder = folderFor(t);
  const one = journalIn(folder);
  one.append("note", { n: 1 });
  await one.close();
  appendFileSync(join(folder, segmentName(1)), Buffer.from([9, 9, 9]));
  const size = statSync(join(folder, segmentName(1))).size;
  const two = journalIn(folder);
  two.append("note", { n: 2 });
  await two.close();
  t.is(statSync(join(folder, segmentName(1))).size, size);
  t.deepEqual(readdirSync(folder).sort(), [segmentName(1), segmentName(2)]);
});

test("the journal is bounded: eight segments, the oldest goes, every segment within its size", async (t) => {
  const folder = folderFor(t);
  const journal = journalIn(folder, { segmentBytes: 4096 });
  for (let n = 0; n < 600; n++) {
    journal.append("note", { n, text: "y".repeat(80) });
    if (n % 50 === 0) await journal.flush();
  }
  await journal.close();
  const names = readdirSync(folder);
  t.is(names.length, 8);
  for (const name of names) t.true(statSync(join(folder, name)).size <= 4096);
  const numbers = (await read(folder)).records.map((record) => record["n"] as number);
  t.is(numbers.at(-1), 599);
  t.deepEqual(
    numbers,
    Array.from({ length: numbers.length }, (_, i) => 600 - numbers.length + i),
    "no gap",
  );
});

test("a folder that cannot be written: one warning, nothing thrown, and the loss is told when it can again", async (t) => {
  const folder = folderFor(t);
  // A file where the folder should be: fails also for root.
  writeFileSync(folder, "");
  const warnings: string[] = [];
  const journal = journalIn(folder, { warnings, retryMs: 0 });
  for (let n = 0; n < 3; n++) {
    journal.append("role", { n });
    await journal.flush();
  }
  t.is(warnings.length, 1);
  t.regex(warnings[0] ?? "", /records are lost, nothing else is affected/);
  rmSync(folder);
  journal.append("role", { n: 3 });
  await journal.close();
  const { records } = await read(folder);
  t.like(records[0], { kind: "lost", records: 3 });
  t.like(records[1], { kind: "role", n: 3 });
});

test("more than can wait for the disk is dropped and counted, never kept in memory", async (t) => {
  const folder = folderFor(t);
  const warnings: string[] = [];
  const journal = journalIn(folder, { warnings });
  // Appended in one turn, so that nothing can be written between: 1 MiB against room for a quarter of it.
  for (let n = 0; n < 256; n++) journal.append("note", { n, text: "z".repeat(4096) });
  await journal.flush();
  journal.append("note", { n: "last" });
  await journal.close();
  const { records } = await read(folder);
  const lost = records.find((record) => record.kind === "lost");
  const kept = records.filter((record) => record.kind === "note").length;
  t.is(warnings.length, 1);
  t.is(kept - 1 + Number(lost?.["records"]), 256);
  t.true(kept < 70);
});

test("a journal that is not there is empty, and other files in its folder are not segments", async (t) => {
  const folder = folderFor(t);
  t.deepEqual(await read(folder), { records: [], damages: [] });
  mkdirSync(folder);
  writeFileSync(join(folder, "README"), "x");
  t.deepEqual(await read(folder), { records: [], damages: [] });
});
