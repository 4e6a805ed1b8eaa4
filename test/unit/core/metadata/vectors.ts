/** Images made by the real kernel module and tools; their origin is described in test/vectors. */
import { readFileSync } from "node:fs";
import type { Placement } from "../../../../src/core/metadata/geometry.ts";

const folder = new URL("../../../vectors/md/", import.meta.url);

export const vector = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, folder)));
export const vectorText = (name: string): string => readFileSync(new URL(name, folder), "utf8");

interface IndexEntry {
  readonly format: string;
  readonly device_bytes: number;
  readonly md_offset: number;
  readonly al_offset: number;
  readonly bm_offset: number;
  readonly md_size_sect: number;
  readonly get_gi: string;
  readonly usable_sectors?: number;
}
export const vectorIndex: Record<string, IndexEntry> = JSON.parse(vectorText("index.json"));

export function placementNamed(format: string): Placement {
  if (format === "internal" || format === "flex-external") return { kind: format };
  return { kind: "indexed", index: Number(format) };
}

export function memoryOf(length: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer) };
}
