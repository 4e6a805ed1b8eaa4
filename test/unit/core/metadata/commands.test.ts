import { readSync } from "node:fs";
import test from "ava";
import { applyAl } from "../../../../src/core/metadata/apply-al.ts";
import {
  dstate,
  dumpMd,
  getGi,
  invalidate,
  outdate,
  readDevUuid,
  setGi,
  showGiCommand,
  wipeMd,
  writeDevUuid,
} from "../../../../src/core/metadata/commands.ts";
import { createMd } from "../../../../src/core/metadata/create-md.ts";
import { type AlLayout, layOut, type Placement } from "../../../../src/core/metadata/geometry.ts";
import type { Target } from "../../../../src/core/metadata/open.ts";
import { restoreMd } from "../../../../src/core/metadata/restore-md.ts";
import { decodeSuperblock, encodeSuperblock, type Superblock } from "../../../../src/core/metadata/superblock.ts";
import { type CommandResult, forced, unasked } from "../../../../src/core/metadata/transcript.ts";
import { sector } from "../../../../src/core/units.ts";
import { drbdmeta, hasDrbdmeta, plain, type Ran, type Scratch, scratch } from "./drbdmeta.ts";
import { vector, vectorText } from "./vectors.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const internal: Placement = { kind: "internal" };

/** Tests that compare with the real tool; where it is not installed they are skipped, visibly. */
const compared = hasDrbdmeta ? test : test.skip;

function withScratch<T>(body: (files: Scratch) => T): T {
  const files = scratch();
  try {
    return body(files);
  } finally {
    files.remove();
  }
}

const named = (placement: Placement): string =>
  placement.kind === "indexed" ? String(placement.index) : placement.kind;

function target(files: Scratch, path: string, placement: Placement): Target {
  return { device: files.open(path), name: path, placement };
}

/** The whole metadata area of a file. */
function area(files: Scratch, path: string, placement: Placement, al?: AlLayout): Uint8Array {
  const file = files.open(path);
  const geometry = layOut(placement, sector(Math.floor(file.size / 512)), al);
  const start = geometry.first * 512;
  const end = placement.kind === "internal" ? file.size : Math.min(file.size, start + 2 * MIB);
  const bytes = new Uint8Array(end - start);
  readSync(file.fd, bytes, 0, bytes.length, start);
  return bytes;
}

/** The date, host and command line of a dump are not compared. */
const body = (ran: Ran): Ran => ({ ...ran, stdout: ran.stdout.replace(/^# DRBD meta data dump\n.*\n.*\n#\n/, "") });
const head = { when: "2024-01-31 12:00:00 +0100 [1706698800]", host: "host01", commandLine: "futago dump-md r0" };

const shapes: readonly (readonly [string, number, Placement, AlLayout?])[] = [
  ["1 MiB", MIB, internal],
  ["16 MiB", 16 * MIB, internal],
  ["68 KiB, the least", 69632, internal],
  ["an odd number of bytes", 1_000_000_511, internal],
  ["1 GiB and three sectors", GIB + 3 * 512, internal],
  ["1 GiB", GIB, internal],
  ["100 GiB", 100 * GIB, internal],
  ["64 MiB with 2 stripes of 64 KiB", 64 * MIB, internal, { stripes: 2, stripeSize4k: 16 }],
  ["1 GiB with 5 stripes of 28 KiB", GIB, internal, { stripes: 5, stripeSize4k: 7 }],
  ["a meta device of 1 MiB", MIB, { kind: "flex-external" }],
  ["a meta device of an odd size", 1_000_000_511, { kind: "flex-external" }],
  ["a striped meta device", 4 * MIB, { kind: "flex-external" }, { stripes: 2, stripeSize4k: 16 }],
  ["index 0", 257 * MIB, { kind: "indexed", index: 0 }],
  ["index 1", 257 * MIB, { kind: "indexed", index: 1 }],
];

for (const [what, size, placement, al] of shapes)
  compared(
    `§9.7 create-md on ${what} (${named(placement)}): the real tool's bytes and words; each reads the other's`,
    (t) =>
      withScratch((files) => {
        const [theirs, ours] = [files.sparse("theirs", size), files.sparse("ours", size)];
        const stripes = al
          ? ["--al-stripes", String(al.stripes), "--al-stripe-size-kB", String(al.stripeSize4k * 4)]
          : [];
        const real = drbdmeta(theirs, [named(placement), "create-md"], stripes);
        const own = target(files, ours, placement);
        const options = al ? { alStripes: al.stripes, alStripeSizeKb: al.stripeSize4k * 4 } : {};
        const created = createMd(own, unasked, options);
        t.is(created.exitCode, 0);
        t.is(created.stdout, real.stdout);
        if (placement.kind === "internal") t.is(created.stderr, real.stderr);
        t.true(Buffer.from(area(files, ours, placement, al)).equals(area(files, theirs, placement, al)));
        const other = target(files, theirs, placement);
        t.deepEqual(plain(getGi(other)), drbdmeta(ours, [named(placement), "get-gi"]));
        t.deepEqual(plain(showGiCommand(other)), drbdmeta(ours, [named(placement), "show-gi"]));
        t.deepEqual(plain(dstate(other)), drbdmeta(ours, [named(placement), "dstate"]));
        t.deepEqual(body(plain(dumpMd(other, head, unasked))), body(drbdmeta(ours, [named(placement), "dump-md"])));
      }),
  );

const CRASHED = {
  size: GIB,
  parts: [
    [1073672192, vector("crashed-primary-1GiB.bm-before.bin")],
    [1073704960, vector("crashed-primary-1GiB.al.bin")],
    [1073737728, vector("crashed-primary-1GiB.sb.bin")],
  ] as (readonly [number, Uint8Array])[],
};
const crashed = (files: Scratch, name: string): string => files.sparse(name, CRASHED.size, CRASHED.parts);

test("§9.5 the crashed Primary: apply-al marks 67 extents, starts the log anew and cleans the superblock, as the real tool did", (t) =>
  withScratch((files) => {
    const path = crashed(files, "image");
    const own = target(files, path, internal);
    const before = dumpMd(own, head, forced);
    t.is(
      body(plain(before)).stdout,
      body({ ...plain(before), stdout: vectorText("crashed-primary-1GiB.dump-md.txt") }).stdout.replace(
        /ioctl\(.*\n|Found meta data is .*\n/g,
        "",
      ),
    );
    t.like(dumpMd(own, head, unasked), { exitCode: 1, stdout: "" });
    t.deepEqual(plain(applyAl(own)), {
      exitCode: 0,
      stdout: "",
      stderr: "Marked additional 268 MB as out-of-sync based on AL.\n",
    });
    const bytes = area(files, path, internal);
    t.true(Buffer.from(bytes.subarray(0, 32768)).equals(vector("crashed-primary-1GiB.bm-after.bin")));
    for (let n = 0; n < 8; n++)
      t.true(Buffer.from(bytes.subarray(32768 + n * 4096, 32768 + (n + 1) * 4096)).equals(vector("al-fresh.bin")));
    const reading = decodeSuperblock(bytes, 65536);
    t.like(reading, { kind: "v08", clean: true });
    if (reading.kind === "v08") t.is(reading.superblock.flags, 0x93);
    const after = vectorText("crashed-primary-1GiB.dump-md-after-apply-al.txt").replace(/ioctl\(.*\n/g, "");
    t.is(body(plain(dumpMd(own, head, unasked))).stdout, body({ ...plain(before), stdout: after }).stdout);
    t.deepEqual(plain(applyAl(own)), { exitCode: 0, stdout: "", stderr: "" });
  }));

/** Runs a command of the real tool and ours on equal images; everything must be equal afterwards. */
function sameEffect(
  t: { deepEqual(a: unknown, b: unknown, m?: string): unknown; true(a: boolean, m?: string): unknown },
  files: Scratch,
  make: (name: string) => string,
  steps: readonly (readonly [string[], (own: Target) => CommandResult])[],
): void {
  const [theirs, ours] = [make("theirs"), make("ours")];
  const own = target(files, ours, internal);
  for (const [args, command] of steps) {
    const real = drbdmeta(theirs, ["internal", ...args]);
    t.deepEqual(body(plain(command(own))), body(real), args.join(" "));
    t.true(
      Buffer.from(area(files, ours, internal)).equals(area(files, theirs, internal)),
      `bytes after ${args.join(" ")}`,
    );
  }
}

compared(
  "§9.7 outdate, invalidate, set-gi, write-dev-uuid, wipe-md: output, exit code and bytes of the real tool",
  (t) =>
    withScratch((files) => {
      sameEffect(t, files, (name) => crashed(files, name), [
        [["get-gi"], getGi],
        [["outdate"], outdate],
        [["dstate"], dstate],
        [["show-gi"], showGiCommand],
        [
          ["set-gi", "1111111111111111:2222:3:F00:1:0:1:0:1"],
          (own) => setGi(own, "1111111111111111:2222:3:F00:1:0:1:0:1", forced),
        ],
        [["set-gi", ":::AB"], (own) => setGi(own, ":::AB", forced)],
        [["set-gi", "1:2:3:4:1:1:1:1:1:1:1"], (own) => setGi(own, "1:2:3:4:1:1:1:1:1:1:1", forced)],
        [["set-gi", "1:2:3:4:5"], (own) => setGi(own, "1:2:3:4:5", forced)],
        [["dstate"], dstate],
        [["invalidate"], invalidate],
        [["outdate"], outdate],
        [["write-dev-uuid", "DEADBEEF12345678"], (own) => writeDevUuid(own, 0xdeadbeef12345678n)],
        [["read-dev-uuid"], readDevUuid],
        [["apply-al"], applyAl],
        [["show-gi"], showGiCommand],
        [["outdate"], outdate],
        [["invalidate"], invalidate],
        [["dump-md"], (own) => dumpMd(own, head, forced)],
        [["wipe-md"], (own) => wipeMd(own, forced)],
        [["dstate"], dstate],
        [["apply-al"], applyAl],
        [["wipe-md"], (own) => wipeMd(own, forced)],
      ]);
    }),
);

function superblockOf(name: string): Superblock {
  const reading = decodeSuperblock(vector(name));
  if (reading.kind !== "v08") throw new Error(reading.kind);
  return reading.superblock;
}

/** A 1 GiB image with this superblock, a fresh log and an empty bitmap. */
function imageWith(files: Scratch, name: string, change: Partial<Superblock>): string {
  const block = new Uint8Array(4096);
  encodeSuperblock({ ...superblockOf("internal-1GiB.sb.bin"), ...change }, block);
  return files.sparse(name, GIB, [[1073737728, block]]);
}

compared("§9.7 show-gi, get-gi, dstate: every combination of flags reads as with the real tool", (t) =>
  withScratch((files) => {
    // Each flag alone, each pair, and all; the texts of one flag do not depend on three others.
    const flags = new Set([0, 0x1ff]);
    for (let a = 1; a < 0x200; a *= 2) for (let b = a; b < 0x200; b *= 2) flags.add(a | b);
    for (let a = 1; a < 0x200; a *= 2) flags.add(0x1ff & ~a);
    for (const one of flags) {
      const path = imageWith(files, "flags", { flags: one, laSize: sector(one * 4001) });
      const own = target(files, path, internal);
      t.deepEqual(plain(showGiCommand(own)), drbdmeta(path, ["internal", "show-gi"]), `flags ${one.toString(16)}`);
      t.deepEqual(plain(dstate(own)), drbdmeta(path, ["internal", "dstate"]));
    }
  }),
);

compared("§9.7 sizes are rounded as the real tool does", (t) =>
  withScratch((files) => {
    for (const laSize of [1, 7, 8, 19999, 20000, 20001, 20479, 20480, 21503, 21504, 1_999_999, 2_097_016]) {
      const path = imageWith(files, "size", { laSize: sector(laSize) });
      t.deepEqual(plain(showGiCommand(target(files, path, internal))), drbdmeta(path, ["internal", "show-gi"]));
    }
  }),
);

test("no metadata: exit code 1, and nothing to wipe is not an error", (t) =>
  withScratch((files) => {
    const own = target(files, files.sparse("empty", 16 * MIB), internal);
    for (const command of [getGi, showGiCommand, dstate, outdate, invalidate, applyAl])
      t.like(command(own), { exitCode: 1, stderr: "No valid meta data found\n" });
    t.is(wipeMd(own, unasked).exitCode, 0);
    const small = target(files, files.sparse("small", 65536), internal);
    t.like(createMd(small, forced), {
      exitCode: 10,
      stderr: `${small.name} is only 65536 bytes. That's not enough.\n`,
    });
    t.is(getGi(small).exitCode, 10);
  }));

test("a question ends the command without a change; with the answer it goes on behind the question", (t) =>
  withScratch((files) => {
    const path = files.sparse("asked", 16 * MIB);
    const own = target(files, path, internal);
    t.is(createMd(own, unasked).exitCode, 0);
    const before = area(files, path, internal);
    const asked = wipeMd(own, unasked);
    t.like(asked, { exitCode: 1, stdout: "", question: "Do you really want to wipe out the DRBD meta data?" });
    t.is(asked.stderr, "\nDo you really want to wipe out the DRBD meta data?\n");
    t.deepEqual(area(files, path, internal), before);
    const again = createMd(own, unasked);
    t.is(again.question, "Do you really want to overwrite the existing meta-data?");
    t.true(again.stderr.includes("already in place on"));
    const confirmed = createMd(own, { force: false, confirmed: 1 });
    t.like(confirmed, { exitCode: 0, question: undefined, stderr: "initializing bitmap (4 KB) to all zero\n" });
    t.like(wipeMd(own, { force: false, confirmed: 1 }), {
      exitCode: 0,
      stdout: "Wiping meta data...\nDRBD meta data block successfully wiped out.\n",
      stderr: "",
    });
    t.is(getGi(own).exitCode, 1);
  }));

for (const [what, options, message] of [
  ["an activity log below 32 KiB", { alStripes: 1, alStripeSizeKb: 28 }, "invalid (too small) al-stripe* settings\n"],
  ["no stripe", { alStripes: 0 }, "invalid (too small) al-stripe* settings\n"],
  [
    "an activity log above 16 GiB",
    { alStripes: 100_000, alStripeSizeKb: 1_000_000 },
    "invalid (too large) al-stripe* settings\n",
  ],
  ["peer-max-bio-size above 1 MiB", { peerMaxBioSize: MIB + 1 }, "peer-max-bio-size out of range (0...1M)\n"],
] as const)
  test(`create-md refuses ${what} (exit code 10)`, (t) =>
    withScratch((files) => {
      const own = target(files, files.sparse("bad", 16 * MIB), internal);
      t.like(createMd(own, forced, options), { exitCode: 10, stderr: message });
      t.is(getGi(own).exitCode, 1);
    }));

test("create-md refuses what does not fit the device: an activity log larger than it, an index behind its end", (t) =>
  withScratch((files) => {
    const own = target(files, files.sparse("small", MIB), internal);
    t.like(createMd(own, forced, { alStripes: 1, alStripeSizeKb: 2048 }), { exitCode: 10 });
    const external = { ...own, placement: { kind: "flex-external" } as const };
    t.like(createMd(external, forced, { alStripes: 1, alStripeSizeKb: 2048 }), { exitCode: 10 });
    t.like(createMd({ ...own, placement: { kind: "indexed", index: 0 } }, forced), { exitCode: 10 });
    t.is(getGi(own).exitCode, 1);
  }));

compared("peer-max-bio-size is stored as the real tool stores it", (t) =>
  withScratch((files) => {
    const own = target(files, files.sparse("bio", 16 * MIB), internal);
    createMd(own, unasked, { peerMaxBioSize: 131072 });
    const theirs = files.sparse("theirs", 16 * MIB);
    drbdmeta(theirs, ["internal", "create-md"], ["--peer-max-bio-size", "131072"]);
    t.deepEqual(area(files, own.name, internal), area(files, theirs, internal));
  }),
);

compared(
  "restore-md of the real tool's dump: its bytes, its words; and the dump of the result is the dump again",
  (t) =>
    withScratch((files) => {
      const image = crashed(files, "image");
      drbdmeta(image, ["internal", "apply-al"]);
      const dump = drbdmeta(image, ["internal", "dump-md"]).stdout;
      for (const size of [GIB, 512 * MIB]) {
        const [theirs, ours] = [files.sparse("theirs", size), files.sparse("ours", size)];
        const text = files.sparse("dump", dump.length, [[0, new TextEncoder().encode(dump)]]);
        const real = drbdmeta(theirs, ["internal", "restore-md", text]);
        const own = restoreMd(target(files, ours, internal), dump, unasked);
        t.is(own.stdout, real.stdout);
        t.is(real.exitCode, own.exitCode);
        t.deepEqual(area(files, ours, internal), area(files, theirs, internal));
      }
      const own = target(files, files.sparse("again", GIB), internal);
      restoreMd(own, dump, unasked);
      t.like(restoreMd(own, dump, unasked), { exitCode: 1, question: "Valid meta-data in place, overwrite?" });
      applyAl(own);
      t.is(
        body(plain(dumpMd(own, head, unasked))).stdout,
        body({ exitCode: 0, stderr: "", stdout: dump }).stdout.replace("# al-extents 67;", "# al-extents 257;"),
      );
    }),
);
