/**
 * The text of `drbdadm dump` (drbd-84 §10.7), byte for byte that of drbdadm 8.4. Options stand as they are written;
 * what `common` contributes is not repeated in the resources.
 */
import { judgeResyncAfter, type NodeIdentity, placeOf } from "./node.ts";
import { globalOptions, type SectionName } from "./options.ts";
import type { AddressNode, ConfigTree, HostNode, OptionEntry, ProxyNode, ResourceNode, VolumeNode } from "./tree.ts";

const STEP = 4;
/** Column at which values start, whatever the indentation. */
const VALUE_COLUMN = 24;

export function dump(tree: ConfigTree, node: NodeIdentity): string {
  const out = new Printer();
  out.line(`# ${tree.file}`);
  dumpGlobal(out, tree.global);
  if (tree.common !== undefined) {
    out.open("common");
    dumpSections(out, tree.common);
    out.close();
    out.line("");
  }
  return out.text + tree.resources.map((resource) => dumpResource(tree, resource, node)).join("");
}

/** One resource with the two comment lines above it. */
export function dumpResource(tree: ConfigTree, resource: ResourceNode, node: NodeIdentity): string {
  const out = new Printer();
  const { local, stacked } = placeOf(resource, node);
  const ignored = local === undefined ? "ignored" : "not ignored";
  out.line(`# resource ${quote(resource.name)} on ${node.name}: ${ignored}, ${stacked ? "stacked" : "not stacked"}`);
  out.line(`# defined at ${resource.at.file}:${resource.at.line}`);
  out.open(`resource ${quote(resource.name)}`);
  for (const host of resource.hosts) dumpHost(out, host);
  const disk = resource.sections.disk.filter(
    (entry) => entry.name !== "resync-after" || judgeResyncAfter(tree, entry, node).state !== "unknown",
  );
  dumpSections(out, { ...resource, sections: { ...resource.sections, disk } });
  out.close();
  out.line("");
  return out.text;
}

/** Words that the lexer would not read back as one are quoted, and so are long ones. */
export const quote = (text: string): string =>
  /^[a-zA-Z0-9/._-]{1,80}$/.test(text) ? text : `"${text.replace(/[\\"]/g, "\\$&")}"`;

class Printer {
  text = "";
  #indent = 0;

  line(text: string): void {
    this.text += text === "" ? "\n" : `${" ".repeat(this.#indent)}${text}\n`;
  }

  open(head: string): void {
    this.line(`${head} {`);
    this.#indent += STEP;
  }

  close(): void {
    this.#indent -= STEP;
    this.line("}");
  }

  /** The name in a field that ends before the value column, the value right-justified to three characters. */
  option(name: string, value: string): void {
    this.line(`${name.padEnd(VALUE_COLUMN - this.#indent)} ${value.padStart(3)};`);
  }

  /** As `option`, in a field that does not shrink with the indentation and without justifying the value. */
  wide(name: string, value: string): void {
    this.line(`${name.padEnd(16)} ${value};`);
  }

  get indent(): number {
    return this.#indent;
  }
}

/** Printed only if one of four options differs from its default; then the timeouts drbdadm finds unusual come along. */
function dumpGlobal(out: Printer, entries: readonly OptionEntry[]): void {
  const number = (name: keyof typeof globalOptions): number => {
    const written = entries.findLast((entry) => entry.name === name)?.values[0];
    return written === undefined ? Number(globalOptions[name].byDefault) : Number.parseInt(written, 10);
  };
  const usage = entries.findLast((entry) => entry.name === "usage-count")?.values[0] ?? "ask";
  const unverified = entries.some((entry) => entry.name === "disable-ip-verification");
  const minors = number("minor-count");
  const refresh = number("dialog-refresh");
  if (!unverified && minors === 0 && refresh === 1 && usage === "ask") return;
  out.open("global");
  if (unverified) out.line("disable-ip-verification;");
  if (minors !== 0) out.line(`minor-count ${minors};`);
  if (refresh !== 1) out.line(`dialog-refresh ${refresh};`);
  if (usage !== "ask") out.line(`usage-count ${usage};`);
  for (const [name, usual] of usualTimeouts) {
    if (number(name) !== usual) out.line(`${name} ${number(name)};`);
  }
  out.close();
  out.line("");
}

const usualTimeouts = [
  ["cmd-timeout-short", 5],
  ["cmd-timeout-medium", 121],
  ["cmd-timeout-long", 600],
] as const;

const sectionOrder: readonly SectionName[] = ["options", "net", "disk", "startup", "proxy", "handlers"];

function dumpSections(out: Printer, resource: ResourceNode): void {
  for (const section of sectionOrder) {
    const entries = resource.sections[section];
    const plugins = section === "proxy" ? resource.plugins : [];
    if (entries.length === 0 && plugins.length === 0) continue;
    out.open(section);
    if (section === "startup") dumpStartup(out, entries);
    else dumpOptions(out, entries);
    dumpPlugins(out, plugins);
    out.close();
  }
}

function dumpOptions(out: Printer, entries: readonly OptionEntry[]): void {
  for (const { name, values } of entries) out.option(name, quote(values[0] ?? ""));
}

/** The flag and the names come last and once, whatever the order in the file. */
function dumpStartup(out: Printer, entries: readonly OptionEntry[]): void {
  const apart = ["stacked-timeouts", "become-primary-on"];
  dumpOptions(
    out,
    entries.filter((entry) => !apart.includes(entry.name)),
  );
  if (entries.some((entry) => entry.name === "stacked-timeouts")) out.line("stacked-timeouts;");
  const primary = entries.findLast((entry) => entry.name === "become-primary-on");
  if (primary !== undefined) out.option(primary.name, primary.values.join(" "));
}

function dumpPlugins(out: Printer, plugins: readonly (readonly string[])[]): void {
  if (plugins.length === 0) return;
  out.open("plugin");
  for (const words of plugins) out.line(`${words.join(" ")};`);
  out.close();
}

function dumpHost(out: Printer, host: HostNode): void {
  const names = host.names.map((name) => name.text).join(" ");
  if (host.kind === "floating" && host.address !== undefined) {
    out.open(`floating ${showAddress(host.address)}`);
  } else if (host.kind === "stacked") {
    out.open(`stacked-on-top-of ${quote(host.lower)}`);
    out.line(`# on ${names} `);
  } else out.open(`on ${names}`);
  if (host.options.length > 0) {
    out.open("options");
    dumpOptions(out, host.options);
    out.close();
  }
  for (const volume of host.volumes) dumpVolume(out, volume, host.kind === "stacked");
  if (host.kind !== "floating" && host.address !== undefined) out.wide("address", showAddress(host.address));
  if (host.alternateAddress !== undefined) out.wide("alternate-link-address", showAddress(host.alternateAddress));
  if (host.proxy !== undefined) dumpProxy(out, host.proxy);
  out.close();
}

const showAddress = ({ family, address, port }: AddressNode): string =>
  `${family} ${family === "ipv6" ? `[${address}]` : address}:${port}`;

function dumpVolume(out: Printer, volume: VolumeNode, stacked: boolean): void {
  const { device, disk, metaDisk, options } = volume;
  if (!volume.implicit) out.open(`volume ${volume.volume}`);
  if (options.length > 0) {
    out.open("disk");
    dumpOptions(out, options);
    out.close();
  }
  if (device !== undefined) {
    const name = device.name === "" ? "" : `${quote(device.name)} `;
    out.line(`${"device".padEnd(VALUE_COLUMN - out.indent)} ${name}minor ${device.minor};`);
  }
  if (!stacked && disk !== undefined) out.option("disk", quote(disk.text));
  if (!stacked && metaDisk !== undefined) {
    if (metaDisk.path === "internal") out.option("meta-disk", "internal");
    else out.wide("meta-disk", quote(metaDisk.path) + (metaDisk.index === "" ? "" : ` [${metaDisk.index}]`));
  }
  if (!volume.implicit) out.close();
}

function dumpProxy(out: Printer, proxy: ProxyNode): void {
  out.open(`proxy on ${proxy.names.map((name) => name.text).join(" ")}`);
  if (proxy.inside !== undefined) out.wide("inside", showAddress(proxy.inside));
  if (proxy.outside !== undefined) out.wide("outside", showAddress(proxy.outside));
  if (proxy.options.length > 0 || proxy.plugins.length > 0) {
    out.open("options");
    dumpOptions(out, proxy.options);
    dumpPlugins(out, proxy.plugins);
    out.close();
  }
  out.close();
}
