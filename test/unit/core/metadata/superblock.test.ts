import test from "ava";
import {
  createdSuperblock,
  decodeSuperblock,
  encodeSuperblock,
  MDF,
  type MdFlag,
  SUPERBLOCK_BYTES,
  type Superblock,
  superblockFields,
} from "../../../../src/core/metadata/superblock.ts";
import { vector, vectorIndex, vectorText } from "./vectors.ts";

const images = [
  ...Object.keys(vectorIndex),
  "live-s0-created",
  "live-s1-attached",
  "live-s2-connected",
  "live-s3-primary",
  "live-s4-12writes",
  "live-s4-12writes-peer",
];

/** The names of the decoded listings beside the images. */
const listed: Record<(typeof superblockFields)[number]["name"], string> = {
  laSize: "la_size_sect",
  current: "uuid_current",
  bitmap: "uuid_bitmap",
  history1: "uuid_history0",
  history2: "uuid_history1",
  deviceUuid: "device_uuid",
  reserved: "reserved_u64_1",
  flags: "flags",
  magic: "magic",
  mdSize: "md_size_sect",
  alOffset: "al_offset_sect",
  alExtents: "al_nr_extents",
  bmOffset: "bm_offset_sect",
  bmBytesPerBit: "bm_bytes_per_bit",
  laPeerMaxBioSize: "la_peer_max_bio_size",
  alStripes: "al_stripes",
  alStripeSize4k: "al_stripe_size_4k",
};

function decoded(name: string): Superblock {
  const reading = decodeSuperblock(vector(`${name}.sb.bin`));
  if (reading.kind !== "v08") throw new Error(`${name}: ${JSON.stringify(reading)}`);
  return reading.superblock;
}

for (const name of images) {
  test(`superblock of ${name}: fields at the offsets of §9.2, and the same 4096 bytes again`, (t) => {
    const superblock = decoded(name);
    const text = vectorText(name.startsWith("live") ? `${name}.txt` : `${name}.sb.txt`);
    for (const field of superblockFields) {
      const [, value] = text.match(new RegExp(`^ *${field.at} +${listed[field.name]} +(\\S+)`, "m")) ?? [];
      t.is(BigInt(superblock[field.name]), BigInt(value ?? "none"), field.name);
    }
    const again = new Uint8Array(SUPERBLOCK_BYTES).fill(0xee);
    encodeSuperblock(superblock, again);
    t.deepEqual(again, vector(`${name}.sb.bin`));
  });

  test(`flags of ${name} have the names of §9.4`, (t) => {
    const text = vectorText(name.startsWith("live") ? `${name}.txt` : `${name}.sb.txt`);
    const [, names = ""] = text.match(/^ 56 +flags +\S+ \(([^)]*)\)/m) ?? [];
    const { flags } = decoded(name);
    const ours = (Object.keys(MDF) as MdFlag[]).filter((flag) => (flags & MDF[flag]) !== 0);
    t.is(ours.join("|"), names);
  });
}

test("§9.4 attach decision 1: unclean magic, or clean magic without AL_CLEAN, is unclean", (t) => {
  const clean = (block: Uint8Array): boolean | string => {
    const reading = decodeSuperblock(block);
    return reading.kind === "v08" ? reading.clean : reading.kind;
  };
  t.true(clean(vector("internal-1GiB.sb.bin")));
  t.false(clean(vector("live-s1-attached.sb.bin")));
  t.false(clean(vector("crashed-primary-1GiB.sb.bin")));
  const noFlag = vector("internal-1GiB.sb.bin");
  noFlag[59] = 0;
  t.false(clean(noFlag));
});

test("a block without the magic is none; v07 and v09 are recognised by theirs", (t) => {
  t.is(decodeSuperblock(new Uint8Array(SUPERBLOCK_BYTES)).kind, "none");
  const v09 = vector("internal-1GiB.sb.bin");
  v09[63] = 0x6d;
  t.is(decodeSuperblock(v09).kind, "v09");
  const v07 = new Uint8Array(SUPERBLOCK_BYTES);
  v07.set([0x83, 0x74, 0x02, 0x6a], 28);
  t.is(decodeSuperblock(v07).kind, "v07");
});

test("§9.2: bm_bytes_per_bit other than 4096 makes the superblock invalid, with both numbers in the reason", (t) => {
  const block = vector("internal-1GiB.sb.bin");
  block[82] = 0x20;
  const reading = decodeSuperblock(block);
  t.deepEqual(reading, { kind: "invalid", reason: "unexpected bm_bytes_per_bit: 8192 (expected 4096)" });
});

test("§9.7: created metadata equals what create-md of the real tool wrote", (t) => {
  const block = new Uint8Array(SUPERBLOCK_BYTES);
  const place = { mdSize: 136, alOffset: -64, bmOffset: -128, alStripes: 1, alStripeSize4k: 8 };
  encodeSuperblock(createdSuperblock(place), block);
  t.deepEqual(block, vector("internal-1GiB.sb.bin"));
});
