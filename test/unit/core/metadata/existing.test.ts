/** What create-md finds on a device, against the real tool on real file systems. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import test from "ava";
import { createMd } from "../../../../src/core/metadata/create-md.ts";
import { findExisting } from "../../../../src/core/metadata/existing.ts";
import type { Placement } from "../../../../src/core/metadata/geometry.ts";
import { forced, unasked } from "../../../../src/core/metadata/transcript.ts";
import { drbdmeta, hasDrbdmeta, minor, type Scratch, scratch } from "./drbdmeta.ts";

const MIB = 1024 * 1024;
const internal: Placement = { kind: "internal" };
const flex: Placement = { kind: "flex-external" };

function withScratch(body: (files: Scratch) => void): void {
  const files = scratch();
  try {
    body(files);
  } finally {
    files.remove();
  }
}

function mkfs(command: readonly string[], path: string, ...rest: readonly string[]): void {
  const [program = "", ...args] = command;
  const ran = spawnSync(program, [...args, path, ...rest], { encoding: "utf8", timeout: 30_000 });
  if (ran.status !== 0) throw new Error(`${command.join(" ")}: ${ran.stderr}`);
}

interface Case {
  readonly what: string;
  readonly command: readonly string[];
  readonly size: number;
  /** File system smaller than the device, as the program writes it. */
  readonly shrunk?: string;
  readonly exitCode: number;
}
const cases: readonly Case[] = [
  { what: "an ext4 that fills the device", command: ["/sbin/mkfs.ext4", "-q"], size: 64 * MIB, exitCode: 40 },
  { what: "an ext2", command: ["/sbin/mkfs.ext2", "-q"], size: 64 * MIB, exitCode: 40 },
  {
    what: "an ext4 with 64 bit block numbers",
    command: ["/sbin/mkfs.ext4", "-q", "-O", "64bit"],
    size: 200 * MIB,
    exitCode: 40,
  },
  {
    what: "an ext4 that leaves room",
    command: ["/sbin/mkfs.ext4", "-q"],
    size: 64 * MIB,
    shrunk: "65480k",
    exitCode: 0,
  },
  {
    what: "an ext4 one block too long",
    command: ["/sbin/mkfs.ext4", "-q", "-b", "1024"],
    size: 64 * MIB,
    shrunk: "65497k",
    exitCode: 40,
  },
  {
    what: "an ext4 that ends where metadata begins",
    command: ["/sbin/mkfs.ext4", "-q", "-b", "1024"],
    size: 64 * MIB,
    shrunk: "65496k",
    exitCode: 0,
  },
  { what: "an xfs", command: ["/sbin/mkfs.xfs", "-q"], size: 320 * MIB, exitCode: 40 },
  { what: "swap space", command: ["/sbin/mkswap", "-q"], size: 64 * MIB, exitCode: 40 },
];

for (const { what, command, size, shrunk, exitCode } of cases) {
  const compared = hasDrbdmeta && existsSync(command[0] ?? "") ? test : test.skip;
  compared(`§9.7 create-md on ${what}: the real tool's words and exit code ${exitCode}`, (t) =>
    withScratch((files) => {
      const make = (name: string): string => {
        const path = files.sparse(name, size);
        mkfs(command, path, ...(shrunk === undefined ? [] : [shrunk]));
        return path;
      };
      const real = drbdmeta(make("theirs"), ["internal", "create-md"]);
      const own = createMd({ device: files.open(make("ours")), name: "ours", placement: internal }, forced);
      t.is(real.exitCode, exitCode);
      t.is(own.exitCode, exitCode);
      t.is(own.stdout, real.stdout);
      t.is(own.stderr, real.stderr);
      const external = drbdmeta(make("theirs"), ["flex-external", "create-md"]);
      const device = files.open(make("ours"));
      t.like(createMd({ device, name: "ours", placement: flex }, forced), {
        exitCode: 40,
        stdout: external.stdout,
      });
    }),
  );
}

(hasDrbdmeta ? test : test.skip)(
  "some data in the first 68 KiB is asked about, as by the real tool; behind it is not seen",
  (t) =>
    withScratch((files) => {
      for (const at of [0, 511, 1024, 65536, 69631, 69632, MIB]) {
        const make = (name: string): string => files.sparse(name, 16 * MIB, [[at, new Uint8Array([1])]]);
        const real = drbdmeta(make("theirs"), ["internal", "create-md"]);
        const path = make("ours");
        const own = createMd({ device: files.open(path), name: path, placement: internal }, forced);
        t.is(own.stdout, real.stdout, `at ${at}`);
        t.is(own.stderr, real.stderr);
        const asked = createMd({ device: files.open(make("asked")), name: "asked", placement: internal }, unasked);
        t.is(asked.question, at < 69632 ? "Do you want to proceed?" : undefined);
      }
    }),
);

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const le32 = (n: number): Uint8Array => new Uint8Array(new Uint32Array([n]).buffer);
const le64 = (n: number): Uint8Array => new Uint8Array(new BigUint64Array([BigInt(n)]).buffer);

/** Signatures as the formats define them, for what no program here can make. */
const signatures: readonly (readonly [string, readonly (readonly [number, Uint8Array])[], object])[] = [
  ["ISO 9660", [[32769, ascii("CD001")]], { kind: "data", what: "ISO 9660 image" }],
  [
    "a GPT",
    [
      [510, new Uint8Array([0x55, 0xaa])],
      [512, ascii("EFI PART")],
    ],
    { kind: "data", what: "GPT partition table" },
  ],
  [
    "a DOS partition table",
    [
      [450, new Uint8Array([0x83])],
      [510, new Uint8Array([0x55, 0xaa])],
    ],
    { kind: "data", what: "DOS partition table" },
  ],
  [
    "FAT32",
    [
      [82, ascii("FAT32   ")],
      [510, new Uint8Array([0x55, 0xaa])],
    ],
    { kind: "data", what: "FAT filesystem" },
  ],
  ["NTFS", [[3, ascii("NTFS    ")]], { kind: "data", what: "NTFS filesystem" }],
  ["LUKS", [[0, new Uint8Array([...ascii("LUKS"), 0xba, 0xbe])]], { kind: "data", what: "LUKS encrypted volume" }],
  ["md 1.2", [[4096, le32(0xa92b4efc)]], { kind: "data", what: "Linux RAID (md) superblock" }],
  ["md 1.1", [[0, le32(0xa92b4efc)]], { kind: "data", what: "Linux RAID (md) superblock" }],
  [
    "md 1.0",
    [[16 * MIB - 8192, le32(0xa92b4efc)]],
    { kind: "data", what: "Linux RAID (md) superblock at the end of the device" },
  ],
  [
    "md 0.90",
    [[16 * MIB - 65536, le32(0xa92b4efc)]],
    { kind: "data", what: "Linux RAID (md) superblock at the end of the device" },
  ],
  [
    "btrfs",
    [
      [65536 + 64, ascii("_BHRfS_M")],
      [65536 + 112, le64(12 * MIB)],
    ],
    { kind: "sized", what: "btrfs filesystem", usedBytes: 12 * MIB },
  ],
  [
    "an LVM physical volume",
    [
      [512, ascii("LABELONE")],
      [512 + 20, le32(32)],
      [512 + 24, ascii("LVM2 001")],
      [512 + 64, le64(15 * MIB)],
    ],
    { kind: "sized", what: "LVM2 physical volume signature", usedBytes: 15 * MIB },
  ],
  [
    "an LVM label without a size",
    [
      [512, ascii("LABELONE")],
      [512 + 20, le32(32)],
      [512 + 24, ascii("LVM2 001")],
    ],
    { kind: "unsized", what: "LVM2 physical volume signature", sizeSought: true },
  ],
];
for (const [what, parts, expected] of signatures)
  test(`create-md notices ${what}`, (t) =>
    withScratch((files) => {
      const found: object | undefined = findExisting(files.open(files.sparse("image", 16 * MIB, parts)));
      t.deepEqual(found, expected);
    }));

test("an LVM physical volume that ends before the metadata is asked about, one that fills the device is refused", (t) =>
  withScratch((files) => {
    const pv = (size: number) => {
      const path = files.sparse("pv", 16 * MIB, [
        [512, ascii("LABELONE")],
        [532, le32(32)],
        [536, ascii("LVM2 001")],
        [576, le64(size)],
      ]);
      return createMd({ device: files.open(path), name: path, placement: internal }, unasked);
    };
    t.like(pv(15 * MIB), { exitCode: 1, question: "Do you want to proceed?" });
    t.like(pv(16 * MIB), { exitCode: 40, question: undefined });
  }));

test("create-md finds DRBD metadata in another placement, and of v07 and v09", (t) =>
  withScratch((files) => {
    const create = (path: string, placement: Placement) =>
      createMd({ device: files.open(path), name: path, placement }, unasked);
    const one = files.sparse("one", 16 * MIB);
    t.is(create(one, internal).exitCode, 0);
    t.is(create(one, flex).question, "Do you really want to overwrite the existing meta-data?");
    const two = files.sparse("two", 16 * MIB);
    t.is(create(two, flex).exitCode, 0);
    t.is(create(two, internal).question, "Do you really want to overwrite the existing meta-data?");
    t.is(create(two, flex).question, "Valid meta data seems to be in place.\nDo you really want to overwrite?");
    if (!hasDrbdmeta) return;
    for (const [version, ...args] of [
      ["v07", "flex-internal", "create-md"],
      ["v09", "internal", "create-md", "1"],
    ]) {
      const path = files.sparse("old", 16 * MIB);
      spawnSync("/usr/sbin/drbdmeta", ["--force", minor, version ?? "", path, ...args], { timeout: 30_000 });
      const asked = create(path, internal);
      t.true(
        asked.stderr.includes(`There appears to be a ${version} flexible-size internal meta data block`),
        asked.stderr,
      );
      t.is(asked.question, `So you want me to replace the ${version} meta-data\nwith newly initialized v08 meta-data?`);
    }
  }));

test("§9.1: the slots of a shared meta device do not disturb each other", (t) =>
  withScratch((files) => {
    const path = files.sparse("shared", 257 * MIB);
    const create = (index: number) =>
      createMd({ device: files.open(path), name: path, placement: { kind: "indexed", index } }, unasked);
    t.like(create(0), { exitCode: 0, question: undefined });
    t.like(create(1), { exitCode: 0, question: undefined });
    t.is(create(1).question, "Valid meta data seems to be in place.\nDo you really want to overwrite?");
    t.is(create(2).exitCode, 10);
  }));
