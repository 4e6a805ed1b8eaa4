/** `drbdsetup show`: what runs, in the words of the configuration, for programs that compare the two. */
import type { ResourceConfig, VolumeConfig } from "../core/config/effective.ts";
import type { Session } from "./context.ts";
import type { ExitName } from "./exit-codes.ts";
import type { Running } from "./running.ts";

/** Tab-aligned as drbdsetup's own. */
const line = (depth: number, name: string, value: string): string => `${"    ".repeat(depth)}${name}\t\t\t${value};\n`;
const block = (depth: number, head: string, body: string): string =>
  `${"    ".repeat(depth)}${head} {\n${body}${"    ".repeat(depth)}}\n`;

export async function show(session: Session, object: string, running: readonly Running[]): Promise<ExitName> {
  const { loadConfiguration } = await import("./configuration.ts");
  const configuration = loadConfiguration(session, false);
  const minor = /^(?:minor-|\/dev\/drbd)?(\d{1,7})$/.exec(object)?.[1];
  const wanted = running.filter(
    ({ status }) =>
      object === "all" ||
      status.name === object ||
      status.volumes.some((volume) => minor !== undefined && volume.minor === Number(minor)),
  );
  if (wanted.length === 0 && object !== "all") {
    session.err(`${object}: No such resource\n`);
    return "execution";
  }
  const configs = "exit" in configuration ? [] : configuration.resources;
  const texts = wanted.map((engine) =>
    resourceText(
      engine,
      configs.find(({ name }) => name === engine.status.name),
    ),
  );
  session.out(texts.join("\n"));
  return "ok";
}

function resourceText({ status }: Running, config: ResourceConfig | undefined): string {
  const connected = status.connection !== "StandAlone";
  const volumes = status.volumes.map((volume) => {
    const attached = volume.disk !== "Diskless";
    const written = config?.volumes.find((one) => one.volume === volume.volume);
    const disk = attached ? line(3, "disk", `"${volume.backingDisk}"`) + metaDisk(written) : "";
    return block(2, `volume ${volume.volume}`, line(3, "device", `minor ${volume.minor}`) + disk);
  });
  const family = (address: string): string => `${address.startsWith("[") ? "ipv6" : "ipv4"} ${address}`;
  const remote = connected ? block(1, "_remote_host", line(2, "address", family(status.remote))) : "";
  const local = connected ? line(2, "address", family(status.local)) : "";
  const net = connected ? block(1, "net", line(2, "protocol", status.protocol)) : "";
  return block(0, `resource ${status.name}`, `${net}${remote}${block(1, "_this_host", local + volumes.join(""))}`);
}

function metaDisk(volume: VolumeConfig | undefined): string {
  const place = volume?.local.metaDisk;
  if (place === undefined) return "";
  if (place.kind === "internal") return line(3, "meta-disk", "internal");
  return line(3, "meta-disk", `"${place.path}"${place.kind === "indexed" ? ` [${place.index}]` : ""}`);
}
