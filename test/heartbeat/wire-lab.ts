/**
 * Two lab hosts, each running either the real heartbeat 3.0.6 or ours, with the same ha.cf, authkeys and haresources. The
 * resources are scripts that leave a mark in the host's own /run while they run: a watcher outside looks at both hosts
 * all the time and notes whenever two run the same one.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RunningCommand } from "../lab/command.ts";
import { until } from "../lab/command.ts";
import type { LabHost } from "../lab/host.ts";
import { type Lab, openLab } from "../lab/lab.ts";
import { whyNoLab } from "../lab/require-root.ts";
import { topology } from "../lab/topology.ts";

export type Server = "host01" | "host02";
export type Kind = "real" | "futago";
export const servers: readonly Server[] = ["host01", "host02"];

const realProgram = "/usr/libexec/heartbeat/heartbeat";
export const program = fileURLToPath(new URL("../../dist/src/heartbeat/main.js", import.meta.url));

/** Why the real daemon cannot be met here; undefined when it can. */
export function whyNoHeartbeat(): string | undefined {
  const lab = whyNoLab();
  if (lab !== undefined) return lab;
  if (!existsSync(realProgram)) return "needs Debian's package heartbeat";
  const version = spawnSync(realProgram, ["-V"], { encoding: "utf8" }).stdout.trim();
  return version.startsWith("3.0.6") ? undefined : `needs heartbeat 3.0.6, found ${version}`;
}

/** Milliseconds between two looks at both hosts. */
const LOOK = 20;

const resourceScript = `#!/bin/sh
# labres NAME start|stop|status: takes a moment to start and to stop, as services do.
mark=/run/labres.$1
case $2 in
start) echo running > "$mark"; sleep 0.3 ;;
stop) sleep 0.3; rm -f "$mark" ;;
status) if [ -e "$mark" ]; then echo running; else echo stopped; fi ;;
esac
exit 0
`;

export const nodeName = (server: Server): string => topology[server].fqdn;

/** `labres::a` is at home on host01, `labres::b` on host02. */
export const homes: Readonly<Record<string, Server>> = { a: "host01", b: "host02" };

export interface WireLabOptions {
  readonly name: string;
  readonly scratch: string;
  readonly kinds: Readonly<Record<Server, Kind>>;
  /** Lines of ha.cf for the media. */
  readonly media: readonly string[];
  /** Lines of authkeys. */
  readonly authkeys: readonly string[];
  readonly autoFailback: "on" | "off" | "legacy";
  /** More lines of ha.cf. */
  readonly more?: readonly string[];
}

export class WireLab {
  readonly lab: Lab;
  readonly kinds: Readonly<Record<Server, Kind>>;
  /** Moments, in milliseconds, at which both hosts ran the same resource. */
  readonly doubled: string[] = [];
  private readonly daemons = new Map<Server, RunningCommand>();
  private readonly timer: NodeJS.Timeout;

  private constructor(lab: Lab, kinds: Readonly<Record<Server, Kind>>) {
    this.lab = lab;
    this.kinds = kinds;
    this.timer = setInterval(() => this.look(), LOOK);
  }

  static async open(options: WireLabOptions): Promise<WireLab> {
    const { name, scratch, kinds } = options;
    const lab = await openLab({ name, scratch, diskBytes: 1024 * 1024, drbdConf: "", boot: [] });
    const haCf = [
      "logfacility none",
      "logfile /var/log/ha-log",
      "keepalive 500ms",
      "warntime 1500ms",
      "deadtime 3",
      "initdead 10",
      "realtime off",
      ...options.media,
      `auto_failback ${options.autoFailback}`,
      `node ${nodeName("host01")} ${nodeName("host02")}`,
      ...(options.more ?? []),
    ];
    const resources = Object.entries(homes).map(([key, home]) => `${nodeName(home)} labres::${key}\n`);
    for (const server of servers) {
      const host = lab.host(server);
      host.writeFile("/etc/ha.d/ha.cf", `${haCf.join("\n")}\n`);
      host.writeFile("/etc/ha.d/authkeys", `${options.authkeys.join("\n")}\n`, 0o600);
      host.writeFile("/etc/ha.d/haresources", resources.join(""));
      host.writeFile("/etc/ha.d/resource.d/labres", resourceScript, 0o755);
    }
    await Promise.all(servers.map((server) => lab.host(server).boot()));
    return new WireLab(lab, kinds);
  }

  host(server: Server): LabHost {
    return this.lab.host(server);
  }

  /** Starts heartbeat of the host's kind in the foreground. */
  async start(...names: readonly Server[]): Promise<void> {
    await Promise.all(
      names.map(async (server) => {
        const host = this.host(server);
        const folders = ["/run/heartbeat/ccm", "/run/heartbeat/crm", "/run/heartbeat/dopd", "/run/resource-agents"];
        await host.mustRun(["mkdir", "-p", ...folders]);
        await host.mustRun(["chown", "-R", "hacluster:haclient", "/run/heartbeat"]);
        const argv = this.kinds[server] === "real" ? [realProgram, "-f"] : [process.execPath, program];
        this.daemons.set(server, host.spawn(argv));
      }),
    );
  }

  daemon(server: Server): RunningCommand {
    const daemon = this.daemons.get(server);
    if (daemon === undefined) throw new Error(`no heartbeat was started on ${server}`);
    return daemon;
  }

  /** Orderly stop; returns when the process is gone. */
  async stop(server: Server): Promise<void> {
    this.daemon(server).signal("SIGTERM");
    await Promise.race([this.daemon(server).exited, this.expires(`heartbeat of ${server} did not end`)]);
  }

  private expires(text: string): Promise<never> {
    return new Promise((_, reject) => {
      setTimeout(() => reject(new Error(`${text}\n${this.logs()}`)), 30_000).unref();
    });
  }

  /** Power off: the processes end at once and what they ran is gone with them. */
  async cutPower(server: Server): Promise<void> {
    await this.host(server).powerCut();
    this.daemons.delete(server);
  }

  /** Where each resource runs: `a@host01 b@host02`. */
  placement(): string {
    const found: string[] = [];
    for (const key of Object.keys(homes))
      for (const server of servers) if (this.runs(server, key)) found.push(`${key}@${server}`);
    return found.join(" ");
  }

  async reaches(placement: string, timeout = 30_000): Promise<void> {
    try {
      await until(placement, () => this.placement() === placement, timeout);
    } catch (cause) {
      throw new Error(`${placement} expected, found ${this.placement()}\n${this.logs()}`, { cause });
    }
  }

  /** What the real daemon of a host logged since it was opened. */
  log(server: Server): string {
    const file = join(this.host(server).path, "log/ha-log");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  logs(): string {
    return servers
      .map((server) => {
        const own = this.daemons.get(server);
        return `--- ${server} (${this.kinds[server]})\n${this.log(server)}${own?.stderr() ?? ""}`;
      })
      .join("\n");
  }

  /** Lines at WARN, ERROR or CRIT of the real daemons that no pattern expects. */
  unexpected(...expected: readonly RegExp[]): readonly string[] {
    return servers
      .filter((server) => this.kinds[server] === "real")
      .flatMap((server) => this.log(server).split("\n"))
      .filter((line) => /\b(WARN|ERROR|CRIT|EMERG|WARNING):/.test(line))
      .filter((line) => !expected.some((pattern) => pattern.test(line)));
  }

  /** What the real daemon's own tool says. */
  async clStatus(server: Server, ...words: readonly string[]): Promise<string> {
    return (await this.host(server).run(["cl_status", ...words])).stdout.trim();
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.lab.close();
  }

  private runs(server: Server, key: string): boolean {
    const host = this.host(server);
    return host.isPowered && existsSync(`/proc/${host.pid1}/root/run/labres.${key}`);
  }

  private look(): void {
    for (const key of Object.keys(homes)) {
      if (servers.every((server) => this.runs(server, key)))
        this.doubled.push(`${key} at ${Math.round(performance.now())}`);
    }
  }
}
