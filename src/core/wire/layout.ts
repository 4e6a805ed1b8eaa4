/**
 * Fixed binary structures as data: a layout names its fields in wire order, and sizes, offsets, encoder and decoder follow from
 * it. Everything is packed and big-endian (drbd-84 §0). Control path and tests walk the fields; the data path uses the offsets.
 */

/** One kind of field. `show` is how the trace prints a value; the default is decimal. */
export interface FieldType<Value> {
  readonly bytes: number;
  /** Written as zero when the encoder is given no value; whatever stands there on receipt is ignored. */
  readonly reserved?: boolean;
  read(view: DataView, at: number): Value;
  write(view: DataView, at: number, value: Value): void;
  show?(value: Value): string;
}

/** A field without meaning: may be left out when encoding. */
export interface ReservedType extends FieldType<number> {
  readonly reserved: true;
}

export type Fields = Readonly<Record<string, FieldType<unknown>>>;
type ValueOf<Type> = Type extends FieldType<infer Value> ? Value : never;
type ReservedKeys<F extends Fields> = { [K in keyof F]: F[K] extends ReservedType ? K : never }[keyof F];
/** What decoding yields: every field, reserved ones too. */
export type Decoded<F extends Fields> = { -readonly [K in keyof F]: ValueOf<F[K]> };
/** What encoding takes: every field, reserved ones only if wanted. */
export type Encodable<F extends Fields> = { readonly [K in Exclude<keyof F, ReservedKeys<F>>]: ValueOf<F[K]> } & {
  readonly [K in ReservedKeys<F>]?: ValueOf<F[K]>;
};

/** A packed structure of `bytes` bytes. `at` is an offset into the view; the structure must lie within the view. */
export interface Layout<F extends Fields> {
  readonly bytes: number;
  readonly fields: F;
  readonly offset: { readonly [K in keyof F]: number };
  /** Returns the bytes written. Throws RangeError for a text that does not fit: texts are bounded where they are configured. */
  encode(view: DataView, at: number, values: Encodable<F>): number;
  decode(view: DataView, at: number): Decoded<F>;
}

/** A layout whose fields are not known at compile time. */
export interface AnyLayout {
  readonly bytes: number;
  readonly fields: Fields;
  readonly offset: Readonly<Record<string, number>>;
  encode(view: DataView, at: number, values: Readonly<Record<string, unknown>>): number;
  decode(view: DataView, at: number): Record<string, unknown>;
}

/** Fields in wire order, packed without holes. */
export function layout<const F extends Fields>(fields: F): Layout<F> {
  const entries = Object.entries(fields);
  const offset: Record<string, number> = {};
  let bytes = 0;
  for (const [name, type] of entries) {
    offset[name] = bytes;
    bytes += type.bytes;
  }
  return {
    bytes,
    fields,
    offset: offset as { readonly [K in keyof F]: number },
    encode(view, at, values) {
      const given = values as Readonly<Record<string, unknown>>;
      let next = at;
      for (const [name, type] of entries) {
        type.write(view, next, type.reserved === true ? (given[name] ?? 0) : given[name]);
        next += type.bytes;
      }
      return bytes;
    },
    decode(view, at) {
      const values: Record<string, unknown> = {};
      let next = at;
      for (const [name, type] of entries) {
        values[name] = type.read(view, next);
        next += type.bytes;
      }
      return values as Decoded<F>;
    },
  };
}

const TWO_32 = 2 ** 32;

/**
 * An unsigned 64-bit number as a double. Exact below 2^53. A larger one reads as the nearest double, which is never below 2^53, so
 * that every bound check refuses it.
 */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at) * TWO_32 + view.getUint32(at + 4);
}

/** `value`: an integer in 0 … 2^53. */
export function writeU64(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  view.setUint32(at, high);
  view.setUint32(at + 4, value - high * TWO_32);
}

const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, "0");

export const u8: FieldType<number> = {
  bytes: 1,
  read: (view, at) => view.getUint8(at),
  write: (view, at, value) => view.setUint8(at, value),
};

export const u16: FieldType<number> = {
  bytes: 2,
  read: (view, at) => view.getUint16(at),
  write: (view, at, value) => view.setUint16(at, value),
};

export const u32: FieldType<number> = {
  bytes: 4,
  read: (view, at) => view.getUint32(at),
  write: (view, at, value) => view.setUint32(at, value),
};

/** Two's complement. */
export const i32: FieldType<number> = {
  bytes: 4,
  read: (view, at) => view.getInt32(at),
  write: (view, at, value) => view.setInt32(at, value),
};

/** A count, size or sector: see {@link readU64} for values of 2^53 and more. */
export const u64: FieldType<number> = { bytes: 8, read: readU64, write: writeU64 };

/** A generation UUID: all 64 bits matter. Shown as 16 hex digits. */
export const uuid64: FieldType<bigint> = {
  bytes: 8,
  read: (view, at) => view.getBigUint64(at),
  write: (view, at, value) => view.setBigUint64(at, value),
  show: (value) => hex(value, 16),
};

/** Four bytes of the sender's own, echoed unchanged; read as a big-endian number only to have a value (drbd-84 §2.4). */
export const opaque4: FieldType<number> = { ...u32, show: (value) => `0x${hex(value, 8)}` };

/** Eight bytes of the sender's own, echoed unchanged. */
export const opaque8: FieldType<bigint> = { ...uuid64 };

/** A word that means nothing: written as zero, ignored on receipt because kernels leave stale memory in some (drbd-84 §2.4). */
export const pad32: ReservedType = { ...u32, reserved: true, show: (value) => `0x${value.toString(16)}` };
export const pad8: ReservedType = { ...u8, reserved: true };

/** A 32-bit word whose trace form is `show`. */
export const word32 = (show: (value: number) => string): FieldType<number> => ({ ...u32, show });
/** A 16-bit word whose trace form is `show`. */
export const word16 = (show: (value: number) => string): FieldType<number> => ({ ...u16, show });
/** A 64-bit word below 2^53 whose trace form is `show`. */
export const word64 = (show: (value: number) => string): FieldType<number> => ({ ...u64, show });

/** `count` raw bytes; decoding copies them. */
export function octets(count: number): FieldType<Uint8Array> {
  return {
    bytes: count,
    read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, count).slice(),
    write(view, at, value) {
      if (value.length !== count) throw new RangeError(`expected ${count} bytes, got ${value.length}`);
      new Uint8Array(view.buffer, view.byteOffset + at, count).set(value);
    },
    show: (value) => (value.every((byte) => byte === 0) ? "zero" : hexOf(value)),
  };
}

/** Text of at most `count` - 1 bytes, zero filled to `count`. Reading ends at the first NUL, at the latest before the last byte. */
export function text(count: number): FieldType<string> {
  return {
    bytes: count,
    read: (view, at) => readText(view, at, count - 1),
    write(view, at, value) {
      if (value.length >= count) throw new RangeError(`text of ${value.length} bytes in a field of ${count}`);
      for (let n = 0; n < count; n++) view.setUint8(at + n, n < value.length ? asciiAt(value, n) : 0);
    },
    show: showText,
  };
}

/** The characters of `view[at, at + length)` up to the first NUL, one per byte. */
export function readText(view: DataView, at: number, length: number): string {
  let value = "";
  for (let n = 0; n < length; n++) {
    const byte = view.getUint8(at + n);
    if (byte === 0) break;
    value += String.fromCharCode(byte);
  }
  return value;
}

/** Writes `value` and a NUL; returns the bytes written. Throws RangeError for a character outside ASCII. */
export function writeText(view: DataView, at: number, value: string): number {
  for (let n = 0; n < value.length; n++) view.setUint8(at + n, asciiAt(value, n));
  view.setUint8(at + value.length, 0);
  return value.length + 1;
}

function asciiAt(value: string, n: number): number {
  const code = value.charCodeAt(n);
  if (code === 0 || code > 0x7f) throw new RangeError(`character ${code} at ${n} is not ASCII`);
  return code;
}

/** Quoted for a log line: whatever a peer put there cannot break the line. */
export function showText(value: string): string {
  return JSON.stringify(value);
}

/** Lower-case hex digits, two per byte. */
export function hexOf(bytes: Uint8Array): string {
  let digits = "";
  for (const byte of bytes) digits += hex(byte, 2);
  return digits;
}
