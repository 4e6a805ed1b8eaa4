/** The text of `drbdadm dump-xml` of 8.4 (drbd-84 §10.7), from the same tree as `dump`. Pure. */
import { judgeResyncAfter, type NodeIdentity, placeOf } from "../core/config/node.ts";
import type { SectionName } from "../core/config/options.ts";
import type {
  AddressNode,
  ConfigTree,
  HostNode,
  OptionEntry,
  ProxyNode,
  ResourceNode,
  VolumeNode,
} from "../core/config/tree.ts";

const STEP = "    ";

/** An element of the text: a line, or lines between a start tag and its end tag. */
type Lines = readonly string[];

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};
const escaped = (text: string): string => text.replace(/[&<>"']/g, (letter) => entities[letter] ?? letter);
const indented = (lines: Lines): Lines => lines.map((line) => `${STEP}${line}`);

type Attributes = Readonly<Record<string, string | number>>;
const attributesText = (attributes: Attributes): string =>
  Object.entries(attributes)
    .map(([name, value]) => ` ${name}="${escaped(String(value))}"`)
    .join("");
const element = (name: string, attributes: Attributes, content: Lines): Lines => [
  `<${name}${attributesText(attributes)}>`,
  ...indented(content),
  `</${name}>`,
];
const leaf = (name: string, attributes: Attributes, text: string): string =>
  `<${name}${attributesText(attributes)}>${escaped(text)}</${name}>`;
const empty = (name: string, attributes: Attributes): string => `<${name}${attributesText(attributes)}/>`;

/** The whole configuration. */
export function dumpXml(tree: ConfigTree, node: NodeIdentity): string {
  const common = tree.common === undefined ? [] : element("common", {}, sections(tree.common));
  const content = [...globalLines(tree.global), ...common];
  const resources = tree.resources.flatMap((resource) => resourceLines(tree, resource, node));
  return textOf(element("config", { file: tree.file }, [...content, ...resources]));
}

/** One resource by itself. */
export const dumpResourceXml = (tree: ConfigTree, resource: ResourceNode, node: NodeIdentity): string =>
  textOf(resourceLines(tree, resource, node));

const textOf = (lines: Lines): string => lines.map((line) => `${line}\n`).join("");

/** The attribute that carries each option's value. */
const globalAttributes = [
  ["minor-count", "count", 0],
  ["dialog-refresh", "refresh", 1],
] as const;

/** As in `dump`, values that are the default are left out, and the usage count counts as a reason to print the section. */
function globalLines(entries: readonly OptionEntry[]): Lines {
  const last = (name: string): string | undefined => entries.findLast((entry) => entry.name === name)?.values[0];
  const lines: string[] = [];
  if (entries.some(({ name }) => name === "disable-ip-verification")) lines.push(empty("disable-ip-verification", {}));
  for (const [name, attribute, byDefault] of globalAttributes) {
    const value = Number.parseInt(last(name) ?? String(byDefault), 10);
    if (value !== byDefault) lines.push(empty(name, { [attribute]: value }));
  }
  return lines.length === 0 ? [] : element("global", {}, lines);
}

const sectionOrder: readonly SectionName[] = ["options", "net", "disk", "startup", "proxy", "handlers"];

function sections(resource: ResourceNode): Lines {
  return sectionOrder.flatMap((name) => {
    const plugins = name === "proxy" ? pluginLines(resource.plugins) : [];
    const entries = name === "startup" ? startupOrder(resource.sections.startup) : resource.sections[name];
    return entries.length === 0 && plugins.length === 0 ? [] : section(name, entries, plugins);
  });
}

/** The flag and the names come last and once, whatever the order in the file. */
function startupOrder(entries: readonly OptionEntry[]): readonly OptionEntry[] {
  const apart = ["stacked-timeouts", "become-primary-on"];
  const last = apart.map((name) => entries.findLast((entry) => entry.name === name));
  return [...entries.filter(({ name }) => !apart.includes(name)), ...last.filter((entry) => entry !== undefined)];
}

function section(name: string, entries: readonly OptionEntry[], more: Lines = []): Lines {
  const options = entries.map((entry) =>
    empty("option", { name: entry.name, ...(entry.values.length === 0 ? {} : { value: entry.values.join(" ") }) }),
  );
  return element("section", { name }, [...options, ...more]);
}

const pluginLines = (plugins: readonly (readonly string[])[]): Lines =>
  plugins.length === 0
    ? []
    : element(
        "section",
        { name: "plugin" },
        plugins.map((words) => empty("option", { name: words.join(" ") })),
      );

function resourceLines(tree: ConfigTree, resource: ResourceNode, node: NodeIdentity): Lines {
  const disk = resource.sections.disk.filter(
    (entry) => entry.name !== "resync-after" || judgeResyncAfter(tree, entry, node).state !== "unknown",
  );
  const { file, line } = resource.at;
  const { local } = placeOf(resource, node);
  return element("resource", { name: resource.name, "conf-file-line": `${file}:${line}` }, [
    ...resource.hosts.flatMap((host) => hostLines(tree, host, local === undefined ? undefined : node)),
    ...sections({ ...resource, sections: { ...resource.sections, disk } }),
  ]);
}

function hostLines(tree: ConfigTree, host: HostNode, node: NodeIdentity | undefined): Lines {
  const names = host.names.map((name) => name.text).join(" ");
  return element("host", host.kind === "floating" ? { floating: 1 } : { name: names }, [
    ...(host.options.length > 0 ? section("options", host.options) : []),
    ...host.volumes.flatMap((volume) => volumeLines(volume, lowerDevice(tree, host, volume, node))),
    ...(host.address === undefined ? [] : [addressLine("address", host.address)]),
    ...(host.proxy === undefined ? [] : proxyLines(host.proxy)),
  ]);
}

/** The disk of a stacked volume is the device of the resource below, known only on a node that has that resource. */
function lowerDevice(
  tree: ConfigTree,
  host: HostNode,
  volume: VolumeNode,
  node: NodeIdentity | undefined,
): string | undefined {
  if (host.kind !== "stacked") return undefined;
  const lower = tree.resources.find(({ name }) => name === host.lower);
  if (lower === undefined || node === undefined) return "";
  const below = placeOf(lower, node).local?.volumes.find((one) => one.volume === volume.volume);
  return below?.device === undefined ? "" : below.device.name || `/dev/drbd${below.device.minor}`;
}

const addressLine = (name: string, { family, address, port }: AddressNode): string =>
  leaf(name, { family, port }, address);

function volumeLines(volume: VolumeNode, lower: string | undefined): Lines {
  const { device, metaDisk, options } = volume;
  const disk = lower ?? volume.disk?.text;
  const lines: string[] = [...(options.length > 0 ? section("disk", options) : [])];
  if (device !== undefined) lines.push(leaf("device", { minor: device.minor }, device.name));
  if (disk !== undefined) lines.push(leaf("disk", {}, disk));
  if (metaDisk !== undefined)
    lines.push(leaf("meta-disk", metaDisk.index === "" ? {} : { index: metaDisk.index }, metaDisk.path));
  else if (lower !== undefined) lines.push(leaf("meta-disk", {}, "internal"));
  return element("volume", { vnr: volume.volume }, lines);
}

function proxyLines(proxy: ProxyNode): Lines {
  const options = [
    ...(proxy.options.length > 0 || proxy.plugins.length > 0
      ? section("options", proxy.options, pluginLines(proxy.plugins))
      : []),
  ];
  return element("proxy", { hostname: proxy.names.map((name) => name.text).join(" ") }, [
    ...(proxy.inside === undefined ? [] : [addressLine("inside", proxy.inside)]),
    ...(proxy.outside === undefined ? [] : [addressLine("outside", proxy.outside)]),
    ...options,
  ]);
}
