/** Help texts, made from the table of verbs. */
import { exitCodes } from "./exit-codes.ts";
import { generalOptions, isVerb, type OptionName, options, type Verb, verbNames, verbOf } from "./verbs.ts";

const groups = ["daily use", "state", "looking", "metadata", "other"] as const satisfies readonly Verb["group"][];

const argumentsOf = (verb: Verb): string => {
  const word = {
    volume: "{all | RES[/VOL] ...}",
    resource: "{all | RES ...}",
    "whole resource": "{all | RES ...}",
    "one resource": "RES",
    folder: "DIR",
    none: "",
    ignored: "",
  }[verb.scope];
  return verb.optional ? `[${word.slice(1, -1)}]` : word;
};

function optionLine(name: OptionName, note?: string): string {
  const row: { kind: string; short?: string; help: string } = options[name];
  const value = {
    flag: "",
    seconds: " SECONDS",
    count: " N",
    text: name === "config-file" ? " FILE" : ` ${name.toUpperCase()}`,
  };
  const short = row.short === undefined ? "    " : `-${row.short}, `;
  const left = `${short}--${name}${value[row.kind as keyof typeof value]}`;
  return `  ${left.padEnd(32)} ${note ?? row.help}`;
}

/** `futago` and `futago help`: examples first, then every verb. */
export function generalHelp(): string {
  const lines = [
    "futago - a block volume mirrored on two machines, compatible with DRBD 8.4",
    "",
    "USAGE: futago COMMAND [OPTION...] {all | RES | RES/VOL | minor-N | /dev/drbdN}...",
    "",
    "EXAMPLES (resource r0 of /etc/drbd.conf)",
    "  on both nodes, once:         futago create-md r0",
    "  on both nodes:               futago up r0",
    "  on ONE node, the first time: futago primary --force r0      copies its data to the other node",
    "  later, to use the data:      futago primary r0",
    "  how is it?                   futago status r0",
    "  what would happen?           futago --dry-run down r0",
    "  after a split brain, on the node whose changes are given up:",
    "                               futago disconnect r0; futago secondary r0; futago connect --discard-my-data r0",
    "  and on the other node:       futago connect r0",
  ];
  for (const group of groups) {
    lines.push("", group.toUpperCase());
    for (const name of verbNames) {
      const verb = verbOf(name);
      if (verb.group === group) lines.push(`  ${name.padEnd(18)} ${verb.summary}`);
    }
  }
  lines.push("", "OPTIONS OF EVERY COMMAND", ...generalOptions.map((name) => optionLine(name)));
  lines.push("", "futago help COMMAND explains one command, futago help exit-codes the exit codes.");
  return `${lines.join("\n")}\n`;
}

/** `hidden-commands`: what the general help leaves out. */
export function hiddenHelp(): string {
  const lines: string[] = [];
  for (const [group, title] of hiddenGroups) {
    lines.push(title);
    for (const name of verbNames)
      if (verbOf(name).group === group) lines.push(`  ${name.padEnd(21)} ${verbOf(name).summary}`);
    lines.push("");
  }
  return lines.map((line) => `${line}\n`).join("");
}

const hiddenGroups = [
  ["scripts", "COMMANDS FOR SCRIPTS"],
  ["handlers", "HANDLERS, as the configuration says"],
] as const satisfies readonly (readonly [Verb["group"], string])[];

function exitCodesHelp(): string {
  const rows = Object.values(exitCodes).map(({ code, meaning }) => `  ${String(code).padStart(2)}  ${meaning}`);
  return `EXIT CODES\n${rows.join("\n")}\nOf several resources the highest code counts; from 20 on the rest is not tried.\n`;
}

/** Help on a topic, or undefined if there is no such verb. */
export function helpOn(topic: string | undefined): string | undefined {
  if (topic === undefined) return generalHelp();
  if (topic === "exit-codes") return exitCodesHelp();
  if (!isVerb(topic)) return undefined;
  const verb = verbOf(topic);
  const lines = [`USAGE: futago ${topic} [OPTION...] ${argumentsOf(verb)}`.trimEnd(), "", `  ${verb.summary}`];
  if (verb.options.length > 0)
    lines.push("", "OPTIONS", ...verb.options.map((name) => optionLine(name, verb.notes?.[name])));
  lines.push("", "OPTIONS OF EVERY COMMAND", ...generalOptions.map((name) => optionLine(name)));
  return `${lines.join("\n")}\n`;
}
