/** The few lines that `lint` needs of files that are not heartbeat's: Apache's `Listen`, the iSCSI initiator's name. */
import { splitLines, splitWords, type Word } from "../config/words.ts";

export interface Listen extends Word {
  /** Empty: every address. IPv6 without brackets. */
  readonly address: string;
  readonly port: number;
}

/** Every `Listen` of Apache's configuration; those it could not understand are left out. */
export function parseListens(text: string, file: string): Listen[] {
  const found: Listen[] = [];
  for (const [index, line] of splitLines(text).entries()) {
    const [directive, value] = splitWords(line, " \t", file, index + 1);
    if (directive?.text.toLowerCase() !== "listen" || value === undefined) continue;
    const match = /^(?:(?:\[([^\]]*)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(value.text);
    if (match === null) continue;
    const written = match[1] ?? match[2] ?? "";
    const address = written === "*" || written === "0.0.0.0" || written === "::" ? "" : written;
    found.push({ text: value.text, at: value.at, address, port: Number(match[3]) });
  }
  return found;
}

export interface IscsiFile {
  readonly file: string;
  /** As written, possibly with upper-case letters; undefined where no line has it. */
  readonly initiator: Word | undefined;
  /** The keyword before `=`; iscsid knows `InitiatorName` only. */
  readonly keyword: string;
}

/** Reads /etc/iscsi/initiatorname.iscsi. */
export function parseInitiatorName(text: string, file: string): IscsiFile {
  for (const [index, line] of splitLines(text).entries()) {
    const match = /^(\s*(initiatorname)\s*=\s*)(\S+)/i.exec(line);
    if (match === null) continue;
    const at = { file, line: index + 1, column: (match[1] ?? "").length + 1 };
    return { file, initiator: { text: match[3] ?? "", at }, keyword: match[2] ?? "" };
  }
  return { file, initiator: undefined, keyword: "" };
}
