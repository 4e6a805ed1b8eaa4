/** `futago split-brain r0` and its kind: runs what drbd.conf's handlers section says, with the environment that drbdadm gives it (drbd-84 §10.9). */
import { spawn } from "node:child_process";
import type { ResourceConfig } from "../core/config/effective.ts";
import type { handlerOptions } from "../core/config/options.ts";
import { type Configuration, resourceOf } from "./configuration.ts";
import type { Session } from "./context.ts";
import type { Target } from "./targets.ts";

export const handlerVerbs = [
  "before-resync-target",
  "after-resync-target",
  "before-resync-source",
  "pri-on-incon-degr",
  "pri-lost-after-sb",
  "fence-peer",
  "unfence-peer",
  "local-io-error",
  "pri-lost",
  "initial-split-brain",
  "split-brain",
  "out-of-sync",
] as const satisfies readonly (keyof typeof handlerOptions)[];
export type HandlerVerb = (typeof handlerVerbs)[number];
export const isHandlerVerb = (verb: string): verb is HandlerVerb => handlerVerbs.some((name) => name === verb);

function environment(resource: ResourceConfig, file: string, volume: number | undefined): Record<string, string> {
  const { remote, volumes } = resource;
  const peers = remote.names.join(" ");
  const one = volumes.find((candidate) => candidate.volume === volume);
  return {
    DRBD_RESOURCE: resource.name,
    DRBD_CONF: file,
    DRBD_PEER: remote.names[0] ?? "",
    DRBD_PEERS: peers,
    DRBD_PEER_AF: remote.address.family,
    DRBD_PEER_ADDRESS: remote.address.address,
    DRBD_MINOR: one === undefined ? volumes.map(({ local }) => local.minor).join(" ") : String(one.local.minor),
    ...(one === undefined ? {} : { DRBD_VOLUME: String(one.volume), DRBD_LL_DISK: one.local.disk }),
  };
}

/** The handler's own exit code; 0 if none is configured. Dead by a signal counts as a shell counts it. */
export async function handlerVerb(
  session: Session,
  verb: HandlerVerb,
  configuration: Configuration,
  target: Target,
): Promise<number> {
  const resource = resourceOf(configuration, target.resource);
  const command = resource.handlers.values[verb];
  if (command === "") return 0;
  if (session.given["dry-run"]) {
    session.out(`/bin/sh -c '${command.replaceAll("'", "'\\''")}'\n`);
    return 0;
  }
  const env = { ...session.env, ...environment(resource, configuration.file, target.volume) };
  return new Promise((resolve) => {
    const child = spawn("/bin/sh", ["-c", command], { env, stdio: ["inherit", "pipe", "pipe"] });
    child.stdout.on("data", (chunk: Buffer) => session.out(chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => session.err(chunk.toString()));
    child.once("error", (error) => {
      session.err(`${verb}: ${error.message}\n`);
      resolve(127);
    });
    child.once("close", (code) => resolve(code ?? 128));
  });
}
