/** Where the metadata of a volume lies (drbd-84 §9.1). */
import type { VolumeConfig } from "../core/config/effective.ts";
import type { Placement } from "../core/metadata/geometry.ts";

export interface MetadataPlace {
  readonly path: string;
  readonly placement: Placement;
}

export function metadataPlace(volume: VolumeConfig): MetadataPlace {
  const { disk, metaDisk } = volume.local;
  switch (metaDisk.kind) {
    case "internal":
      return { path: disk, placement: { kind: "internal" } };
    case "flexible":
      return { path: metaDisk.path, placement: { kind: "flex-external" } };
    case "indexed":
      return { path: metaDisk.path, placement: { kind: "indexed", index: metaDisk.index } };
    default:
      return metaDisk satisfies never;
  }
}

/** `internal`, `flex-external` or the index: the word that drbdmeta takes. */
export const placementWord = (placement: Placement): string =>
  placement.kind === "indexed" ? String(placement.index) : placement.kind;

/** Undefined for a word that drbdmeta does not know. */
export function placementOf(word: string): Placement | undefined {
  if (word === "internal") return { kind: "internal" };
  if (word === "flexible" || word === "flex-external") return { kind: "flex-external" };
  return /^\d{1,3}$/.test(word) ? { kind: "indexed", index: Number(word) } : undefined;
}
