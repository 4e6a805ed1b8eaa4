/** One line per request, for logs. */
import { commandFlags, commands, flagNames, nameIn } from "./protocol.ts";
import { cell, type RequestTable, type Slot } from "./request-table.ts";
import { verdictRow } from "./verdict.ts";

/** `NBD_CMD_WRITE 00000000000000a1 at 4096 length 512 NBD_CMD_FLAG_FUA: ok`; offset and length in bytes, cookie in hexadecimal. */
export function describeRequest(requests: RequestTable, slot: Slot): string {
  const cookie = [requests.cookieHigh, requests.cookieLow]
    .map((half) => cell(half, slot).toString(16).padStart(8, "0"))
    .join("");
  const flags = flagNames(commandFlags, cell(requests.flags, slot));
  const row = verdictRow(cell(requests.verdict, slot));
  const range = `at ${cell(requests.offset, slot)} length ${cell(requests.length, slot)}`;
  const end = row.error === 0 ? "ok" : `error ${row.error} (${row.text})`;
  return `${nameIn(commands, cell(requests.type, slot))} ${cookie} ${range}${flags === "" ? "" : ` ${flags}`}: ${end}`;
}
