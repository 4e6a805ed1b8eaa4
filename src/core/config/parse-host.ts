/** Host sections: `on`, `floating`, `stacked-on-top-of`, with addresses and proxies (drbd-84 §10.2). */
import type { Token } from "./lexer.ts";
import { parseAddress } from "./parse-address.ts";
import { parseOptions } from "./parse-options.ts";
import { parseDevice, parseMetaDisk, parseVolume } from "./parse-volume.ts";
import { is, isName, type Parser, syntaxError } from "./parser.ts";
import type { Position } from "./source.ts";
import type { HostNode, ProxyNode, ResourceNode, TextNode } from "./tree.ts";
import { checkHost, implicitVolume } from "./volumes.ts";

const statements = [
  "device",
  "disk",
  "meta-disk",
  "flexible-meta-disk",
  "address",
  "volume",
  "options",
  "proxy",
  "'}'",
];

/** `on NAME… {` or `floating ADDRESS ( ; | { )`. */
export function parseHost(parser: Parser, resource: ResourceNode, word: "on" | "floating", at: Position): true {
  const host = emptyHost(word, "", at);
  if (word === "on") {
    host.names = parseNames(parser);
    for (const name of host.names) {
      parser.once(`${resource.name} on ${name.text}`, `host '${name.text}' in '${resource.name}'`, name.at);
    }
  } else {
    host.address = parseAddress(parser, at);
    const token = parser.next();
    if (is(token, ";")) return addHost(parser, resource, host);
    if (!is(token, "{")) throw syntaxError(token, ["'{'", "';'"]);
  }
  for (;;) {
    const token = parser.next();
    if (is(token, "}")) return addHost(parser, resource, host);
    if (!parseStatement(parser, resource, host, token)) throw syntaxError(token, statements);
  }
}

/** `stacked-on-top-of RESOURCE {`: only device and address; its disk is the other resource. */
export function parseStacked(parser: Parser, resource: ResourceNode, at: Position): true {
  const lower = parser.name("a resource name").text;
  const host = emptyHost("stacked", lower, at);
  parser.once(`${resource.name} stacked ${lower}`, `'stacked-on-top-of ${lower}' in '${resource.name}'`, at);
  parser.expect("{");
  for (;;) {
    const token = parser.next();
    if (is(token, "}")) return addHost(parser, resource, host);
    const word = token.kind === "word" ? token.text : "";
    if (word === "volume") host.volumes.push(parseVolume(parser, host.volumes, false));
    else if (!["device", "address", "proxy"].includes(word) || !parseStatement(parser, resource, host, token)) {
      throw syntaxError(token, ["device", "address", "volume", "proxy", "'}'"]);
    }
  }
}

export function parseIgnoreOn(parser: Parser, at: Position): true {
  parser.name("a node name");
  parser.expect(";");
  parser.warn("'ignore-on' is deprecated and has no effect", at);
  return true;
}

const emptyHost = (kind: HostNode["kind"], lower: string, at: Position): HostNode => ({
  kind,
  names: [],
  lower,
  at,
  address: undefined,
  alternateAddress: undefined,
  volumes: [],
  options: [],
  proxy: undefined,
});

function addHost(parser: Parser, resource: ResourceNode, host: HostNode): true {
  resource.hosts.push(host);
  checkHost(parser, resource, host);
  return true;
}

function parseNames(parser: Parser): TextNode[] {
  const names: TextNode[] = [];
  do {
    const { text, at } = parser.name("a node name");
    names.push({ text, at });
  } while (isName(parser.peek()));
  const end = parser.next();
  if (!is(end, "{")) throw syntaxError(end, ["a node name", "'{'"]);
  return names;
}

function parseStatement(parser: Parser, resource: ResourceNode, host: HostNode, token: Token): boolean {
  if (token.kind !== "word") return false;
  const { text, at } = token;
  switch (text) {
    case "address":
    case "alternate-link-address":
      return parseHostAddress(parser, resource, host, text, at);
    case "volume":
      host.volumes.push(parseVolume(parser, host.volumes));
      return true;
    case "options":
      parser.expect("{");
      parseOptions(parser, "options", host.options);
      return true;
    case "proxy":
      host.proxy = parseProxy(parser, at);
      return true;
    default:
      return parseVolumeStatement(parser, resource, host, text, at);
  }
}

/** A second `disk`, `device`, … of the implicit volume is refused; `disk { }` counts as `disk`. */
function parseVolumeStatement(
  parser: Parser,
  resource: ResourceNode,
  host: HostNode,
  word: string,
  at: Position,
): boolean {
  const isMetaDisk = word === "meta-disk" || word === "flexible-meta-disk";
  if (word !== "device" && word !== "disk" && !isMetaDisk) return false;
  const statement = isMetaDisk ? "meta-disk" : word;
  parser.once(`${hostKey(resource, host)} ${statement}`, `the statement '${statement}' in this host section`, at);
  const volume = implicitVolume(host.volumes, at);
  if (word === "device") volume.device = parseDevice(parser, at);
  else if (isMetaDisk) volume.metaDisk = parseMetaDisk(parser, word, at);
  else if (parser.takes("{")) parseOptions(parser, "disk", volume.options);
  else {
    volume.disk = { text: parser.name("a disk or '{'").text, at };
    parser.expect(";");
  }
  return true;
}

const hostKey = (resource: ResourceNode, host: HostNode): string =>
  `${resource.name} ${host.kind} ${host.at.file}:${host.at.line}:${host.at.column}`;

function parseHostAddress(
  parser: Parser,
  resource: ResourceNode,
  host: HostNode,
  word: "address" | "alternate-link-address",
  at: Position,
): true {
  if (host.kind === "floating" && word === "address") {
    parser.invalid("the address of a floating host stands in front of its '{'", { at });
  } else parser.once(`${hostKey(resource, host)} ${word}`, `the statement '${word}' in this host section`, at);
  const address = parseAddress(parser, at);
  if (word === "address") host.address = address;
  else host.alternateAddress = address;
  parser.expect(";");
  return true;
}

function parseProxy(parser: Parser, at: Position): ProxyNode {
  parser.expect("on");
  const proxy: ProxyNode = {
    names: parseNames(parser),
    at,
    inside: undefined,
    outside: undefined,
    options: [],
    plugins: [],
  };
  for (;;) {
    const token = parser.next();
    if (is(token, "}")) break;
    if (is(token, "inside")) proxy.inside = parseAddress(parser, token.at);
    else if (is(token, "outside")) proxy.outside = parseAddress(parser, token.at);
    else if (is(token, "options")) {
      parser.expect("{");
      parseOptions(parser, "proxy", proxy.options, proxy.plugins);
      continue;
    } else throw syntaxError(token, ["inside", "outside", "options", "'}'"]);
    parser.expect(";");
  }
  for (const side of ["inside", "outside"] as const) {
    if (proxy[side] === undefined) parser.invalid(`the statement '${side}' is missing in this proxy section`, { at });
  }
  return proxy;
}
