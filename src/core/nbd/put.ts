/** Writes what a `DataView` has no method for. */

/** A non-negative whole number below 2^53 as 64 bits, big-endian. */
export function putU64(out: DataView, at: number, value: number): void {
  out.setUint32(at, Math.floor(value / 0x100000000));
  out.setUint32(at + 4, value % 0x100000000);
}

export function putText(out: DataView, at: number, text: Uint8Array): void {
  for (let i = 0; i < text.length; i++) out.setUint8(at + i, text[i] ?? 0);
}
