/** Reads the data of the options that carry any (proto.md "Option types"). Pure; every length is checked against the data. */
import { decodeText } from "./text.ts";

export interface InfoRequest {
  readonly name: string;
  readonly wanted: readonly number[];
}

export interface MetaContextRequest {
  readonly name: string;
  readonly queries: readonly string[];
}

/** `invalid` says what is wrong, for NBD_REP_ERR_INVALID's message. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly invalid: string };

const invalid = (text: string) => ({ ok: false, invalid: text }) as const;

/** Data of NBD_OPT_INFO and NBD_OPT_GO: u32 name length, name, u16 count, that many u16 information types. */
export function parseInfoRequest(view: DataView, at: number, length: number): Parsed<InfoRequest> {
  if (length < 6) return invalid(`option data: expected at least 6 bytes, actual ${length}`);
  const nameLength = view.getUint32(at);
  if (nameLength > length - 6) return invalid(`name length: expected at most ${length - 6}, actual ${nameLength}`);
  const name = decodeText(view, at + 4, nameLength);
  if (name === undefined) return invalid("export name: not UTF-8 without NUL");
  const count = view.getUint16(at + 4 + nameLength);
  const expected = 6 + nameLength + 2 * count;
  if (expected !== length) return invalid(`option data: expected ${expected} bytes, actual ${length}`);
  const wanted: number[] = [];
  for (let i = 0; i < count; i++) wanted.push(view.getUint16(at + 6 + nameLength + 2 * i));
  return { ok: true, value: { name, wanted } };
}

/** Data of the META_CONTEXT options: u32 name length, name, u32 count, that many (u32 length, query). */
export function parseMetaContextRequest(view: DataView, at: number, length: number): Parsed<MetaContextRequest> {
  const end = at + length;
  if (length < 8) return invalid(`option data: expected at least 8 bytes, actual ${length}`);
  const nameLength = view.getUint32(at);
  if (nameLength > length - 8) return invalid(`name length: expected at most ${length - 8}, actual ${nameLength}`);
  const name = decodeText(view, at + 4, nameLength);
  if (name === undefined) return invalid("export name: not UTF-8 without NUL");
  let position = at + 4 + nameLength;
  const count = view.getUint32(position);
  position += 4;
  const queries: string[] = [];
  for (let i = 0; i < count; i++) {
    if (end - position < 4) return invalid(`queries: expected ${count}, actual ${i}`);
    const queryLength = view.getUint32(position);
    position += 4;
    if (queryLength > end - position) {
      return invalid(`query length: expected at most ${end - position}, actual ${queryLength}`);
    }
    const query = decodeText(view, position, queryLength);
    if (query === undefined) return invalid("query: not UTF-8 without NUL");
    queries.push(query);
    position += queryLength;
  }
  if (position !== end) return invalid(`option data: expected ${position - at} bytes, actual ${length}`);
  return { ok: true, value: { name, queries } };
}
