/**
 * Style as a test: what the linter and the compiler cannot see. Each rule is a function from files to violations, applied
 * to the tree and, so that it cannot rot into one that finds nothing, to a sample.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

/** Text by path; paths are relative to the repository, with `/`. */
type Files = ReadonlyMap<string, string>;
type Rule = (files: Files) => readonly string[];

const root = fileURLToPath(new URL("..", import.meta.url));
const self = "test/tidy.test.ts";

/** Not written by hand: dependencies, build output, captures, corpora, and git's own files. */
const skippedDirectories = new Set([
  "node_modules",
  "build",
  "dist",
  "coverage",
  ".git",
  "vectors",
  "corpus",
  "results",
]);
const textFile = /(?:\.(?:ts|js|mjs|cjs|json|cc|h|c|gyp|proto|sh|md|txt|kmsg|conf|service|yml)|\/run|\/futago[\w-]*)$/;

function readTree(directory: string, into: Map<string, string>): Map<string, string> {
  for (const entry of readdirSync(join(root, directory), { withFileTypes: true })) {
    const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!skippedDirectories.has(entry.name)) readTree(path, into);
    } else if (textFile.test(path)) {
      into.set(path, readFileSync(join(root, path), "utf8"));
    }
  }
  return into;
}

const tree: Files = readTree("", new Map());
const inDirectories = (path: string, names: readonly string[]): boolean =>
  names.some((name) => path.startsWith(`${name}/`));
const lineOf = (text: string, index: number): number => text.slice(0, index).split("\n").length;

const maxLines = 600;
const codeFile = /\.(?:ts|js|mjs|cjs|cc|h|c)$/;
const shortFiles: Rule = (files) =>
  [...files]
    .filter(([path]) => inDirectories(path, ["src", "native", "test", "bench", "scripts"]) && codeFile.test(path))
    .map(([path, text]) => [path, text.trimEnd().split("\n").length] as const)
    .filter(([, lines]) => lines > maxLines)
    .map(([path, lines]) => `${path}: ${lines} lines, at most ${maxLines}: split it`);

/** What the project never says, and what to do instead. */
const bannedWords: readonly (readonly [RegExp, string])[] = [
  [/\b(?:TODO|FIXME|XXX)\b/g, "do it, or write it into the list of what is missing"],
  [/(?<![\w./-])\/(?:work|workspace|builds|Users|home\/\w+)\//g, "a path of somebody's machine"],
  [
    /\bhttps?:\/\/[\w.-]*\b(?:registry|artifactory|verdaccio|nexus|mirror)\b[\w.-]*/g,
    "the address of a package registry",
  ],
];
/** npm's own registry is where everybody's lock file points to. */
const publicRegistry = "https://registry.npmjs.org";

const cleanWords: Rule = (files) =>
  [...files]
    .filter(([path]) => path !== self)
    .flatMap(([path, text]) =>
      bannedWords.flatMap(([pattern, why]) =>
        [...text.matchAll(pattern)]
          .filter(([found]) => found !== publicRegistry)
          .map((match) => `${path}:${lineOf(text, match.index)}: "${match[0]}": ${why}`),
      ),
    );

/** Comments blanked out, strings and line numbers kept. Regular expressions with quotes confuse it within a line. */
function withoutComments(text: string): string {
  const token = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
  return text.replace(token, (found) => (found.startsWith("/") ? found.replace(/[^\n]/g, " ") : found));
}

/** Everything a file names as another module: import, export from, import(), new URL(…, import.meta.url), require(). */
function importsOf(text: string): readonly string[] {
  const code = withoutComments(text);
  const forms = [
    /\b(?:import|export)\b[^"'`;]*?\bfrom\s*["']([^"']+)["']/g,
    /\bimport\s*\(?\s*["']([^"']+)["']/g,
    /\brequire(?:\.resolve)?\s*\(\s*["']([^"']+)["']/g,
    /\bnew URL\(\s*["']([^"']+)["']\s*,\s*import\.meta\.url/g,
  ];
  return forms.flatMap((form) => [...code.matchAll(form)].map((match) => match[1] ?? ""));
}

/** The file of the tree that a relative import names; `.js` may stand for the `.ts` it is built from. */
function resolveImport(from: string, name: string, files: Files): string | undefined {
  if (!name.startsWith(".")) return undefined;
  const path = normalize(join(dirname(from), name));
  return [path, path.replace(/\.js$/, ".ts"), path.replace(/^dist\//, "").replace(/\.js$/, ".ts")].find((candidate) =>
    files.has(candidate),
  );
}

/** Rooms of src from the ground up: a room imports itself and lower floors, never another room of its own floor. */
const floors: readonly (readonly string[])[] = [
  ["core"],
  ["node", "simulator"],
  ["engine", "heartbeat", "nodeproc"],
  ["cli"],
];
const roomOf = (path: string): string => /^src\/([^/]+)\//.exec(path)?.[1] ?? "";
const floorOf = (room: string): number => floors.findIndex((rooms) => rooms.includes(room));

const floorsHold: Rule = (files) =>
  [...files]
    .filter(([path]) => path.startsWith("src/"))
    .flatMap(([path, text]) => {
      const room = roomOf(path);
      if (floorOf(room) < 0) return [`${path}: src/${room || "*"} is no room of the house`];
      return importsOf(text).flatMap((name) => {
        if (!name.startsWith(".")) {
          return room === "core" ? [`${path}: src/core imports ${name}; it imports only itself`] : [];
        }
        const target = normalize(join(dirname(path), name));
        const other = roomOf(target);
        if (/^(?:test|bench|scripts)\//.test(target)) return [`${path}: imports ${target}, which is not shipped`];
        if (!target.startsWith("src/") || other === room || floorOf(other) < floorOf(room)) {
          return room === "core" && !target.startsWith("src/core/") ? [`${path}: src/core imports ${target}`] : [];
        }
        return [`${path}: src/${room} imports src/${other}, which is not below it`];
      });
    });

const chanceAndTime: Rule = (files) =>
  [...files]
    .filter(([path]) => path.startsWith("src/") && !/^src\/node\/(?:clock|random)[\w-]*\.ts$/.test(path))
    .flatMap(([path, text]) => {
      const code = withoutComments(text).replace(/"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g, '""');
      return [...code.matchAll(/\bMath\.random\b|\bnew Date\b|\bDate\s*[.(]/g)].map(
        (match) => `${path}:${lineOf(code, match.index)}: ${match[0]}: only src/node/clock* and src/node/random* may`,
      );
    });

/** Programs and tests; everything in src has to be reachable from one of them. */
const isEntry = (path: string): boolean =>
  inDirectories(path, ["test", "bench", "scripts"]) || /^src\/[\w-]+\/main\.ts$/.test(path);

const noDeadFiles: Rule = (files) => {
  const reached = new Set<string>();
  const queue = [...files.keys()].filter(isEntry);
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    if (!/\.[cm]?[jt]s$/.test(path)) continue;
    for (const name of importsOf(files.get(path) ?? "")) {
      const target = resolveImport(path, name, files);
      if (target !== undefined) queue.push(target);
    }
  }
  return [...files.keys()]
    .filter((path) => /^src\/.*\.[cm]?[jt]s$/.test(path) && !path.endsWith(".d.ts") && !reached.has(path))
    .map((path) => `${path}: neither a program nor a test imports it`);
};

const publicLock: Rule = (files) => {
  const lock = files.get("package-lock.json");
  if (lock === undefined) return ["package-lock.json: missing"];
  return [...lock.matchAll(/"resolved": "([^"]*)"/g)]
    .filter((match) => !match[1]?.startsWith(`${publicRegistry}/`))
    .map((match) => `package-lock.json:${lineOf(lock, match.index)}: resolved from ${match[1]}`);
};

/** `bad` maps each offending path to its text; `good` is the same situation done right. */
interface RuleTest {
  readonly rule: Rule;
  readonly bad: readonly Readonly<Record<string, string>>[];
  readonly good: Readonly<Record<string, string>>;
}

const rules: Readonly<Record<string, RuleTest>> = {
  [`no source file is longer than ${maxLines} lines`]: {
    rule: shortFiles,
    bad: [{ "src/core/a.ts": "x;\n".repeat(601) }, { "native/ring/ring.cc": "x;\n".repeat(601) }],
    good: { "src/core/a.ts": "x;\n".repeat(600) },
  },
  "no reminder, no path of a machine, no registry's address": {
    rule: cleanWords,
    bad: [
      { "src/core/a.ts": "// TODO: later" },
      { "docs/a.md": "cd /workspace/checkout" },
      { "a.json": '{ "from": "/home/someone/x" }' },
      { ".npmrc": "//", "scripts/a.mjs": 'fetch("http://registry.example.org/x")' },
    ],
    good: {
      "src/core/a.ts": "// see /var/lib/futago; xxxx.xxxx; the todo list; ./work/a https://registry.npmjs.org/x",
    },
  },
  "a room imports only itself and the floors below": {
    rule: floorsHold,
    bad: [
      { "src/core/a.ts": 'import { x } from "../node/x.ts";' },
      { "src/core/a.ts": 'import type {\n  X,\n} from "node:fs";' },
      { "src/core/a.ts": 'export { x } from "fast-check";' },
      { "src/simulator/a.ts": 'import { x } from "../node/x.ts";' },
      { "src/node/a.ts": 'const x = await import("../engine/x.ts");' },
      { "src/engine/a.ts": 'import "../heartbeat/x.ts";' },
      { "src/engine/a.ts": 'import { x } from "../../test/lab/lab.ts";' },
      { "src/attic/a.ts": "" },
    ],
    good: {
      "src/core/a.ts": '// import { x } from "../node/x.ts";\nimport { x } from "./config/x.ts";',
      "src/node/a.ts": 'import { x } from "node:fs";\nimport { y } from "../core/y.ts";',
      "src/cli/a.ts": 'import { x } from "../engine/x.ts";',
    },
  },
  "chance and the calendar come in through src/node": {
    rule: chanceAndTime,
    bad: [{ "src/engine/a.ts": "const x = Math.random();" }, { "src/cli/a.ts": "x = Date.now();\n" }],
    good: {
      "src/node/random.ts": "Math.random()",
      "src/node/clock.ts": "new Date()",
      "src/engine/a.ts": '// Date.now()\nlet at: Date; x = "Math.random";',
    },
  },
  "every file of src is part of a program or of a test": {
    rule: noDeadFiles,
    bad: [
      { "src/core/a.ts": "", "test/a.test.ts": 'import "../src/core/b.ts";', "src/core/b.ts": "" },
      { "src/core/a.ts": 'import "./a.ts";' },
    ],
    good: {
      "src/cli/main.ts": 'export * from "./a.ts";\nnew URL("../engine/run.js", import.meta.url);',
      "src/cli/a.ts": "",
      "src/engine/run.ts": "",
      "test/unit/b.test.ts": 'import "../../src/core/b.ts";',
      "src/core/b.ts": "",
    },
  },
  "package-lock.json names no private registry": {
    rule: publicLock,
    bad: [{ "package-lock.json": '"resolved": "http://10.0.0.1:4873/ava.tgz"' }, {}],
    good: { "package-lock.json": '"resolved": "https://registry.npmjs.org/ava/-/ava-7.0.0.tgz"' },
  },
};

for (const [title, { rule, bad, good }] of Object.entries(rules)) {
  test(title, (t) => {
    t.is(rule(tree).join("\n"), "");
  });
  test(`the rule works: ${title}`, (t) => {
    for (const files of bad) t.is(rule(new Map(Object.entries(files))).length, 1, JSON.stringify(files).slice(0, 200));
    t.deepEqual(rule(new Map(Object.entries(good))), []);
  });
}

test("the tree that is judged is this repository", (t) => {
  for (const path of ["package.json", "src/core/units.ts", "test/tidy.test.ts", ".ci/run"])
    t.true(tree.has(path), path);
  t.false([...tree.keys()].some((path) => path.includes("node_modules")));
});
