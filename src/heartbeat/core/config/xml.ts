/**
 * A strict reader and a writer of the XML that cib.xml is made of: elements, attributes, comments, text. No document
 * type, no entities but the five predefined ones and character numbers, bounds on size, depth and number of elements.
 */
import { ConfigError, type ConfigErrorDetail, type Position } from "../../../core/config/source.ts";

export interface XmlAttribute {
  readonly value: string;
  readonly at: Position;
}

export interface XmlElement {
  readonly name: string;
  /** In the order written. */
  readonly attributes: ReadonlyMap<string, XmlAttribute>;
  readonly children: readonly XmlElement[];
  /** Text between the children that is more than blanks. */
  readonly text: readonly { readonly text: string; readonly at: Position }[];
  /** The `<` that opens it. */
  readonly at: Position;
}

/** Characters, elements inside one another, and elements altogether. */
export const xmlBounds = { characters: 16 << 20, depth: 64, elements: 200_000 } as const;

export type XmlResult = { readonly root: XmlElement } | { readonly errors: readonly ConfigError[] };

/** One error at most: what follows it cannot be judged. */
export function readXml(text: string, file: string): XmlResult {
  try {
    return { root: new XmlReader(text, file).document() };
  } catch (error) {
    if (error instanceof ConfigError) return { errors: [error] };
    throw error;
  }
}

/** Control characters other than tab and line ends, and what is no character. */
const notAllowed = /(?![\t\n\r])[\p{Cc}\p{Cs}\uFFFE\uFFFF]/u;
const name = /[A-Za-z_:][\w:.-]*/y;
const blank = /[ \t\r\n]*/y;
const entities: ReadonlyMap<string, string> = new Map([
  ["amp", "&"],
  ["lt", "<"],
  ["gt", ">"],
  ["quot", '"'],
  ["apos", "'"],
]);

interface Open {
  readonly name: string;
  readonly attributes: Map<string, XmlAttribute>;
  readonly children: XmlElement[];
  readonly text: { readonly text: string; readonly at: Position }[];
  readonly at: Position;
}

class XmlReader {
  readonly #text: string;
  readonly #file: string;
  #offset = 0;
  #line = 1;
  #lineStart = 0;
  /** Offset of the end of the line that is counted last; past the text where there is none. */
  #lineEnd: number;
  #elements = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    this.#lineEnd = endOfLine(text, 0);
  }

  document(): XmlElement {
    if (this.#text.length > xmlBounds.characters) this.#fail(`larger than ${xmlBounds.characters} characters`);
    if (this.#text.startsWith("\uFEFF")) this.#offset = 1;
    const odd = this.#text.search(notAllowed);
    if (odd >= 0) {
      this.#offset = odd;
      this.#fail("a control character, which XML does not allow");
    }
    this.#declaration();
    this.#skipMisc();
    if (this.#offset >= this.#text.length) this.#fail("an empty document", { allowed: ["<cib …>"] });
    const root = this.#tree();
    this.#skipMisc();
    if (this.#offset < this.#text.length) this.#fail("something after the end of the document");
    return root;
  }

  #fail(what: string, detail: Omit<ConfigErrorDetail, "at"> & { readonly at?: Position } = {}): never {
    throw new ConfigError("syntax", what, { at: this.#here(), ...detail });
  }

  /** Place of the reading position, which never goes back. */
  #here(): Position {
    while (this.#lineEnd < this.#offset) {
      this.#line++;
      this.#lineStart = this.#lineEnd + 1;
      this.#lineEnd = endOfLine(this.#text, this.#lineStart);
    }
    return { file: this.#file, line: this.#line, column: this.#offset - this.#lineStart + 1 };
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#offset;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#offset += found.length;
    return found;
  }

  #at(text: string): boolean {
    return this.#text.startsWith(text, this.#offset);
  }

  #skipTo(end: string, what: string): void {
    const at = this.#here();
    const found = this.#text.indexOf(end, this.#offset);
    if (found < 0) this.#fail(`${what} without '${end}'`, { at });
    this.#offset = found + end.length;
  }

  #declaration(): void {
    if (!/^<\?xml[ \t\r\n]/.test(this.#text.slice(this.#offset, this.#offset + 6))) return;
    const from = this.#offset;
    this.#skipTo("?>", "the XML declaration");
    const encoding = /encoding\s*=\s*["']([^"']*)["']/.exec(this.#text.slice(from, this.#offset))?.[1];
    if (encoding !== undefined && !/^(utf-8|us-ascii)$/i.test(encoding)) {
      this.#offset = from;
      this.#fail(`encoding '${encoding}'`, { found: encoding, allowed: ["UTF-8"] });
    }
  }

  /** Blanks, comments and processing instructions outside the root. */
  #skipMisc(): void {
    for (;;) {
      this.#take(blank);
      if (this.#at("<!--")) this.#comment();
      else if (this.#at("<?")) this.#skipTo("?>", "a processing instruction");
      else return;
    }
  }

  #comment(): void {
    this.#skipTo("-->", "a comment");
  }

  #tree(): XmlElement {
    const stack: Open[] = [];
    for (;;) {
      const parent = stack.at(-1);
      if (parent !== undefined) this.#characters(parent);
      if (this.#offset >= this.#text.length) {
        this.#fail(`the file ends within <${parent?.name}>`, parent === undefined ? {} : { at: parent.at });
      }
      if (this.#at("<!--")) this.#comment();
      else if (this.#at("</")) {
        const closed = this.#close(stack);
        if (stack.length === 0) return closed;
      } else if (this.#at("<!")) this.#fail("a document type or other declaration, which is refused");
      else if (this.#at("<?")) this.#skipTo("?>", "a processing instruction");
      else {
        const { open, isEmpty } = this.#open(stack.length);
        parent?.children.push(open);
        if (!isEmpty) stack.push(open);
        else if (parent === undefined) return open;
      }
    }
  }

  #open(depth: number): { readonly open: Open; readonly isEmpty: boolean } {
    const at = this.#here();
    if (!this.#at("<")) this.#fail("text outside of any element", { allowed: ["<cib …>"] });
    this.#offset++;
    const tag = this.#take(name);
    if (tag === "") this.#fail("'<' without the name of an element");
    if (depth >= xmlBounds.depth) this.#fail(`elements more than ${xmlBounds.depth} deep`, { at });
    if (++this.#elements > xmlBounds.elements) this.#fail(`more than ${xmlBounds.elements} elements`, { at });
    const attributes = new Map<string, XmlAttribute>();
    for (;;) {
      const blanks = this.#take(blank);
      if (this.#at("/>")) {
        this.#offset += 2;
        return { open: { name: tag, attributes, children: [], text: [], at }, isEmpty: true };
      }
      if (this.#at(">")) {
        this.#offset++;
        return { open: { name: tag, attributes, children: [], text: [], at }, isEmpty: false };
      }
      if (blanks === "") this.#fail(`<${tag}> is not closed`, { allowed: [">", "/>", 'NAME="VALUE"'] });
      this.#attribute(tag, attributes);
    }
  }

  #attribute(tag: string, attributes: Map<string, XmlAttribute>): void {
    const at = this.#here();
    const key = this.#take(name);
    if (key === "") this.#fail(`<${tag}> is not closed`, { allowed: [">", "/>", 'NAME="VALUE"'] });
    this.#take(blank);
    if (!this.#at("=")) this.#fail(`attribute '${key}' of <${tag}> without a value`);
    this.#offset++;
    this.#take(blank);
    const quote = this.#text.charAt(this.#offset);
    if (quote !== '"' && quote !== "'") this.#fail(`the value of '${key}' is not in quotes`);
    this.#offset++;
    const end = this.#text.indexOf(quote, this.#offset);
    if (end < 0) this.#fail(`the value of '${key}' has no end`, { at });
    const raw = this.#text.slice(this.#offset, end);
    const open = raw.indexOf("<");
    if (open >= 0) {
      this.#offset += open;
      this.#fail(`'<' in the value of '${key}'`, { allowed: ["&lt;"] });
    }
    // Blanks of any kind are spaces in a value, unless written as character numbers.
    const value = this.#decode(raw.replace(/\r\n|[\t\r\n]/g, " "));
    this.#offset = end + 1;
    const first = attributes.get(key);
    if (first !== undefined) this.#fail(`'${key}' is written twice in <${tag}>`, { at, first: first.at });
    attributes.set(key, { value, at });
  }

  #close(stack: Open[]): XmlElement {
    const at = this.#here();
    this.#offset += 2;
    const tag = this.#take(name);
    this.#take(blank);
    if (!this.#at(">")) this.#fail(`</${tag} is not closed`, { at, allowed: [">"] });
    this.#offset++;
    const open = stack.pop();
    if (open === undefined) this.#fail(`</${tag}> closes nothing`, { at });
    if (open.name !== tag) {
      this.#fail(`</${tag}> where </${open.name}> is expected`, {
        at,
        found: tag,
        allowed: [open.name],
        first: open.at,
      });
    }
    return open;
  }

  #characters(parent: Open): void {
    this.#take(blank);
    if (this.#offset >= this.#text.length || this.#at("<")) return;
    const at = this.#here();
    const end = this.#text.indexOf("<", this.#offset);
    const raw = this.#text.slice(this.#offset, end < 0 ? undefined : end);
    if (raw.includes("]]>")) this.#fail("']]>' in text");
    parent.text.push({ text: this.#decode(raw).trim(), at });
    this.#offset += raw.length;
  }

  #decode(raw: string): string {
    if (!raw.includes("&")) return raw;
    return raw.replace(/&([^;&\s]{0,40};?)/g, (whole, body: string) => {
      const key = body.slice(0, -1);
      const character = body.endsWith(";") ? (entities.get(key) ?? numbered(key)) : undefined;
      if (character !== undefined) return character;
      return this.#fail(`entity '${whole}' is refused`, { found: key, allowed: [...entities.keys()] });
    });
  }
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length + 1 : end;
}

function numbered(key: string): string | undefined {
  const match = /^#(?:x([\da-fA-F]{1,6})|(\d{1,7}))$/.exec(key);
  if (match === null) return undefined;
  const code = match[1] === undefined ? Number(match[2]) : Number.parseInt(match[1], 16);
  const isAllowed =
    code === 9 || code === 10 || code === 13 || (code >= 32 && code < 0xd800) || (code >= 0xe000 && code < 0xfffe);
  return isAllowed || (code >= 0x10000 && code <= 0x10ffff) ? String.fromCodePoint(code) : undefined;
}

/** An element to write; attributes with the value undefined are left out. */
export interface XmlNode {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly children: readonly XmlNode[];
}

export const node = (
  tag: string,
  attributes: Readonly<Record<string, string | undefined>> = {},
  children: readonly XmlNode[] = [],
): XmlNode => ({ name: tag, attributes, children });

/** With a declaration, one element a line, two blanks for each level. */
export function writeXml(root: XmlNode): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element(root, "")}`;
}

function element({ name: tag, attributes, children }: XmlNode, indent: string): string {
  let start = `${indent}<${tag}`;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) start += ` ${key}="${escaped(value)}"`;
  }
  if (children.length === 0) return `${start}/>\n`;
  return `${start}>\n${children.map((child) => element(child, `${indent}  `)).join("")}${indent}</${tag}>\n`;
}

const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

const escaped = (text: string): string =>
  text.replace(/[&<>"\t\r\n]/g, (character) => escapes[character] ?? `&#${character.codePointAt(0)};`);
