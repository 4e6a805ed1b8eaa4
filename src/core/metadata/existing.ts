/**
 * What a device holds already: create-md must not write over data unasked. The sizes say whether new internal metadata would stand behind the
 * data or cut it. Signatures are those of the formats themselves; the names that drbdmeta has too are drbdmeta's.
 */
import type { SyncDevice } from "./device.ts";

/** The first part of a device that is looked at; what is not zero there and not recognised is "some data". drbdmeta looks as far. */
export const LOOKED_AT_BYTES = 68 * 1024;

export type Existing =
  /** `usedBytes`: how far the data reaches. */
  | { readonly kind: "sized"; readonly what: string; readonly usedBytes: number }
  /** Refused without a look at sizes. `sizeSought`: a size would help but cannot be found. */
  | { readonly kind: "unsized"; readonly what: string; readonly sizeSought: boolean }
  /** Asked about. */
  | { readonly kind: "data"; readonly what: string };

const KIB = 1024;

class Probe {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  text(at: number, text: string): boolean {
    return [...text].every((c, n) => this.#bytes[at + n] === c.charCodeAt(0));
  }
  u8(at: number): number {
    return this.#fits(at, 1) ? this.#view.getUint8(at) : 0;
  }
  u16(at: number): number {
    return this.#fits(at, 2) ? this.#view.getUint16(at, true) : 0;
  }
  u32(at: number): number {
    return this.#fits(at, 4) ? this.#view.getUint32(at, true) : 0;
  }
  u64(at: number): number {
    return this.#fits(at, 8) ? Number(this.#view.getBigUint64(at, true)) : 0;
  }
  u32be(at: number): number {
    return this.#fits(at, 4) ? this.#view.getUint32(at) : 0;
  }
  u64be(at: number): number {
    return this.#fits(at, 8) ? Number(this.#view.getBigUint64(at)) : 0;
  }
  isZero(): boolean {
    return this.#bytes.every((b) => b === 0);
  }
  #fits(at: number, length: number): boolean {
    return at + length <= this.#bytes.length;
  }
}

const sized = (what: string, usedBytes: number): Existing => ({ kind: "sized", what, usedBytes });
const data = (what: string): Existing => ({ kind: "data", what });

/** ext2, ext3 and ext4 share a superblock at 1 KiB; drbdmeta tells them apart by the journal only. */
function ext(p: Probe): Existing | undefined {
  if (p.u16(KIB + 56) !== 0xef53) return undefined;
  const high = (p.u32(KIB + 96) & 0x80) !== 0 ? p.u32(KIB + 336) : 0;
  const blocks = high * 2 ** 32 + p.u32(KIB + 4);
  const journal = (p.u32(KIB + 92) & 0x4) !== 0;
  return sized(journal ? "ext3 filesystem" : "ext2 filesystem", blocks * KIB * 2 ** p.u32(KIB + 24));
}

function xfs(p: Probe): Existing | undefined {
  return p.text(0, "XFSB") ? sized("xfs filesystem", p.u64be(8) * p.u32be(4)) : undefined;
}

function reiser(p: Probe): Existing | undefined {
  for (const at of [8 * KIB, 64 * KIB])
    if (p.text(at + 52, "ReIsErFs") || p.text(at + 52, "ReIsEr2Fs") || p.text(at + 52, "ReIsEr3Fs"))
      return sized("reiser filesystem", p.u32(at) * p.u16(at + 44));
  return undefined;
}

function jfs(p: Probe): Existing | undefined {
  const at = 32 * KIB;
  return p.text(at, "JFS1") ? sized("JFS filesystem", p.u64(at + 8) * p.u32(at + 24)) : undefined;
}

function btrfs(p: Probe): Existing | undefined {
  const at = 64 * KIB;
  return p.text(at + 64, "_BHRfS_M") ? sized("btrfs filesystem", p.u64(at + 112)) : undefined;
}

function swap(p: Probe): Existing | undefined {
  const found = p.text(4086, "SWAP-SPACE") || p.text(4086, "SWAPSPACE2");
  return found ? { kind: "unsized", what: "swap space signature", sizeSought: false } : undefined;
}

/** The label is in one of the first four sectors; the header it points to holds the size of the volume. */
function lvm(p: Probe): Existing | undefined {
  for (let at = 0; at < 4 * 512; at += 512) {
    if (!p.text(at, "LABELONE") || !p.text(at + 24, "LVM2 001")) continue;
    const size = p.u64(at + p.u32(at + 20) + 32);
    const what = "LVM2 physical volume signature";
    return size > 0 ? sized(what, size) : { kind: "unsized", what, sizeSought: true };
  }
  return undefined;
}

const MD_MAGIC = 0xa92b4efc;
const linuxRaid = (p: Probe): Existing | undefined =>
  p.u32(0) === MD_MAGIC || p.u32(4096) === MD_MAGIC ? data("Linux RAID (md) superblock") : undefined;
const iso = (p: Probe): Existing | undefined => (p.text(32 * KIB + 1, "CD001") ? data("ISO 9660 image") : undefined);
const luks = (p: Probe): Existing | undefined =>
  p.text(0, "LUKS\xba\xbe") ? data("LUKS encrypted volume") : undefined;

function boot(p: Probe): Existing | undefined {
  if (p.text(512, "EFI PART")) return data("GPT partition table");
  if (p.text(3, "NTFS    ")) return data("NTFS filesystem");
  if (p.u8(510) !== 0x55 || p.u8(511) !== 0xaa) return undefined;
  if (p.text(82, "FAT32") || p.text(54, "FAT1")) return data("FAT filesystem");
  return [446, 462, 478, 494].some((at) => p.u8(at + 4) !== 0) ? data("DOS partition table") : undefined;
}

const probes = [ext, xfs, reiser, jfs, btrfs, swap, lvm, linuxRaid, luks, boot, iso] as const;

/** What stands at the start of the device, undefined if that is all zero; then what only shows at its end. */
export function findExisting(device: SyncDevice, from = 0): Existing | undefined {
  const p = new Probe(device.read(from, Math.min(LOOKED_AT_BYTES, device.size - from)));
  for (const probe of probes) {
    const found = probe(p);
    if (found !== undefined) return found;
  }
  const tail = from === 0 ? raidAtEnd(device) : undefined;
  return tail ?? (p.isZero() ? undefined : data("some data"));
}

/** md superblocks 0.90 (last whole 64 KiB but one) and 1.0 (8 KiB before the end, 4 KiB aligned) stand where internal metadata would. */
function raidAtEnd(device: SyncDevice): Existing | undefined {
  const places = [Math.floor(device.size / 65536) * 65536 - 65536, Math.floor((device.size - 8192) / 4096) * 4096];
  for (const at of places)
    if (at >= 0 && at + 4 <= device.size) {
      const found = new Probe(device.read(at, 4)).u32(0) === MD_MAGIC;
      if (found) return data("Linux RAID (md) superblock at the end of the device");
    }
  return undefined;
}
