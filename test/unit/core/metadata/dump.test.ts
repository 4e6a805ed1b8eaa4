import test from "ava";
import fc from "fast-check";
import { dumpMd } from "../../../../src/core/metadata/commands.ts";
import { parseDump } from "../../../../src/core/metadata/dump-reader.ts";
import { layOut } from "../../../../src/core/metadata/geometry.ts";
import { placeFields } from "../../../../src/core/metadata/open.ts";
import { restoreMd } from "../../../../src/core/metadata/restore-md.ts";
import { createdSuperblock, encodeSuperblock } from "../../../../src/core/metadata/superblock.ts";
import { unasked } from "../../../../src/core/metadata/transcript.ts";
import { sector } from "../../../../src/core/units.ts";
import { drbdmeta, hasDrbdmeta, type Scratch, scratch } from "./drbdmeta.ts";
import { vectorText } from "./vectors.ts";

const GIB = 1024 ** 3;
const internal = { kind: "internal" } as const;
const head = { when: "", host: "", commandLine: "" };
const compared = hasDrbdmeta ? test : test.skip;
const body = (text: string): string => text.replace(/^# DRBD meta data dump\n.*\n.*\n#\n/, "");

function withScratch(run: (files: Scratch) => void): void {
  const files = scratch();
  try {
    run(files);
  } finally {
    files.remove();
  }
}

/** A device whose bitmap starts with these runs of 64-bit words, the rest clear. */
function image(files: Scratch, size: number, runs: readonly (readonly [number, bigint])[]): string {
  const geometry = layOut(internal, sector(size / 512));
  const words = new BigUint64Array(geometry.bmSectors * 64);
  let at = 0;
  for (const [count, value] of runs) {
    words.fill(value, at, at + count);
    at += count;
  }
  const bits = Math.floor(geometry.first / 8);
  const bytes = new Uint8Array(words.buffer);
  for (let n = bits; n < bytes.length * 8; n++)
    bytes[Math.floor(n / 8)] = (bytes[Math.floor(n / 8)] ?? 0) & ~(1 << (n % 8));
  const superblock = new Uint8Array(4096);
  encodeSuperblock({ ...createdSuperblock(placeFields(geometry)), laSize: geometry.first }, superblock);
  return files.sparse("image", size, [
    [geometry.bmStart * 512, bytes],
    [geometry.superblock * 512, superblock],
  ]);
}

const run = fc.tuple(
  fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(7, 8, 11, 12, 31, 32, 33, 64, 512)),
  fc.oneof(fc.constantFrom(0n, 2n ** 64n - 1n), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
);

compared("§9.7 dump-md: bitmaps of any pattern are printed as by the real tool, and restored to the same dump", (t) => {
  fc.assert(
    fc.property(fc.array(run, { maxLength: 30 }), (runs) =>
      withScratch((files) => {
        const path = image(files, 128 * 1024 * 1024, runs);
        const real = drbdmeta(path, ["internal", "dump-md"]).stdout;
        const own = dumpMd({ device: files.open(path), name: path, placement: internal }, head, unasked).stdout;
        if (body(own) !== body(real)) throw new Error(`${body(own)}\nreal tool:\n${body(real)}`);
        const again = files.sparse("again", 128 * 1024 * 1024);
        const target = { device: files.open(again), name: again, placement: internal };
        if (restoreMd(target, own, unasked).exitCode !== 0) throw new Error("restore-md");
        const restored = body(drbdmeta(again, ["internal", "dump-md"]).stdout);
        if (restored.replace(/This_is.*\n.*\n\n/, "") !== body(real)) throw new Error("restored dump differs");
      }),
    ),
    { numRuns: 40, includeErrorInReport: true },
  );
  t.pass();
});

compared("§9.7 dump-md: runs that cross chunks of the reader", (t) =>
  withScratch((files) => {
    const path = image(files, 100 * GIB, [
      [3, 7n],
      [65536 * 2 - 3, 0n],
      [1, 1n],
      [65536, 2n ** 64n - 1n],
      [65530, 0n],
    ]);
    const real = drbdmeta(path, ["internal", "dump-md"]).stdout;
    const own = dumpMd({ device: files.open(path), name: path, placement: internal }, head, unasked).stdout;
    t.is(body(own), body(real));
  }),
);

const dump = vectorText("crashed-primary-1GiB.dump-md-after-apply-al.txt").replace(/^ioctl\(.*\n/gm, "");

test("restore-md reads the real tool's dump: head, UUIDs and 68613 set bits", (t) => {
  const parsed = parseDump(dump);
  if (!parsed.ok) return t.fail(parsed.reason);
  const { words, ...fields } = parsed.dump;
  t.deepEqual(fields, {
    current: 0xd8c66c496625172dn,
    bitmap: 0x3b475431d78c6371n,
    history1: 0n,
    history2: 0n,
    flags: 0,
    laSize: sector(2097016),
    deviceUuid: 0n,
    laPeerMaxBioSize: 1048576,
    alStripes: 1,
    alStripeSize4k: 8,
  });
  const ones = (n: number): number => n.toString(2).replaceAll("0", "").length;
  t.is(
    words.reduce((sum, w) => sum + w.count * (ones(w.low) + ones(w.high)), 0),
    68613,
  );
  t.is(
    words.reduce((sum, w) => sum + w.count, 0),
    4096,
  );
});

for (const [what, text, line] of [
  [
    "an unclean dump",
    vectorText("crashed-primary-1GiB.dump-md.txt").replace(/^ioctl\(.*\n/gm, ""),
    "line 8: keyword 'uuid'",
  ],
  ["an empty file", "", "line 1: keyword 'version' expected, but end of file encountered"],
  ["garbage", "garbage\n", "line 1: keyword 'version' expected, not 'garbage'"],
  ["a UUID that is too short", dump.replace("0xD8C66C496625172D", "0xD8C6"), "a 16-digit hex number"],
  [
    "a bitmap word without its semicolon",
    dump.replace("times 0x0000000000000000;", "times 0x0000000000000000"),
    "semicolon (;)",
  ],
  [
    "a bitmap cut short",
    dump.slice(0, dump.lastIndexOf("}")),
    "repeat count, 16-digit hex number, or closing brace (})",
  ],
  ["a size that is no number", dump.replace("la-size-sect 2097016", "la-size-sect many"), "number"],
  [
    "another bitmap granularity",
    dump.replace("bm-byte-per-bit 4096", "bm-byte-per-bit 8192"),
    "4096 expected, not '8192'",
  ],
  ["text behind the bitmap", `${dump}more`, "end of file expected, not 'more'"],
] as const)
  test(`restore-md refuses ${what} and names the place`, (t) => {
    const parsed = parseDump(text);
    t.false(parsed.ok);
    if (!parsed.ok) t.true(parsed.reason.includes(line), parsed.reason);
  });

test("restore-md refuses a dump of another version by name", (t) => {
  t.deepEqual(parseDump(dump.replace('"v08"', '"v09"')), {
    ok: false,
    reason: "dump is 'v09' you requested 'v08'.",
    version: "v09",
  });
});

test("restore-md writes nothing if the dump is not good", (t) =>
  withScratch((files) => {
    const path = files.sparse("target", 16 * 1024 * 1024);
    const target = { device: files.open(path), name: path, placement: internal };
    t.is(restoreMd(target, dump.slice(0, -40), unasked).exitCode, 10);
    t.true(target.device.read(0, 16 * 1024 * 1024).every((b) => b === 0));
  }));
