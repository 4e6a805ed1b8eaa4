import test from "ava";
import { parseCommandLine } from "../../../src/cli/command-line.ts";
import { exitCodes } from "../../../src/cli/exit-codes.ts";
import { generalHelp, helpOn, hiddenHelp } from "../../../src/cli/help.ts";
import { verbNames, verbOf } from "../../../src/cli/verbs.ts";

const isHidden = (verb: (typeof verbNames)[number]): boolean => ["scripts", "handlers"].includes(verbOf(verb).group);

test("hidden-commands names the verbs that the general help leaves out", (t) => {
  const text = hiddenHelp();
  for (const verb of verbNames) t.is(new RegExp(`^  ${verb} +\\S`, "m").test(text), isHidden(verb), verb);
});

test("the general help names every verb and gives examples that parse", (t) => {
  const text = generalHelp();
  for (const verb of verbNames) t.is(new RegExp(`^  ${verb} +\\S`, "m").test(text), !isHidden(verb), verb);
  const examples = text
    .slice(text.indexOf("EXAMPLES"), text.indexOf("DAILY USE"))
    .matchAll(/futago ([^;\n]+?)(?=;|\n| {2})/g);
  const lines = [...examples].map((match) => match[1] ?? "");
  t.true(lines.length >= 8, "there are examples");
  for (const line of lines) t.is(parseCommandLine(line.split(" ")).kind, "command", line);
});

test("each verb's help says its usage and all of its options", (t) => {
  for (const verb of verbNames) {
    const text = helpOn(verb) ?? "";
    t.true(text.startsWith(`USAGE: futago ${verb}`), verb);
    for (const option of verbOf(verb).options) t.regex(text, new RegExp(`--${option} .*\\S`), `${verb} --${option}`);
  }
});

test("no line of help is wider than a terminal of 132 columns", (t) => {
  for (const topic of [undefined, "exit-codes", ...verbNames]) {
    for (const line of (helpOn(topic) ?? "").split("\n")) t.true(line.length <= 132, line);
  }
});

test("the exit codes are a topic, anything unknown is none", (t) => {
  const text = helpOn("exit-codes") ?? "";
  for (const { code, meaning } of Object.values(exitCodes)) t.true(text.includes(`${code}  ${meaning}`));
  t.is(helpOn("nonsense"), undefined);
});
