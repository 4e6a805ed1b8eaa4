import test from "ava";
import fc from "fast-check";
import { parseAuthKeys } from "../../../../src/heartbeat/core/config/authkeys.ts";
import { haCfDirectives } from "../../../../src/heartbeat/core/config/ha-cf-options.ts";
import { parseHaResources } from "../../../../src/heartbeat/core/config/haresources.ts";
import { haResourcesToCib } from "../../../../src/heartbeat/core/config/haresources-to-cib.ts";
import { parseCib } from "../../../../src/heartbeat/core/config/parse-cib.ts";
import { parseHaCf } from "../../../../src/heartbeat/core/config/parse-ha-cf.ts";
import { writeCib } from "../../../../src/heartbeat/core/config/write-cib.ts";
import { messages, vector, withoutPlaces } from "./helpers/files.ts";

const runs = { numRuns: 300 };
const word = fc.oneof(
  fc.constantFrom(
    ...haCfDirectives,
    "auth",
    "crc",
    "md5",
    "sha1",
    "constructor",
    "__proto__",
    "\\",
    "¥",
    "#",
    "::",
    ",",
  ),
  fc.constantFrom(
    "10.0.0.1",
    "10.0.0.1/24/eth0",
    "host01",
    "Filesystem::/dev/drbd0::mnt",
    "drbddisk::r0",
    "httpd",
    "1",
    "-1",
  ),
  fc.string({ maxLength: 12 }),
  fc.string({ unit: "binary", maxLength: 6 }),
);
const line = fc.array(word, { maxLength: 6 }).map((words) => words.join(" "));
const garbage = fc.array(line, { maxLength: 8 }).map((lines) => lines.join("\n"));

/** A valid text with one stretch replaced. */
const damaged = (text: string): fc.Arbitrary<string> =>
  fc
    .tuple(fc.nat(text.length), fc.nat(20), fc.oneof(word, fc.constantFrom("<", ">", '"', "&", "/>", "<x>", "")))
    .map(([at, length, put]) => text.slice(0, at) + put + text.slice(at + length));

const places = /^f:\d+:\d+: /;

test("ha.cf: garbage and damaged files are judged, every refusal with its place", (t) => {
  const text = fc.oneof(garbage, damaged(vector("report/ha.cf")));
  fc.assert(
    fc.property(text, (each) => {
      for (const message of messages(parseHaCf(each, "f", { nodeName: "a" }))) t.regex(message, places);
    }),
    runs,
  );
});

test("authkeys: garbage and damaged files are judged, every refusal with its place", (t) => {
  const text = fc.oneof(garbage, damaged("# c\nauth 2\n1 crc\n2 sha1 secret\n"));
  fc.assert(
    fc.property(text, fc.nat(0o177777), (each, mode) => {
      const result = parseAuthKeys(each, "f", mode);
      for (const message of messages(result)) t.regex(message, places);
      if ("authKeys" in result) t.is(result.authKeys.keys.get(result.authKeys.signing.number), result.authKeys.signing);
    }),
    runs,
  );
});

test("haresources: garbage is judged, and what is accepted converts into a cib.xml that reads as the same", (t) => {
  const text = fc.oneof(garbage, damaged(vector("report/haresources")), damaged(vector("converter/mixed.haresources")));
  fc.assert(
    fc.property(text, (each) => {
      const result = parseHaResources(each, "f");
      for (const message of messages(result)) t.regex(message, places);
      if ("errors" in result) return;
      const choices = { nodeCount: 2, stonithHosts: [], hasScript: () => true, stonithParameters: () => undefined };
      const converted = haResourcesToCib(result.haResources, choices);
      for (const message of messages(converted)) t.regex(message, places);
      if ("errors" in converted) return;
      const again = parseCib(writeCib(converted.cib), "g");
      t.deepEqual(messages(again), []);
      if ("cib" in again) t.deepEqual(withoutPlaces(again.cib), withoutPlaces(converted.cib));
    }),
    runs,
  );
});

test("cib.xml: damaged files are judged, and what is accepted is written and read as the same", (t) => {
  const text = fc.oneof(damaged(vector("report/cib.xml")), damaged(vector("pacemaker-cib.xml")), garbage);
  fc.assert(
    fc.property(text, (each) => {
      const result = parseCib(each, "f");
      for (const message of messages(result)) t.regex(message, places);
      if ("errors" in result) return;
      const again = parseCib(writeCib(result.cib), "g");
      t.deepEqual(messages(again), []);
      if ("cib" in again) t.deepEqual(withoutPlaces(again.cib), withoutPlaces(result.cib));
    }),
    runs,
  );
});
