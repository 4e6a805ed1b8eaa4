import test from "ava";
import { createLog, type LogOptions, stateChangeText } from "../../../src/engine/log.ts";

function logTo(lines: string[], change: Partial<LogOptions> = {}) {
  return createLog({
    format: "text",
    least: "info",
    write: (line) => lines.push(line),
    now: () => new Date(Date.UTC(2024, 0, 31, 11, 0, 0)),
    journald: false,
    ...change,
  });
}

test("a line has the kernel's prefix: the resource's, or its device's", (t) => {
  const lines: string[] = [];
  const log = logTo(lines);
  log("info", { resource: "r0" }, "conn( Unconnected -> WFConnection )");
  log("error", { resource: "r0", minor: 7 }, "disk( UpToDate -> Failed )");
  t.deepEqual(lines, [
    "2024-01-31T11:00:00.000Z drbd r0: conn( Unconnected -> WFConnection )\n",
    "2024-01-31T11:00:00.000Z block drbd7: disk( UpToDate -> Failed )\n",
  ]);
});

test("journald gets the level (sd-daemon(3)) instead of a clock, on every line of a text", (t) => {
  const lines: string[] = [];
  logTo(lines, { journald: true })("warning", { resource: "r0" }, "one\ntwo");
  t.deepEqual(lines, ["<4>drbd r0: one\n<4>drbd r0: two\n"]);
});

test("--log json writes one object per line whatever the text holds", (t) => {
  const lines: string[] = [];
  logTo(lines, { format: "json" })("notice", { resource: "r0", minor: 0 }, 'a\n"b"');
  t.is(lines.length, 1);
  t.is(lines[0]?.indexOf("\n"), (lines[0]?.length ?? 0) - 1);
  t.deepEqual(JSON.parse(lines[0] ?? ""), {
    time: "2024-01-31T11:00:00.000Z",
    level: "notice",
    resource: "r0",
    minor: 0,
    text: 'a\n"b"',
  });
});

test("less important lines are left out", (t) => {
  const lines: string[] = [];
  const log = logTo(lines, { least: "warning" });
  log("info", { resource: "r0" }, "hidden");
  log("warning", { resource: "r0" }, "shown");
  t.is(lines.length, 1);
});

test("a broken stderr does not reach the engine", (t) => {
  const log = logTo([], {
    write: () => {
      throw new Error("EPIPE");
    },
  });
  t.notThrows(() => log("error", { resource: "r0" }, "text"));
});

test("a state change is worded as DRBD words it, in its order", (t) => {
  const before = { role: "Primary", peer: "Secondary", conn: "Connected", pdsk: "UpToDate", disk: "UpToDate" } as const;
  const after = { ...before, peer: "Unknown", conn: "TearDown", pdsk: "DUnknown" } as const;
  t.is(
    stateChangeText(before, after),
    "peer( Secondary -> Unknown ) conn( Connected -> TearDown ) pdsk( UpToDate -> DUnknown )",
  );
  t.is(stateChangeText(before, before), "");
  t.is(stateChangeText({ susp: false }, { susp: true }), "susp( 0 -> 1 )");
});
