/**
 * Starts and stops groups with resource.d and init.d scripts (heartbeat §15.2): left to right, only what does not run yet;
 * stopped right to left, again and again until it is stopped.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { HaResource, HaResourceGroup } from "./core/config/haresources.ts";

const STOP_TRIES = 10;
const STOP_PAUSE = 1_000;

export type OnScriptLog = (text: string) => void;

export class ScriptRunner {
  readonly #folders: readonly string[];
  readonly #groups: ReadonlyMap<string, HaResourceGroup>;
  readonly #log: OnScriptLog;

  /** `folders`: where scripts are looked for, in this order. */
  constructor(folders: readonly string[], groups: readonly HaResourceGroup[], log: OnScriptLog) {
    this.#folders = folders;
    this.#groups = new Map(groups.map((group) => [group.resources[0]?.written ?? "", group]));
    this.#log = log;
  }

  /** True if all groups run now. A group that fails is stopped again. */
  async take(keys: readonly string[]): Promise<boolean> {
    let ok = true;
    for (const key of keys) {
      if (await this.#startGroup(key)) continue;
      ok = false;
      await this.give([key]);
    }
    return ok;
  }

  /** True if all groups are stopped now. */
  async give(keys: readonly string[]): Promise<boolean> {
    let ok = true;
    for (const key of keys) {
      for (const resource of [...(this.#groups.get(key)?.resources ?? [])].reverse()) {
        if (!(await this.#stop(resource))) ok = false;
      }
    }
    return ok;
  }

  async #startGroup(key: string): Promise<boolean> {
    for (const resource of this.#groups.get(key)?.resources ?? []) {
      if (await this.#isRunning(resource)) continue;
      if ((await this.#call(resource, "start")).code !== 0) return false;
    }
    return true;
  }

  async #stop(resource: HaResource): Promise<boolean> {
    for (let n = 0; n < STOP_TRIES; n++) {
      if (n > 0) await sleep(STOP_PAUSE);
      if ((await this.#call(resource, "stop")).code === 0) return true;
    }
    return !(await this.#isRunning(resource));
  }

  /** The words decide, not the exit code. */
  async #isRunning(resource: HaResource): Promise<boolean> {
    const { text } = await this.#call(resource, "status");
    return !/not running|stopped/i.test(text) && /running|OK/.test(text);
  }

  #path(script: string): string | undefined {
    return this.#folders
      .map((folder) => join(folder, script))
      .find((path) => {
        try {
          accessSync(path, constants.X_OK);
          return statSync(path).isFile();
        } catch {
          return false;
        }
      });
  }

  async #call(resource: HaResource, verb: string): Promise<{ readonly code: number; readonly text: string }> {
    const path = this.#path(resource.script);
    if (path === undefined) {
      this.#log(`${resource.script}: no such script in ${this.#folders.join(", ")}`);
      return { code: -1, text: "" };
    }
    const child = spawn(path, [...resource.args, verb], { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    child.stdout.on("data", (chunk) => (text += chunk));
    child.stderr.on("data", (chunk) => (text += chunk));
    const code = await new Promise<number>((resolve) => {
      child.once("error", () => resolve(-1));
      // Not `close`: a script may leave a service behind that keeps its pipes.
      child.once("exit", (status) => resolve(status ?? -1));
    });
    this.#log(`${path} ${resource.args.join(" ")} ${verb}: ${code} ${text.trim()}`);
    return { code, text };
  }
}
