import test from "ava";
import fc from "fast-check";
import { dump } from "../../../../src/core/config/dump.ts";
import { parseFutagoConfig } from "../../../../src/core/config/futago-conf.ts";
import { matchesGlob } from "../../../../src/core/config/glob.ts";
import { keywords } from "../../../../src/core/config/options.ts";
import { type Files, type ParseResult, parseConfig } from "../../../../src/core/config/parse-config.ts";
import { resolve } from "../../../../src/core/config/resolve.ts";
import { nearestWord } from "../../../../src/core/config/source.ts";

/** Files by path; a pattern matches on its last component. */
const memory = (files: Readonly<Record<string, string>>): Files => ({
  readFile: (path) => files[path],
  glob: (pattern) => {
    const folder = pattern.slice(0, pattern.lastIndexOf("/") + 1);
    const isIn = (path: string) => path.startsWith(folder) && !path.slice(folder.length).includes("/");
    return Object.keys(files)
      .filter((path) => isIn(path) && matchesGlob(pattern.slice(folder.length), path.slice(folder.length)))
      .sort();
  },
});

const parse = (text: string): ParseResult => parseConfig(memory({ "/etc/drbd.conf": text }), "/etc/drbd.conf");
const messages = (result: ParseResult): string[] => ("errors" in result ? result.errors.map((e) => e.message) : []);

test("a message names file, line and column, what was found, what is allowed and the nearest word (§10.1)", (t) => {
  const result = parse("resource r0 {\n  net {\n    # comment\n    timout 60;\n  }\n}\n");
  if (!("errors" in result)) return t.fail();
  const [error] = result.errors;
  t.is(error?.code, "syntax");
  t.deepEqual(error?.at, { file: "/etc/drbd.conf", line: 4, column: 5 });
  t.is(error?.found, "timout");
  t.true(error?.allowed.includes("timeout"));
  t.is(error?.nearest, "timeout");
  t.regex(
    error?.message ?? "",
    /^\/etc\/drbd\.conf:4:5: found 'timout'; allowed: protocol, .*did you mean 'timeout'\?$/,
  );
});

test("both places of a duplicate are named (§10.1)", (t) => {
  const [text, ...more] = messages(parse("resource a {\n net { }\n\n net { }\n}"));
  t.is(text, "/etc/drbd.conf:4:2: the section 'net' in 'a' is used twice; first used at /etc/drbd.conf:2:2");
  t.deepEqual(more, []);
});

test("one run names all contradictions, and stops at the first syntax error (§10.1)", (t) => {
  const result = parse(
    "resource a { net { timeout 0; ping-int 500; } disk { c-plan-ahead 999; } startup { nonsense; } }",
  );
  if (!("errors" in result)) return t.fail();
  t.deepEqual(
    result.errors.map((error) => [error.code, error.at.column]),
    [
      ["invalid", 28],
      ["invalid", 40],
      ["invalid", 67],
      ["syntax", 84],
    ],
  );
});

test("an option written in the wrong section or file is told where it belongs (§10.3, §10.4)", (t) => {
  t.regex(
    messages(parse("resource a { net { al-extents 257; } }"))[0] ?? "",
    /not belong in 'net' but in 'disk' or 'syncer'/,
  );
  t.regex(messages(parse("resource a { syncer { resync-rate 1M; } }"))[0] ?? "", /in 'syncer' but in 'disk'/);
  t.regex(messages(parse("resource a { nbd { } }"))[0] ?? "", /but in futago\.conf/);
  t.regex(messages(parse("resource a { net { discard-my-data; } }"))[0] ?? "", /the command 'connect'/);
});

test("an included file is found beside the file that includes it, and read once (§10.1)", (t) => {
  const files = memory({
    "/etc/drbd.conf": 'include "drbd.d/*.res"; include "drbd.d/../drbd.d/./a.res";',
    "/etc/drbd.d/a.res": 'include "sub/x.res"; resource a { }',
    "/etc/drbd.d/b.res": 'resource b { } include "b.res";',
    "/etc/drbd.d/.hidden.res": "nonsense",
    "/etc/drbd.d/sub/x.res": "resource x { }",
  });
  const result = parseConfig(files, "/etc/drbd.conf");
  if ("errors" in result) return t.fail(result.errors[0]?.message);
  t.deepEqual(
    result.tree.resources.map((resource) => [resource.name, resource.at.file]),
    [
      ["x", "/etc/drbd.d/sub/x.res"],
      ["a", "/etc/drbd.d/a.res"],
      ["b", "/etc/drbd.d/b.res"],
    ],
  );
});

test("an error in an included file has that file's name and line; a missing main file is an error (§10.1)", (t) => {
  const files = memory({ "/etc/drbd.conf": 'include "b";', "/etc/b": "\n\n  resource { }" });
  t.regex(
    messages(parseConfig(files, "/etc/drbd.conf"))[0] ?? "",
    /^\/etc\/b:3:12: found '\{'; allowed: a resource name/,
  );
  t.regex(messages(parseConfig(files, "/etc/none"))[0] ?? "", /^\/etc\/none:1:1: the file cannot be read/);
});

test("a file cut off inside a resource is read, as drbdadm does, but not silently (measured: drbdadm-84)", (t) => {
  const result = parse("resource a { net { timeout 60; }");
  if ("errors" in result) return t.fail();
  t.regex(result.warnings[0]?.text ?? "", /'a' is not closed before the end of the file/);
});

test("full-width brackets and other foreign characters are named as found (§10.1)", (t) => {
  const [text] = messages(parse("resource r0 {\n  protocol C;   （ノード）\n}"));
  t.regex(text ?? "", /^\/etc\/drbd\.conf:2:17: found '（'; allowed: protocol, on,/);
});

test("glob: star, question mark, sets, leading dots (glob(7))", (t) => {
  const yes: readonly (readonly [string, string])[] = [
    ["*.res", "r0.res"],
    ["?.res", "a.res"],
    ["[a-c]*", "bx"],
    ["[!a]*", "bx"],
    ["a\\*b", "a*b"],
    ["r+(0)", "r+(0)"],
    [".*", ".a"],
    ["[]a]x", "]x"],
  ];
  const no: readonly (readonly [string, string])[] = [
    ["*.res", "r0.res~"],
    ["*.res", ".r0.res"],
    ["?", ""],
    ["[!a]*", "ax"],
    ["a.b", "axb"],
  ];
  for (const [pattern, name] of yes) t.true(matchesGlob(pattern, name), `${pattern} ${name}`);
  for (const [pattern, name] of no) t.false(matchesGlob(pattern, name), `${pattern} ${name}`);
});

test("the nearest word is within a third of the length, else there is none", (t) => {
  t.is(nearestWord("timout", ["timeout", "ping-timeout"]), "timeout");
  t.is(nearestWord("sahred-secret", ["shared-secret"]), "shared-secret");
  t.is(nearestWord("xyz", ["net", "disk"]), undefined);
});

const scraps = [
  ..."{};[]:",
  ...keywords,
  ..."a b r0 r1 internal both C 0 1 7789 10M 1s 10.0.0.1 ::1 /dev/sda /dev/drbd0 drbd_x".split(" "),
  '"q s"',
  '""',
  '"open',
  "\n",
  "#",
  "(",
  "\\",
  "\0",
  "é",
  "🙂",
  "x".repeat(129),
];
/** Pieces that follow the grammar, so that soup gets deeper than its first word. */
const phrases = [
  "resource r0 {",
  "on a {",
  "device minor 0; disk /x; meta-disk internal;",
  "address 10.0.0.1:7789;",
  "floating 10.0.0.2:7789;",
  "net { timeout 60;",
  "disk { size 1G;",
  "volume 0 {",
  "syncer { rate 10M; }",
  "startup { become-primary-on a; }",
  "}",
  "}}",
  "skip {",
  "common {",
  "stacked-on-top-of r0 {",
  "resource r1 {",
  "on b c {",
  "proxy on a { inside 127.0.0.1:1; outside 127.0.0.1:2; }",
  'handlers { split-brain "x y"; }',
];

/** Never a throw; errors have a place in the file; a tree can be dumped, and its dump is read back as the same. */
function survives(text: string): true {
  const result = parse(text);
  if ("errors" in result) {
    const lines = text.split("\n");
    return result.errors.every(
      ({ at, message }) =>
        at.line >= 1 && at.line <= lines.length && at.column <= (lines[at.line - 1] ?? "").length + 1 && message !== "",
    ) as true;
  }
  const node = { name: "a", hasAddress: () => false };
  resolve(result.tree, node);
  dump(result.tree, node);
  return true;
}

test("any soup of words yields a tree or an error with its place, never a crash", (t) => {
  const word = fc.oneof(fc.constantFrom(...scraps), fc.constantFrom(...phrases), fc.string({ maxLength: 6 }));
  const soup = fc.array(word, { maxLength: 60 }).map((words) => words.join(" "));
  const deep = fc.array(fc.constantFrom(...phrases), { maxLength: 40 }).map((words) => words.join("\n"));
  t.notThrows(() => fc.assert(fc.property(fc.oneof(soup, deep), survives), { numRuns: 3000 }));
});

test("any soup in futago.conf does as well", (t) => {
  const words = [
    ..."{};[]:",
    "common",
    "resource r0 {",
    "nbd {",
    "listen 127.0.0.1:1;",
    "global {",
    "io direct;",
    "tls;",
    "rate",
  ];
  const soup = fc.array(fc.oneof(fc.constantFrom(...words), fc.constantFrom(...scraps)), { maxLength: 30 });
  const property = fc.property(soup, (parts) => {
    const result = parseFutagoConfig(memory({ "/f": parts.join(" ") }), "/f");
    return "tree" in result || result.errors.every((error) => error.at.file === "/f" && error.at.line >= 1);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 1000 }));
});

test("a dump is a configuration that dumps to the same text (§10.7)", (t) => {
  const source = `common { syncer { rate 10M; } net { shared-secret "a \\"b\\" \\\\"; } }
    resource "r 0" { device minor 0; disk "/a b"; meta-disk /m[1]; handlers { split-brain "#;{}"; }
      on a { address 10.0.0.1:7789; } on b c { address ipv6 [::1]:7; options { cpu-mask 3; } } }`;
  const node = { name: "a", hasAddress: () => true };
  const first = parse(source);
  if ("errors" in first) return t.fail(first.errors[0]?.message);
  const text = dump(first.tree, node);
  const second = parse(text);
  if ("errors" in second) return t.fail(second.errors[0]?.message);
  const withoutPlaces = (dumped: string) => dumped.replaceAll(/:\d+$/gm, "");
  t.is(withoutPlaces(dump(second.tree, node)), withoutPlaces(text));
});
