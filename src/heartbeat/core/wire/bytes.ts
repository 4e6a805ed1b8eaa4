/**
 * Text as heartbeat knows it: bytes. A `ByteText` has one character per byte, codes 0 to 255 (Latin-1), so that a value in
 * any encoding, or in none, comes out as it went in.
 */
export type ByteText = string;

const CHUNK = 4096;

/** Characters above 255 lose their high bits: callers pass text that came from bytes or from ASCII words. */
export function bytesOfText(text: ByteText): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

export function textOfBytes(bytes: Uint8Array, start = 0, end = bytes.length): ByteText {
  let text = "";
  for (let at = start; at < end; at += CHUNK)
    text += String.fromCharCode(...bytes.subarray(at, Math.min(end, at + CHUNK)));
  return text;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((value, at) => value === b[at]);

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const digitValues = new Map([...digits].map((digit, value) => [digit, value]));

/** Standard base64 with padding (heartbeat §3.2). */
export function base64OfBytes(bytes: Uint8Array): ByteText {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const left = Math.min(3, bytes.length - at);
    const word = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    for (let n = 0; n < 4; n++) text += n <= left ? digits.charAt((word >> (18 - 6 * n)) & 63) : "=";
  }
  return text;
}

/** Undefined unless the text is what `base64OfBytes` would write for some bytes: nothing is guessed. */
export function bytesOfBase64(text: ByteText): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  for (let at = 0, to = 0; at < text.length; at += 4, to += 3) {
    let word = 0;
    for (let n = 0; n < 4; n++) {
      const isPadding = at + n >= text.length - padding;
      const value = isPadding ? 0 : digitValues.get(text.charAt(at + n));
      if (value === undefined) return undefined;
      word = (word << 6) | value;
    }
    for (let n = 0; n < 3; n++) if (to + n < bytes.length) bytes[to + n] = (word >> (16 - 8 * n)) & 255;
  }
  return base64OfBytes(bytes) === text ? bytes : undefined;
}
