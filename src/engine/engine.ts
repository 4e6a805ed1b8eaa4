/**
 * One resource wired together: the core on the real ports, NBD sessions on the Unix socket, and what the control server needs. Decides
 * nothing.
 */
import { mkdirSync } from "node:fs";
import type { ResourceConfig } from "../core/config/effective.ts";
import type { FutagoResourceConfig } from "../core/config/futago-conf.ts";
import type { ExportTable } from "../core/nbd/exports.ts";
import { Session } from "../core/nbd/session.ts";
import type { Closable, Disk, DiskHandler, Stream } from "../core/ports.ts";
import { Resource, type ResourceEvent } from "../core/resource/resource.ts";
import { statusOf } from "../core/resource/status-view.ts";
import { uuidText } from "../core/state/uuids.ts";
import type { Outcome, ResourceStatus } from "../core/status.ts";
import type { Volume } from "../core/volume/volume.ts";
import { SystemDigests } from "../node/digests.ts";
import { type Io, openIo } from "../node/io.ts";
import { SystemRandom } from "../node/random.ts";
import type { ControlListener, EngineControl, GenerationView, StateRequest } from "./control-interface.ts";
import type { Journal } from "./journal.ts";
import type { Log, LogLevel } from "./log.ts";
import type { ResourcePaths } from "./run-paths.ts";
import { settingsOf } from "./settings.ts";

export interface EngineOptions {
  readonly config: ResourceConfig;
  readonly futago: FutagoResourceConfig;
  readonly node: string;
  readonly paths: ResourcePaths;
  readonly log: Log;
  readonly journal: Journal;
}

/** How often counters alone make `watch` speak. */
const COUNTER_INTERVAL_MS = 1000;
/** Clients of a volume that goes away get this long to finish (architecture, decisions: `secondary` while open). */
const DRAIN_MS = 5000;
const levels = { info: "info", warn: "warning", err: "error", alert: "error" } as const satisfies Record<
  string,
  LogLevel
>;

/** A disk reports to the volume that opened it. */
class VolumeDisks implements DiskHandler {
  volume: Volume | undefined;
  onDisk(tag: number, result: number): void {
    this.volume?.onDisk(tag, result);
  }
}

export class Engine implements EngineControl {
  readonly resource: Resource;
  readonly #options: EngineOptions;
  readonly #io: Io;
  readonly #listeners = new Set<ControlListener>();
  readonly #sessions = new Map<Session, Stream>();
  readonly #nbd: readonly Closable[];
  readonly #ticker: NodeJS.Timeout;
  #counted = "";

  constructor(options: EngineOptions) {
    this.#options = options;
    const settings = settingsOf(options.config, options.futago, options.node);
    this.#io = openIo({ slabBytes: settings.slabBytes });
    const io = this.#io;
    this.resource = new Resource(settings, {
      memory: io.memory,
      network: io.network,
      random: new SystemRandom(),
      digests: new SystemDigests(),
      openDisks: (volume) => this.#openDisks(volume),
      onEvent: (event) => this.#onEvent(event),
      onStatusChange: () => this.#changed(),
    });
    const { resource } = this;
    io.loop.setHooks({
      onTurnStart: (now) => resource.beginTurn(now),
      onDeadline: (now) => resource.onTimer(now),
      onTurnEnd: () => {
        resource.endTurn();
        io.loop.setDeadline(resource.deadline);
      },
    });
    mkdirSync(options.paths.run, { recursive: true, mode: 0o700 });
    this.#nbd = this.#listen();
    this.#ticker = setInterval(() => this.#tick(), COUNTER_INTERVAL_MS);
    this.#say("info", `engine started, ${io.backend}`);
  }

  /** Refused by the kernel, or asked for: why io_uring is not used. */
  get backend(): string {
    return this.#io.backend;
  }

  /** Longest time the loop was busy with one turn, in milliseconds. */
  get worstStallMs(): number {
    return this.#io.loop.worstStall;
  }

  // ---- EngineControl ----

  execute(request: StateRequest): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#io.loop.run(() => this.#execute(request, resolve));
    });
  }

  status(): ResourceStatus {
    return statusOf(this.resource, { backend: this.#io.backend });
  }

  subscribe(listener: ControlListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  startedDegraded(volume: number): boolean {
    return this.resource.volume(volume)?.degraded === true;
  }

  generation(volume: number): GenerationView | undefined {
    const found = this.resource.volume(volume);
    const superblock = found?.superblock;
    if (superblock === undefined) return undefined;
    const { current, bitmap, history1, history2, flags, laSize, laPeerMaxBioSize } = superblock;
    return {
      uuids: [current, bitmap, history1, history2].map(uuidText),
      flags,
      lastAgreedSectors: laSize,
      lastAgreedMaxBioBytes: laPeerMaxBioSize,
    };
  }

  /** Everything is down: lets the process end. */
  async close(): Promise<void> {
    clearInterval(this.#ticker);
    this.#io.loop.run(() => {
      for (const listener of this.#nbd) listener.close();
      for (const stream of this.#sessions.values()) stream.destroy();
    });
    await this.#options.journal.close();
    this.#io.close();
  }

  #execute(request: StateRequest, done: (outcome: Outcome) => void): void {
    const { commands, volumes } = this.resource;
    const each = (volume: number | undefined, run: (v: Volume, next: (o: Outcome) => void) => void) =>
      onEach(
        volumes.filter((v) => volume === undefined || v.number === volume),
        run,
        done,
      );
    switch (request.verb) {
      case "attach":
        return each(request.volume, (v, next) => commands.attach(v, next));
      case "detach":
        return each(request.volume, (v, next) => commands.detach(v, request.force, next));
      case "connect":
        return commands.connect(request.discardMyData, done);
      case "disconnect":
        return commands.disconnect(request.force, done);
      case "primary":
        return each(request.volume, (v, next) => commands.primary(v, request.force, next));
      case "secondary":
        return each(request.volume, (v, next) => commands.secondary(v, next));
      case "invalidate":
        return each(request.volume, (v, next) => commands.invalidate(v, next));
      case "invalidateRemote":
        return each(request.volume, (v, next) => commands.invalidateRemote(v, next));
      case "outdate":
        return each(request.volume, (v, next) => commands.outdate(v, next));
      case "pauseSync":
        return each(request.volume, (v, next) => commands.pauseSync(v, next));
      case "resumeSync":
        return each(request.volume, (v, next) => commands.resumeSync(v, next));
      case "down":
        return this.#down(request.force, done);
      default:
        return request satisfies never;
    }
  }

  /** Clients finish first; a held device keeps the resource up unless forced. */
  #down(force: boolean, done: (outcome: Outcome) => void): void {
    const { commands, volumes } = this.resource;
    const open = volumes.reduce((sum, v) => sum + v.openCount, 0);
    if (open > 0 && !force) return done({ code: -12, text: "Device is held open by someone" });
    for (const volume of volumes) volume.shutDownClients();
    const give = setTimeout(() => {
      for (const stream of this.#sessions.values()) stream.destroy();
    }, DRAIN_MS);
    const finish = (outcome: Outcome) => {
      clearTimeout(give);
      done(outcome);
    };
    onEach(
      volumes,
      (v, next) => commands.secondary(v, (outcome) => next(force ? { code: 1, text: "" } : outcome)),
      (demoted) => {
        if (demoted.code < 1) {
          for (const volume of volumes) volume.refuses = false;
          return finish(demoted);
        }
        commands.disconnect(force, (disconnected) => {
          if (disconnected.code < 1) return finish(disconnected);
          onEach(volumes, (v, next) => commands.detach(v, force, next), finish);
        });
      },
    );
  }

  // ---- ports ----

  #openDisks(number: number): { readonly data: Disk; readonly meta: Disk } | Outcome {
    const config = this.#options.config.volumes.find((v) => v.volume === number);
    const volume = this.resource.volume(number);
    if (config === undefined || volume === undefined) return { code: 127, text: `volume ${number} is not configured` };
    const direct = this.resource.settings.io === "direct";
    const handler = new VolumeDisks();
    handler.volume = volume;
    const { disk, metaDisk } = config.local;
    const data = this.#io.openDisk(disk, { direct, readOnly: false }, handler);
    if ("refused" in data) return { code: 104, text: `Can not open backing device. ${data.text}` };
    if (metaDisk.kind === "internal") return { data, meta: data };
    const meta = this.#io.openDisk(metaDisk.path, { direct, readOnly: false }, handler);
    if (!("refused" in meta)) return { data, meta };
    data.close();
    return { code: 105, text: `Can not open meta device. ${meta.text}` };
  }

  /** The Unix socket always; TCP where `nbd { listen }` says so. */
  #listen(): Closable[] {
    const { paths, futago } = this.#options;
    const onStream = (stream: Stream) => this.#onClient(stream);
    const onError = (detail: string) => this.#say("err", `nbd: ${detail}`);
    const tcp = futago.nbd.values.listen.map(({ address, port }) =>
      this.#io.network.listen({ address, port }, onStream, onError),
    );
    return [this.#io.listenUnix(paths.nbd, onStream, onError), ...tcp];
  }

  #onClient(stream: Stream): Session {
    const session = new Session(stream, this.#exports(), {
      trace: undefined,
      onViolation: (_, text) => this.#say("warn", `nbd client ${stream.remote}: ${text}`),
      onClosed: (ended) => {
        this.#sessions.delete(ended);
        this.#changed();
      },
    });
    this.#sessions.set(session, stream);
    this.#changed();
    return session;
  }

  /** `<res>` is the first volume, `<res>/<volume>` each of them; the empty name is `<res>`. */
  #exports(): ExportTable {
    const { volumes, settings } = this.resource;
    const nameOf = (volume: Volume): string => `${settings.name}/${volume.number}`;
    return {
      list: () => [settings.name, ...volumes.map(nameOf)],
      find: (name) => {
        if (name === "" || name === settings.name) return volumes[0];
        return volumes.find((volume) => nameOf(volume) === name);
      },
      describe: (name) => `DRBD volume ${name === "" ? settings.name : name} on ${settings.node}`,
    };
  }

  // ---- what is to be told ----

  #onEvent(event: ResourceEvent): void {
    const { journal } = this.#options;
    switch (event.kind) {
      case "log":
        this.#say(event.level, event.text);
        journal.append(event.text.startsWith("Split-Brain") ? "split-brain" : "log", {
          level: event.level,
          text: event.text,
        });
        return;
      case "state": {
        const roleChanged = event.old.role !== event.state.role;
        this.#say("info", event.text, event.volume);
        journal.append(roleChanged ? "role" : "state", { volume: event.volume, text: event.text });
        return;
      }
      case "uuids": {
        const volume = this.resource.volume(event.volume);
        const { current, bitmap, history1, history2 } = volume?.uuids ?? {
          current: 0n,
          bitmap: 0n,
          history1: 0n,
          history2: 0n,
        };
        const uuids = [current, bitmap, history1, history2].map(uuidText).join(":");
        journal.append("uuid", { volume: event.volume, text: event.text, before: uuids });
        return;
      }
      default:
        return event satisfies never;
    }
  }

  #say(level: keyof typeof levels, text: string, volume?: number): void {
    const minor = this.#options.config.volumes.find((v) => v.volume === volume)?.local.minor;
    const subject = { resource: this.#options.config.name, ...(minor === undefined ? {} : { minor }) };
    this.#options.log(levels[level], subject, text);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener.onChange();
  }

  /** Counters and progress alone: about once a second, and only if somebody watches. */
  #tick(): void {
    if (this.#listeners.size === 0) return;
    const counted = JSON.stringify(this.resource.volumes.map((v) => [v.counters, v.bitmap?.count]));
    if (counted === this.#counted) return;
    this.#counted = counted;
    this.#changed();
  }
}

/** Runs a command on one volume after the other; stops at the first refusal. */
function onEach(
  volumes: readonly Volume[],
  run: (volume: Volume, next: (outcome: Outcome) => void) => void,
  done: (outcome: Outcome) => void,
): void {
  let last: Outcome = { code: 127, text: "Unknown volume" };
  const step = (n: number): void => {
    const volume = volumes[n];
    if (volume === undefined) return done(last);
    run(volume, (outcome) => {
      last = outcome;
      if (outcome.code < 1 || outcome.code > 100) done(outcome);
      else step(n + 1);
    });
  };
  step(0);
}
