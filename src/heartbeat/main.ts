/**
 * `main.js [--config FOLDER] [--state FOLDER]`: the heartbeat process in haresources mode. It ends on SIGTERM or SIGINT
 * after it has handed its groups over. Exit codes: 0 left in order, 1 could not run, 6 configuration error.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { parseAuthKeys } from "./core/config/authkeys.ts";
import { parseHaResources } from "./core/config/haresources.ts";
import { parseHaCf } from "./core/config/parse-ha-cf.ts";
import { type Configuration, Daemon } from "./daemon.ts";

const CONFIGURATION_ERROR = 6;

const log = (level: string, text: string): void => {
  process.stderr.write(`heartbeat: ${level}: ${text}\n`);
};

/** Undefined after the errors are printed. */
function configure(folder: string, stateFolder: string): Configuration | undefined {
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  const haCf = parseHaCf(read("ha.cf"), join(folder, "ha.cf"));
  const keysFile = join(folder, "authkeys");
  const keys = parseAuthKeys(read("authkeys"), keysFile, statSync(keysFile).mode);
  const resources = parseHaResources(read("haresources"), join(folder, "haresources"));
  const results = [haCf, keys, resources];
  for (const result of results) {
    if ("errors" in result) for (const error of result.errors) log("ERROR", error.message);
    else for (const warning of result.warnings) log("WARN", `${warning.at.file}:${warning.at.line}: ${warning.text}`);
  }
  if ("errors" in haCf || "errors" in keys || "errors" in resources) return undefined;
  return {
    haCf: haCf.haCf,
    authKeys: keys.authKeys,
    groups: resources.haResources.groups,
    stateFolder,
    scriptFolders: [join(folder, "resource.d"), "/etc/init.d"],
  };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      config: { type: "string", default: "/etc/ha.d" },
      state: { type: "string", default: "/var/lib/heartbeat" },
    },
  });
  const configuration = configure(values.config, values.state);
  if (configuration === undefined) return CONFIGURATION_ERROR;
  let daemon: Daemon | undefined;
  let isStopping = false;
  const stop = (): void => {
    isStopping = true;
    daemon?.stop();
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  for (;;) {
    daemon = new Daemon(configuration, log);
    const { restart, after } = await daemon.run();
    daemon = undefined;
    if (!restart || isStopping) return 0;
    log("info", `starting anew in ${after} ms`);
    await sleep(after);
    if (isStopping) return 0;
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  log("ERROR", error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
