/**
 * Words of the command line into a verb, its options and its arguments. Options may stand before or after the verb; a lone
 * `--` and drbdadm's `-W` are accepted where old scripts have them: `futago -- --overwrite-data-of-peer primary r0`.
 */
import { generalOptions, isVerb, type OptionName, options, type VerbName, verbOf } from "./verbs.ts";

/** Only options that were given are present; flags given as `no` are absent. */
export type GivenOptions = {
  readonly [Name in OptionName]?: (typeof options)[Name]["kind"] extends "text"
    ? string
    : (typeof options)[Name]["kind"] extends "flag"
      ? true
      : number;
};

export type CommandLine =
  | {
      readonly kind: "command";
      readonly verb: VerbName;
      readonly given: GivenOptions;
      readonly words: readonly string[];
    }
  /** `topic` undefined: the general help. Asking for nothing at all gets it too, but is wrong usage, as with drbdadm. */
  | { readonly kind: "help"; readonly topic: string | undefined; readonly exit: "ok" | "usage" }
  | { readonly kind: "refused"; readonly exit: "usage" | "syntax"; readonly text: string };

interface Option {
  readonly name: OptionName;
  readonly value: string | undefined;
}

const shortNames = new Map<string, OptionName>(
  (Object.entries(options) as [OptionName, { short?: string }][]).flatMap(([name, row]) =>
    row.short === undefined ? [] : [[row.short, name] as const],
  ),
);

const isOption = (name: string): name is OptionName => Object.hasOwn(options, name);
const takesValue = (name: OptionName): boolean => options[name].kind !== "flag";
const refused = (exit: "usage" | "syntax", text: string): CommandLine => ({ kind: "refused", exit, text });
const unrecognized = (word: string): CommandLine =>
  refused("usage", `futago: unrecognized option '${word}'\ntry 'futago help'`);

/** 8.3's names that 8.4 still knows. */
const deprecated: ReadonlyMap<string, VerbName> = new Map([["state", "role"]]);

/** Reads the words after the program's name. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const found: Option[] = [];
  const words: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = (argv[i] ?? "").replace(/^-W(?=-)/, "");
    if (word === "--") continue;
    if (word === "-" || !word.startsWith("-")) {
      words.push(word);
      continue;
    }
    const option = optionOf(word);
    if (option === undefined) return unrecognized(word);
    const needsNext = takesValue(option.name) && option.value === undefined;
    if (needsNext && i + 1 >= argv.length) return refused("usage", `futago: option '${word}' requires an argument`);
    found.push(needsNext ? { name: option.name, value: argv[++i] } : option);
  }
  return commandOf(words, found);
}

/** `--name`, `--name=value`, `-x`, `-xvalue`. */
function optionOf(word: string): Option | undefined {
  if (word.startsWith("--")) {
    const equals = word.indexOf("=");
    const name = word.slice(2, equals < 0 ? undefined : equals);
    return isOption(name) ? { name, value: equals < 0 ? undefined : word.slice(equals + 1) } : undefined;
  }
  const name = shortNames.get(word.charAt(1));
  if (name === undefined) return undefined;
  const rest = word.slice(2);
  if (rest === "") return { name, value: undefined };
  return takesValue(name) ? { name, value: rest } : undefined;
}

function commandOf(words: readonly string[], found: readonly Option[]): CommandLine {
  const [word, ...rest] = words;
  const first = deprecated.get(word ?? "") ?? word;
  const asks = (name: OptionName): boolean => found.some((option) => option.name === name);
  if (first === undefined && asks("version")) return { kind: "command", verb: "version", given: {}, words: [] };
  if (first === "help") return { kind: "help", topic: rest[0], exit: "ok" };
  if (first === undefined)
    return found.every((one) => one.name === "help")
      ? { kind: "help", topic: undefined, exit: asks("help") ? "ok" : "usage" }
      : noCommand;
  if (!isVerb(first)) return refused("usage", `futago: Unknown command '${first}'\ntry 'futago help'`);
  if (asks("help")) return { kind: "help", topic: first, exit: "ok" };
  const verb = verbOf(first);
  const given: Record<string, string | number | true> = {};
  for (const option of found) {
    if (!generalOptions.includes(option.name) && !verb.options.includes(option.name))
      return unrecognized(`--${option.name}`);
    const value = optionValue(option);
    if (typeof value === "object") return value;
    if (value === false) delete given[option.name];
    else given[option.name] = value;
  }
  if (verb.scope === "folder" && rest.length !== 1) return refused("usage", `futago ${first}: one folder, please`);
  if (verb.scope === "none" && rest.length > 0) return refused("usage", `futago ${first}: takes no arguments`);
  return { kind: "command", verb: first, given: given as GivenOptions, words: rest };
}

const noCommand = refused("usage", "futago: No command specified\ntry 'futago help'");

function optionValue({ name, value }: Option): string | number | boolean | CommandLine {
  const { kind } = options[name];
  if (kind === "flag") {
    if (value === undefined || value === "yes") return true;
    return value === "no" ? false : refused("syntax", `futago: option '--${name}': expected yes or no, got '${value}'`);
  }
  const text = value ?? "";
  if (kind === "text") return text === "" ? refused("syntax", `futago: option '--${name}': expected a value`) : text;
  if (!/^\d{1,9}$/.test(text))
    return refused("syntax", `futago: option '--${name}': expected a whole number, got '${text}'`);
  return Number(text);
}
