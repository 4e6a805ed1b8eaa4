/**
 * Stands in for `src/engine/main.ts` as a process: takes the same arguments, serves the real control socket, and does nothing else.
 * A resource called `dies` ends at once, after some words on stderr.
 */

import type { StateRequest } from "../../../src/engine/control-interface.ts";
import { serveControl } from "../../../src/engine/control-server.ts";
import { nodePaths, resourcePaths } from "../../../src/engine/run-paths.ts";
import { resource, ScriptedControl, volume } from "./scripted-control.ts";

const [name = "", ...options] = process.argv.slice(2);
const node = options[options.indexOf("--node") + 1];
if (name === "dies") {
  process.stderr.write("drbd dies: first\ndrbd dies: cannot open /dev/nothing\n");
  process.exit(3);
}
const node0 = nodePaths(node, process.env);
if ("refusal" in node0) throw new Error(node0.refusal);
const paths = resourcePaths(node0, name);
if ("refusal" in paths) throw new Error(paths.refusal);
process.stderr.write(`arguments: ${process.argv.slice(2).join(" ")}\n`);

const down = { connection: "StandAlone", role: "Secondary", peerRole: "Unknown", reason: "" } as const;
const diskless = volume({ disk: "Diskless", peerDisk: "DUnknown", replication: "StandAlone" });
const control = new ScriptedControl(resource({ ...down, name, volumes: [diskless] }));
control.answer = async ({ verb }: StateRequest) => {
  process.stderr.write(`request: ${verb}\n`);
  const { current } = control;
  if (verb === "attach") control.change({ ...current, volumes: [volume({ ...diskless, disk: "UpToDate" })] });
  if (verb === "connect") {
    const volumes = current.volumes.map((one) => ({ ...one, replication: "WFConnection" as const }));
    control.change({ ...current, connection: "WFConnection", volumes });
  }
  return verb === "primary" ? { code: -2, text: "Need access to UpToDate data" } : { code: 1, text: "Success" };
};
const server = await serveControl({
  path: paths.control,
  control,
  onDown: () => {
    void server.close().then(() => process.exit(0));
  },
  onTrouble: (text) => process.stderr.write(`${text}\n`),
});
