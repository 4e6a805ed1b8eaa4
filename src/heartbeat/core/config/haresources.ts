/**
 * Reads haresources (heartbeat §15.1): groups of resources, each with the node that should run it. The yen sign that
 * Japanese fonts show for a backslash continues a line as the backslash does.
 */
import type { ConfigError, ConfigWarning, Position } from "../../../core/config/source.ts";
import { parseIpv4, parseServiceAddress, type ServiceAddress, serviceAddressForm } from "./addresses.ts";
import { Findings } from "./findings.ts";
import { MAX_FILE, oddCharacter, splitLines, splitWords, type Word } from "./words.ts";

export interface HaResource {
  /** Name of the script: `IPaddr` for a bare address. */
  readonly script: string;
  /** Without empty ones; the mount point of `Filesystem` starts with a slash. */
  readonly args: readonly string[];
  /** The word as written. */
  readonly written: string;
  readonly at: Position;
}

export interface HaResourceGroup {
  /** In lower case. */
  readonly node: string;
  /** Started in this order and stopped in reverse; at least one. The first is the key of the group. */
  readonly resources: readonly HaResource[];
  /** Written `#name` as the last word: the converter's id for it; empty: none. */
  readonly label: string;
  readonly at: Position;
}

/** Comments that haresources2cib reads: `#rsc_order A action before|after B`, `#rsc_colocation A B score`. */
export interface HaConstraint {
  readonly kind: "rsc_order" | "rsc_colocation";
  readonly words: readonly Word[];
  readonly at: Position;
}

/** What the operator wrote differently from what heartbeat needs; accepted. */
export type HaSlip =
  | { readonly kind: "yen"; readonly at: Position }
  | { readonly kind: "mount-point"; readonly found: string; readonly at: Position };

export interface HaResources {
  readonly file: string;
  readonly groups: readonly HaResourceGroup[];
  readonly constraints: readonly HaConstraint[];
  readonly slips: readonly HaSlip[];
}

export type HaResourcesResult =
  | { readonly haResources: HaResources; readonly warnings: readonly ConfigWarning[] }
  | { readonly errors: readonly ConfigError[] };

/** With `nodes`, those of ha.cf in lower case, other nodes are refused. */
export function parseHaResources(text: string, file: string, nodes?: readonly string[]): HaResourcesResult {
  const findings = new Findings();
  const reader = new HaResourcesReader(findings, file, nodes);
  const start = { file, line: 1, column: 1 };
  if (text.length > MAX_FILE) findings.syntax(`larger than ${MAX_FILE} characters`, { at: start });
  else for (const [index, line] of splitLines(text).entries()) reader.line(line, index + 1);
  reader.end();
  const { groups, constraints, slips } = reader;
  if (findings.errors.length > 0) return { errors: findings.errors };
  return { haResources: { file, groups, constraints, slips }, warnings: findings.warnings };
}

/** The address of an `IPaddr` or `IPaddr2`; undefined for another script. */
export function serviceAddressOf(resource: HaResource): ServiceAddress | undefined {
  if (!isAddressScript(resource.script)) return undefined;
  return parseServiceAddress(resource.args[0] ?? "");
}

const isAddressScript = (script: string): boolean => script === "IPaddr" || script === "IPaddr2";

const blanks = " \t";
const isContinuation = (text: string): boolean => text === "\\" || text === "¥";
const constraintLine = /^#(rsc_order|rsc_colocation)(?=[ \t])/;

class HaResourcesReader {
  readonly groups: HaResourceGroup[] = [];
  readonly constraints: HaConstraint[] = [];
  readonly slips: HaSlip[] = [];
  readonly #findings: Findings;
  readonly #file: string;
  readonly #nodes: readonly string[] | undefined;
  /** Words of the logical line so far. */
  #words: Word[] = [];
  #label = "";
  #isContinued = false;
  /** The line before ended with a continuation directly after a word. */
  #isGlued = false;

  constructor(findings: Findings, file: string, nodes: readonly string[] | undefined) {
    this.#findings = findings;
    this.#file = file;
    this.#nodes = nodes;
  }

  line(line: string, number: number): void {
    const constraint = this.#isContinued ? null : constraintLine.exec(line.trimStart());
    if (constraint !== null) return this.#constraint(constraint[1] ?? "", line, number);
    const hash = line.indexOf("#");
    if (hash >= 0) this.#comment(line.slice(hash + 1));
    let plain = (hash < 0 ? line : line.slice(0, hash)).trimEnd();
    const odd = oddCharacter(plain, this.#file, number);
    if (odd !== undefined) this.#findings.syntax(odd.text, { at: odd.at });
    const last = plain.charAt(plain.length - 1);
    const continues = isContinuation(last);
    const at = { file: this.#file, line: number, column: Math.max(1, plain.length) };
    if (continues) {
      if (last === "¥") this.#yen(at);
      if (plain.length < line.length) {
        this.#findings.warn("heartbeat sees a continuation only at the very end of the line", at);
      }
      plain = plain.slice(0, -1);
    }
    this.#checkGlue(plain, number);
    for (const word of splitWords(plain, blanks, this.#file, number)) this.#word(word);
    this.#isGlued = continues && plain !== "" && !blanks.includes(plain.charAt(plain.length - 1));
    this.#isContinued = continues;
    if (!continues) this.#group();
  }

  end(): void {
    if (this.#isContinued)
      this.#findings.warn("the last line is continued by nothing", this.#words.at(-1)?.at ?? this.#start);
    this.#group();
  }

  get #start(): Position {
    return { file: this.#file, line: 1, column: 1 };
  }

  #yen(at: Position): void {
    this.slips.push({ kind: "yen", at });
    this.#findings.warn("'¥' (U+00A5) is read as the backslash that continues a line", at);
  }

  /** `a\` and `b` are the word `ab` to heartbeat and two words to its converter. */
  #checkGlue(plain: string, number: number): void {
    if (!this.#isGlued || plain === "" || blanks.includes(plain.charAt(0))) return;
    const at = { file: this.#file, line: number, column: 1 };
    this.#findings.syntax("the continued line runs on into this one: put a blank between them", { at });
  }

  /** `#name` without a blank, as the last word of a line, names the group for the converter. */
  #comment(text: string): void {
    const name = text.trimEnd();
    if (/^[A-Za-z_][\w.:-]*$/.test(name)) this.#label = name;
  }

  #word(word: Word): void {
    if (word.text.includes("\\") || word.text.includes("¥")) {
      this.#findings.syntax(`'${word.text}': a line is continued at its end only`, { at: word.at, found: word.text });
    } else if (/^[(（]/.test(word.text)) {
      this.#findings.syntax(`'${word.text}': a remark starts with '#'`, { at: word.at, found: word.text });
    } else this.#words.push(word);
  }

  #group(): void {
    const [nodeWord, ...words] = this.#words;
    const label = this.#label;
    this.#words = [];
    this.#label = "";
    if (nodeWord === undefined) return;
    const node = nodeWord.text.toLowerCase();
    const { at } = nodeWord;
    if (node.includes("::") || parseIpv4(node) !== undefined || node.includes("/")) {
      return this.#findings.refuse(`'${nodeWord.text}' stands where the name of a node is expected`, { at });
    }
    if (this.#nodes !== undefined && !this.#nodes.includes(node)) {
      return this.#findings.refuse(`unknown node '${nodeWord.text}'`, { at, found: node, allowed: this.#nodes });
    }
    if (words.length === 0) return this.#findings.syntax(`node '${nodeWord.text}' without resources`, { at });
    const resources = words.map((word) => this.#resource(word)).filter((each) => each !== undefined);
    if (resources.length === words.length) this.groups.push({ node, resources, label, at });
  }

  #resource(word: Word): HaResource | undefined {
    const { text, at } = word;
    const [script = "", ...parts] = text.split("::");
    if (/^\d+\.\d+\.\d+\.\d+(\/|$)/.test(text)) return this.#address("IPaddr", [text], word);
    if (!/^\w[\w.+-]*$/.test(script)) {
      const detail = { at, found: text, allowed: [serviceAddressForm, "SCRIPT[::ARGUMENT…]"] };
      return this.#findings.syntax(`'${text}' is no resource`, detail);
    }
    const args = parts.filter((part) => part !== "");
    if (args.length < parts.length) {
      this.#findings.warn(
        `'${text}': an empty argument is left out, and the next takes its place, as with heartbeat`,
        at,
      );
    }
    if (isAddressScript(script)) return this.#address(script, args, word);
    if (script === "Filesystem") return this.#filesystem(args, word);
    return { script, args, written: text, at };
  }

  #address(script: string, args: readonly string[], { text, at }: Word): HaResource | undefined {
    if (parseServiceAddress(args[0] ?? "") === undefined) {
      const detail = { at, found: args[0] ?? "", allowed: [serviceAddressForm] };
      return this.#findings.refuse(`'${text}' has no valid address`, detail);
    }
    return { script, args, written: text, at };
  }

  #filesystem(args: readonly string[], { text, at }: Word): HaResource | undefined {
    const [device, directory = "", ...rest] = args;
    if (device === undefined || directory === "") {
      const detail = { at, found: text, allowed: ["Filesystem::DEVICE::DIRECTORY[::FSTYPE[::OPTIONS]]"] };
      return this.#findings.refuse(`'${text}' without a device and a mount point`, detail);
    }
    if (directory.startsWith("/")) return { script: "Filesystem", args, written: text, at };
    this.slips.push({ kind: "mount-point", found: directory, at });
    this.#findings.warn(`mount point '${directory}' has no leading slash and is read as '/${directory}'`, at);
    return { script: "Filesystem", args: [device, `/${directory}`, ...rest], written: text, at };
  }

  #constraint(name: string, line: string, number: number): void {
    const [first, ...words] = splitWords(line, blanks, this.#file, number);
    if (first === undefined) return;
    const kind = name as HaConstraint["kind"];
    const wanted = kind === "rsc_order" ? 4 : 3;
    if (words.length === wanted) this.constraints.push({ kind, words, at: first.at });
    else this.#findings.warn(`'#${kind}' takes ${wanted} words and is a mere remark here`, first.at);
  }
}
