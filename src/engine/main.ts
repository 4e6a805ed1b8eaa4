/**
 * The engine process of one resource: `main.js RESOURCE -c FILE [--node NAME] [--log json]`. `futago up` starts it, `futago engine`
 * becomes it, systemd supervises it. It begins diskless and StandAlone: attach and connect come over the control socket.
 */
import { mkdirSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { noFutagoConfig, parseFutagoConfig, resolveFutagoResource } from "../core/config/futago-conf.ts";
import { parseConfig } from "../core/config/parse-config.ts";
import { resolve } from "../core/config/resolve.ts";
import { wallClockNow } from "../node/clock.ts";
import { filesBelow, nodeIdentity, readText } from "../node/config-files.ts";
import { serveControl } from "./control-server.ts";
import { Engine } from "./engine.ts";
import { openJournal } from "./journal.ts";
import { createLog, type LogFormat, logFormats, stderrLogOptions } from "./log.ts";
import { nodePaths, resourcePaths } from "./run-paths.ts";

/** Usage and configuration failures end with drbdadm's exit codes (drbd-84 §10.6). */
const EXIT = { usage: 1, configuration: 10, execution: 20 } as const;
const FUTAGO_CONF = "/etc/futago.conf";

function give(code: number, text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(code);
}

function readConfig(file: string, name: string, node: string) {
  const text = readText(file);
  if (text === undefined) give(EXIT.execution, `Can not open '${file}'.`);
  const parsed = parseConfig(filesBelow(file, text), file);
  if ("errors" in parsed) give(EXIT.configuration, parsed.errors.map((e) => e.message).join("\n"));
  const resolved = resolve(parsed.tree, nodeIdentity(node, parsed.tree, true));
  if ("errors" in resolved) give(EXIT.configuration, resolved.errors.map((e) => e.message).join("\n"));
  const config = resolved.resources.find((resource) => resource.name === name);
  if (config === undefined) give(EXIT.usage, `'${name}' not defined in your config (for this host, ${node}).`);
  return config;
}

function readFutagoConfig(name: string) {
  const file = process.env["FUTAGO_CONF"] || FUTAGO_CONF;
  const text = readText(file);
  const parsed = text === undefined ? { tree: noFutagoConfig } : parseFutagoConfig(filesBelow(file, text), file);
  if ("errors" in parsed) give(EXIT.configuration, parsed.errors.map((e) => e.message).join("\n"));
  const resolved = resolveFutagoResource(parsed.tree, name);
  if ("errors" in resolved) give(EXIT.configuration, resolved.errors.map((e) => e.message).join("\n"));
  return resolved.config;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { config: { type: "string", short: "c" }, node: { type: "string" }, log: { type: "string" } },
  });
  const [name] = positionals;
  if (name === undefined || values.config === undefined)
    give(EXIT.usage, "usage: engine RESOURCE -c FILE [--node NAME]");
  const node = nodePaths(values.node, process.env);
  if ("refusal" in node) give(EXIT.usage, node.refusal);
  const paths = resourcePaths(node, name);
  if ("refusal" in paths) give(EXIT.usage, paths.refusal);
  const config = readConfig(values.config, name, node.node);
  const format: LogFormat = logFormats.find((known) => known === values.log) ?? "text";
  const log = createLog(stderrLogOptions(format));
  const subject = { resource: name };
  mkdirSync(paths.run, { recursive: true, mode: 0o700 });
  const journal = openJournal({
    folder: paths.journal,
    now: wallClockNow,
    onWarning: (text) => log("warning", subject, text),
  });
  journal.append("start", { pid: process.pid, node: node.node });
  const engine = new Engine({ config, futago: readFutagoConfig(name), node: node.node, paths, log, journal });
  const end = async (code: number): Promise<never> => {
    await engine.close();
    rmSync(paths.pid, { force: true });
    process.exit(code);
  };
  const control = await serveControl({
    path: paths.control,
    control: engine,
    onDown: () => {
      log("info", subject, "down: the engine ends");
      void control.close().then(() => end(0));
    },
    onTrouble: (text) => log("warning", subject, text),
  });
  const stop = () => {
    void engine.execute({ verb: "down", force: false }).then(async (outcome) => {
      if (outcome.code < 1) return log("warning", subject, `not stopped: ${outcome.text}`);
      await control.close();
      await end(0);
    });
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

await main();
