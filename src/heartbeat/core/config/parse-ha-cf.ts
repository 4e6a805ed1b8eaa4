/** Reads ha.cf (heartbeat §13). What heartbeat refuses at start is refused here, with its place. */
import type { ConfigError, ConfigWarning, Position } from "../../../core/config/source.ts";
import { type Milliseconds, ms } from "../../../core/units.ts";
import { Findings } from "./findings.ts";
import type { HaCf } from "./ha-cf.ts";
import { HaCfLists } from "./ha-cf-lists.ts";
import {
  HA_PORT,
  type HaCfLine,
  type HaCfRow,
  type HaCfScalar,
  type HaCfValues,
  haCfDirectives,
  haCfLines,
  haCfScalars,
} from "./ha-cf-options.ts";
import { booleanWords, haCfTimeForms, parseBoolean, parseCount, parseHaCfTime } from "./quantities.ts";
import { MAX_FILE, MAX_LINE, oddCharacter, splitLines, splitWords, type Word } from "./words.ts";

export type HaCfResult =
  | { readonly haCf: HaCf; readonly warnings: readonly ConfigWarning[] }
  | { readonly errors: readonly ConfigError[] };

export interface HaCfChoices {
  /** `uname -n`: refused where it is not among the nodes. Empty or absent: not checked. */
  readonly nodeName?: string;
  /** Port of the service `ha-cluster` in /etc/services, where it has one. */
  readonly servicePort?: number;
  /** Whether `respawn` and `failfast` can run a program as `user`. Absent: not checked. */
  readonly hasUser?: (user: string) => boolean;
}

type OwnScalar = Exclude<HaCfScalar, "pacemaker" | "nice_failback">;

/** All errors of the file at once; nothing of it is usable then, as with heartbeat. */
export function parseHaCf(text: string, file: string, choices: HaCfChoices = {}): HaCfResult {
  const reader = new HaCfReader(file, choices);
  if (text.length > MAX_FILE) {
    reader.findings.syntax(`larger than ${MAX_FILE} characters`, { at: { file, line: 1, column: 1 } });
  } else {
    for (const [index, line] of splitLines(text).entries()) reader.line(line, index + 1);
  }
  return reader.finish();
}

class HaCfReader {
  readonly findings = new Findings();
  readonly #file: string;
  readonly #choices: HaCfChoices;
  readonly #lists: HaCfLists;
  readonly #values = new Map<OwnScalar, unknown>();
  readonly #written = new Map<OwnScalar, Position>();
  #lines = 0;

  constructor(file: string, choices: HaCfChoices) {
    this.#file = file;
    this.#choices = choices;
    this.#lists = new HaCfLists(this.findings, choices.servicePort ?? HA_PORT, choices.hasUser ?? (() => true));
  }

  line(whole: string, number: number): void {
    this.#lines = number;
    const at = { file: this.#file, line: number, column: 1 };
    if (whole.length > MAX_LINE) {
      return this.findings.syntax(`a line longer than ${MAX_LINE} characters, which heartbeat would cut`, { at });
    }
    const [plain = ""] = whole.split("#", 1);
    const odd = oddCharacter(plain, this.#file, number);
    if (odd !== undefined) return this.findings.syntax(odd.text, { at: odd.at });
    const [directive] = splitWords(plain, " \t", this.#file, number);
    if (directive === undefined) return;
    const end = directive.at.column - 1 + directive.text.length;
    const name = directive.text;
    if (isScalar(name))
      this.#scalars(name, directive, splitWords(plain.slice(end), " ,\t", this.#file, number, end + 1));
    else if (isLine(name)) this.#line(name, directive, plain.slice(end), end + 1);
    else
      this.findings.syntax(`unknown directive '${name}'`, { at: directive.at, found: name, allowed: haCfDirectives });
  }

  #line(written: HaCfLine, directive: Word, rest: string, column: number): void {
    const row: HaCfRow = haCfLines[written];
    if (row.ignored === true) this.#ignored(directive);
    const name = (row.aliasOf ?? written) as HaCfLine;
    const separators = row.kind === "line" && row.form === "words" ? " ,\t" : " \t";
    const words = splitWords(rest, separators, this.#file, directive.at.line, column);
    if (words.length > 0) this.#lists.add(name, directive.at, words, rest);
    else
      this.findings.syntax(`'${written}' without a value`, { at: directive.at, allowed: [haCfLines[written].holds] });
  }

  #scalars(written: HaCfScalar, directive: Word, words: readonly Word[]): void {
    const row: HaCfRow = haCfScalars[written];
    if (row.ignored === true) this.#ignored(directive);
    if (words.length === 0) {
      this.findings.warn(`'${written}' without a value has no effect, as with heartbeat`, directive.at);
    } else if (words.length > 1) {
      this.findings.warn(`'${written}' has one value: the last of the ${words.length} words counts`, directive.at);
    }
    for (const word of words) this.#scalar(written, row, word, directive.at);
  }

  #ignored(directive: Word): void {
    this.findings.warn(`'${directive.text}' is read and has no effect here`, directive.at);
  }

  #scalar(written: HaCfScalar, row: HaCfRow, word: Word, at: Position): void {
    const value = this.#judge(written, row, word);
    if (value === undefined) return;
    if (written === "nice_failback") return this.#niceFailback(at);
    const name = (row.aliasOf ?? written) as OwnScalar;
    const first = this.#written.get(name);
    if (first !== undefined && onceOnly.includes(name)) {
      return this.findings.refuse(`'${written}' is written twice`, { at, first });
    }
    if (first !== undefined && first.line !== at.line) {
      this.findings.warn(`'${written}' replaces the value of line ${first.line}`, at);
    }
    this.#keep(name, value, at);
  }

  /** What heartbeat makes of it, whatever its value: `off` after `auto_failback on` or `off`, else `legacy`. */
  #niceFailback(at: Position): void {
    const before = this.#values.get("auto_failback") ?? "legacy";
    const mapped = before === "legacy" ? "legacy" : "off";
    this.findings.warn(`'nice_failback' is obsolete and read as 'auto_failback ${mapped}', as with heartbeat`, at);
    this.#keep("auto_failback", mapped, at);
  }

  #keep(name: OwnScalar, value: unknown, at: Position): void {
    this.#values.set(name, value);
    this.#written.set(name, at);
    if (name === "udpport") this.#lists.port(value as number, at);
  }

  /** The word as a value of its row; undefined after a refusal. */
  #judge(name: HaCfScalar, row: HaCfRow, { text, at }: Word): unknown {
    const refuse = (what: string, allowed: readonly string[]): undefined =>
      this.findings.refuse(`${name} '${text}' ${what}`, { at, found: text, allowed });
    switch (row.kind) {
      case "time": {
        const value = parseHaCfTime(text);
        if (value === undefined) return refuse("is not a time", haCfTimeForms);
        return value < row.min ? refuse("is too short", [`${row.min}ms or more`]) : value;
      }
      case "number": {
        const value = parseCount(text, row.min, row.max);
        if (row.oneOf !== undefined && (value === undefined || !row.oneOf.includes(value))) {
          return refuse("is not one of its values", row.oneOf.map(String));
        }
        return value ?? refuse("is out of range", [`${row.min}..${row.max}`]);
      }
      case "boolean":
        return parseBoolean(text) ?? refuse("is not a boolean", booleanWords);
      case "oneOf": {
        const boolean = row.booleans === undefined ? undefined : parseBoolean(text);
        if (boolean !== undefined && row.booleans !== undefined) return row.booleans[boolean ? 0 : 1];
        const value = row.values.find((each) => each === text.toLowerCase());
        return (
          value ??
          refuse(
            "is not one of its values",
            row.values.filter((each) => each !== ""),
          )
        );
      }
      case "text":
        return text;
      default:
        return undefined;
    }
  }

  finish(): HaCfResult {
    const { findings } = this;
    const values = this.#resolved();
    const end = { file: this.#file, line: Math.max(1, this.#lines), column: 1 };
    const { nodes, media } = this.#lists;
    if (nodes.length === 0) findings.refuse("no node: at least one 'node' line is needed", { at: end });
    if (media.length === 0) {
      findings.refuse("no heartbeat medium", { at: end, allowed: ["bcast", "ucast", "mcast", "ucast6", "mcast6"] });
    }
    const own = this.#choices.nodeName?.toLowerCase() ?? "";
    if (own !== "" && nodes.length > 0 && nodes.every((node) => node.text !== own)) {
      const allowed = nodes.map((node) => node.text);
      findings.refuse(`this node '${own}' is not among the nodes`, { at: end, found: own, allowed });
    }
    this.#checkTimes(values, end);
    if (values.autojoin !== "none" && values.crm === "no") {
      const at = this.#written.get("autojoin") ?? end;
      findings.refuse(`autojoin '${values.autojoin}' needs 'crm yes'`, {
        at,
        found: values.autojoin,
        allowed: ["none"],
      });
    }
    if (findings.errors.length > 0) return { errors: findings.errors };
    const { pingNodes, clients, apiauth, stonith, stonithHosts, env } = this.#lists;
    const lists = { nodes, media, pingNodes, clients, apiauth, stonith, stonithHosts, env };
    return { haCf: { file: this.#file, values, written: this.#written, ...lists }, warnings: findings.warnings };
  }

  #resolved(): HaCfValues {
    const values: Record<string, unknown> = {};
    for (const [name, row] of Object.entries(haCfScalars)) {
      values[name] = this.#values.get(name as OwnScalar) ?? row.byDefault;
    }
    delete values["pacemaker"];
    delete values["nice_failback"];
    if (!this.#values.has("udpport")) values["udpport"] = this.#choices.servicePort ?? HA_PORT;
    const deadtime = values["deadtime"] as Milliseconds;
    const derived = { warntime: ms(deadtime / 2), initdead: defaultInitdead(deadtime), deadping: deadtime };
    for (const [name, value] of Object.entries(derived)) if (values[name] === "derived") values[name] = value;
    return values as HaCfValues;
  }

  /** heartbeat §8.2: what it refuses at start. */
  #checkTimes(values: HaCfValues, end: Position): void {
    const { keepalive, deadtime, initdead, deadping } = values;
    const place = (name: OwnScalar): Position => this.#written.get(name) ?? end;
    if (deadtime <= 2 * keepalive) {
      const text = `deadtime ${deadtime} ms must be more than twice keepalive (${keepalive} ms)`;
      this.findings.refuse(text, { at: place("deadtime") });
    }
    if (initdead < deadtime) {
      const text = `initdead ${initdead} ms must not be less than deadtime (${deadtime} ms)`;
      this.findings.refuse(text, { at: place("initdead") });
    }
    if (this.#written.has("deadping") && deadping <= 2 * keepalive) {
      const text = `deadping ${deadping} ms must be more than twice keepalive (${keepalive} ms)`;
      this.findings.refuse(text, { at: place("deadping") });
    }
  }
}

/** heartbeat refuses a second one. */
const onceOnly: readonly OwnScalar[] = ["watchdog", "baud", "crm"];

const isScalar = (name: string): name is HaCfScalar => Object.hasOwn(haCfScalars, name);
const isLine = (name: string): name is HaCfLine => Object.hasOwn(haCfLines, name);

function defaultInitdead(deadtime: Milliseconds): Milliseconds {
  if (deadtime > 10_000) return deadtime;
  return deadtime < 6000 ? ms(12_000) : ms(2 * deadtime);
}
