import { readFileSync } from "node:fs";
import test from "ava";
import { parseCommandLine } from "../../../src/cli/command-line.ts";
import { linkNames } from "../../../src/cli/programs.ts";
import { verbNames, verbOf } from "../../../src/cli/verbs.ts";

const text = readFileSync(new URL("../../../docs/commands.md", import.meta.url), "utf8");
const sections = new Map(
  text
    .split(/^### /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf("\n")), section]),
);

test("docs/commands.md has a section for each command of the table, and for no other", (t) => {
  t.deepEqual([...sections.keys()].sort(), [...verbNames].sort());
});

for (const verb of verbNames) {
  test(`docs/commands.md: ${verb} has its summary, its options, and examples that parse`, (t) => {
    const section = sections.get(verb) ?? "";
    const { summary, options } = verbOf(verb);
    t.true(section.toLowerCase().includes(summary.toLowerCase()), summary);
    for (const option of options) t.true(section.includes(`\`--${option}\``), option);
    const examples = [...section.matchAll(/^futago (.*)$/gm)].map((match) => (match[1] ?? "").replace(/ *#.*/, ""));
    t.true(examples.length > 0);
    for (const example of examples) {
      const parsed = parseCommandLine(example.split(" "));
      t.true(parsed.kind === "command" ? parsed.verb === verb : parsed.kind === "help", example);
    }
  });
}

test("docs/commands.md tells of each program of another name", (t) => {
  for (const name of linkNames) t.regex(text, new RegExp(`^\\| ${name} \\|`, "m"));
});
