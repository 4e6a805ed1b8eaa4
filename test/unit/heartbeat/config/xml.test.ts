import test from "ava";
import fc from "fast-check";
import {
  node,
  readXml,
  writeXml,
  type XmlElement,
  type XmlNode,
  xmlBounds,
} from "../../../../src/heartbeat/core/config/xml.ts";
import { messages } from "./helpers/files.ts";

const root = (text: string): XmlElement => {
  const result = readXml(text, "x");
  if ("errors" in result) throw result.errors[0] ?? new Error("no error");
  return result.root;
};
const refusal = (text: string): string | undefined => messages(readXml(text, "x"))[0];

test("elements, attributes in both quotes, comments, declaration, predefined entities, character numbers", (t) => {
  const found = root(
    `\uFEFF<?xml version="1.0" encoding='UTF-8'?>\n<!-- a -->\n` +
      `<a b='1"' c = "&lt;&amp;&#x3042;&#10;">\n <d/> <!-- <e/> --> text </a>\n`,
  );
  t.deepEqual(
    [...found.attributes].map(([key, { value }]) => [key, value]),
    [
      ["b", '1"'],
      ["c", "<&あ\n"],
    ],
  );
  t.deepEqual(
    found.children.map(({ name, at }) => [name, at.line, at.column]),
    [["d", 4, 2]],
  );
  t.is(found.text[0]?.text, "text");
});

test("refused with line and column: what is not well-formed", (t) => {
  t.is(refusal("<a>\n  <b>\n</a>"), "x:3:1: </a> where </b> is expected; allowed: b; first used at x:2:3");
  t.is(refusal('<a b="1" b="2"/>'), "x:1:10: 'b' is written twice in <a>; first used at x:1:4");
  t.regex(refusal("<a b=1/>") ?? "", /^x:1:6: the value of 'b' is not in quotes/);
  t.regex(refusal('<a b="<"/>') ?? "", /^x:1:7: '<' in the value/);
  t.regex(refusal("<a><b></a>") ?? "", /^x:1:7: /);
  t.regex(refusal("<a>\n") ?? "", /^x:1:1: the file ends within <a>/);
  t.regex(refusal("") ?? "", /^x:1:1: an empty document/);
  t.regex(refusal("<a/><b/>") ?? "", /^x:1:5: something after the end/);
  t.regex(refusal("plain") ?? "", /^x:1:1: text outside of any element/);
  t.regex(refusal("<a\u0001/>") ?? "", /^x:1:3: a control character/);
  t.regex(
    refusal('<?xml version="1.0" encoding="Shift_JIS"?><a/>') ?? "",
    /^x:1:1: encoding 'Shift_JIS'; allowed: UTF-8/,
  );
});

test("no document type and no entity but the five: nothing can be included or multiplied", (t) => {
  t.regex(refusal('<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>') ?? "", /^x:1:1: a document type/);
  t.regex(refusal("<a>&e;</a>") ?? "", /entity '&e;' is refused; allowed: amp, lt, gt, quot, apos/);
  t.regex(refusal('<a b="&e;"/>') ?? "", /entity '&e;' is refused/);
  t.regex(refusal("<a>& b</a>") ?? "", /entity/);
  t.regex(refusal('<a b="&#0;"/>') ?? "", /entity/);
  t.regex(refusal('<a b="&#xD800;"/>') ?? "", /entity/);
  t.regex(refusal('<a b="&constructor;"/>') ?? "", /entity/);
});

test("bounds: depth, elements, characters", (t) => {
  const deep = (n: number) => "<a>".repeat(n) + "</a>".repeat(n);
  t.is(root(deep(xmlBounds.depth)).name, "a");
  t.regex(refusal(deep(xmlBounds.depth + 1)) ?? "", /elements more than 64 deep/);
  t.regex(refusal(`<a>${"<b/>".repeat(xmlBounds.elements)}</a>`) ?? "", /more than 200000 elements/);
  t.regex(refusal(" ".repeat(xmlBounds.characters + 1)) ?? "", /larger than/);
});

const name = fc.stringMatching(/^[a-z_][\w.-]{0,8}$/);
const text = fc
  .string({ unit: "binary", maxLength: 20 })
  .filter((each) => !/(?![\t\n\r])[\p{Cc}\p{Cs}\uFFFE\uFFFF]/u.test(each));
const tags = fc.tuple(name, fc.dictionary(name, text, { maxKeys: 4 }));
const { tree } = fc.letrec<{ tree: XmlNode; children: XmlNode[] }>((tie) => ({
  tree: fc.tuple(tags, tie("children")).map(([[tag, attributes], children]) => node(tag, { ...attributes }, children)),
  children: fc.oneof({ maxDepth: 4 }, fc.constant<XmlNode[]>([]), fc.array(tie("tree"), { maxLength: 3 })),
}));

const plain = ({ name: tag, attributes, children }: XmlElement): XmlNode =>
  node(tag, Object.fromEntries([...attributes].map(([key, { value }]) => [key, value])), children.map(plain));

test("what is written is read as it was", (t) => {
  fc.assert(
    fc.property(tree, (written) => {
      t.deepEqual(plain(root(writeXml(written))), written);
    }),
    { numRuns: 200 },
  );
});
