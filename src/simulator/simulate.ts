/**
 * One run: two nodes of the real engine in virtual time. First the safety phase, with faults; then everything is mended, and both nodes must
 * come to be one again within bounded virtual time. Everything follows from the seed.
 */
import { Conn, DiskState } from "../core/state/state.ts";
import { Clock } from "./clock.ts";
import { Cluster } from "./cluster.ts";
import { judgeEnd } from "./convergence.ts";
import { Coverage } from "./coverage.ts";
import { Faults } from "./faults.ts";
import { Journal, type Violation } from "./journal.ts";
import type { Process, SimNode } from "./node.ts";
import { Operator } from "./operator.ts";
import { optionsFor, type SimOptions } from "./options.ts";
import { SimRandom } from "./random.ts";
import { watchResync } from "./resync-watch.ts";
import { statusLine } from "./status-line.ts";
import { Wire } from "./wire.ts";

export interface SimulateOptions {
  /** Replaces what the seed would choose. */
  readonly fixed?: Partial<SimOptions>;
  /** Receives the trace; without it nothing is formatted. */
  readonly print?: (line: string) => void;
  /** For tests of the oracles: spoils a process that has just been made, or the cluster before it starts. */
  readonly onBoot?: (node: SimNode, process: Process) => void;
  readonly onStart?: (cluster: Cluster, wire: Wire) => void;
  /** Most events: a run that does not end is one that fails. */
  readonly mostSteps?: number;
}

export interface Report {
  readonly seed: number;
  readonly options: SimOptions;
  readonly violations: readonly Violation[];
  /** Virtual milliseconds. */
  readonly time: number;
  readonly steps: number;
  readonly requests: number;
  /** What the two nodes were when it ended. */
  readonly status: readonly string[];
}

/** How often the two disks are compared against what is named. */
const CHECK_MS = 100;
/** The application must have all its answers after this long in a healthy world. */
const DRAIN_MS = 90_000;
/** And the nodes be one after this. */
const CONVERGE_MS = 180_000;
const MOST_STEPS = 3_000_000;

export function simulate(seed: number, how: SimulateOptions = {}): Report {
  const run = new Run(seed, how);
  try {
    run.safety();
    if (!run.journal.failed) run.liveness();
  } catch (error) {
    run.journal.fail("engine", error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  return run.report();
}

class Run {
  readonly journal: Journal;
  readonly #seed: number;
  readonly #clock = new Clock();
  readonly #options: SimOptions;
  readonly #cluster: Cluster;
  readonly #operator: Operator;
  readonly #faults: Faults;
  readonly #coverage: Coverage;
  readonly #mostSteps: number;

  constructor(seed: number, how: SimulateOptions) {
    const random = new SimRandom(seed);
    this.#seed = seed;
    this.#options = optionsFor(seed, how.fixed);
    this.#mostSteps = how.mostSteps ?? MOST_STEPS;
    this.journal = new Journal(() => this.#clock.now, how.print);
    this.#cluster = new Cluster({
      clock: this.#clock,
      random: random.fork("cluster"),
      options: this.#options,
      journal: this.journal,
      onBoot: how.onBoot ?? (() => undefined),
    });
    this.#operator = new Operator(this.#cluster, random.fork("operator"));
    this.#faults = new Faults(this.#cluster, this.#operator, random.fork("faults"));
    this.#coverage = new Coverage(this.#cluster);
    const wire = new Wire(this.#cluster);
    this.#cluster.network.tap = wire;
    watchResync(this.#cluster, wire);
    how.onStart?.(this.#cluster, wire);
    this.#operator.start();
  }

  /** Faults and requests side by side; the disks are compared now and then. */
  safety(): void {
    const check = (): void => {
      this.#coverage.check();
      this.#clock.after(CHECK_MS, check);
    };
    this.#clock.after(CHECK_MS, check);
    this.#faults.start();
    this.#until(this.#options.duration, () => false);
  }

  /** Nothing breaks any more: every request is answered, and both nodes become one. */
  liveness(): void {
    this.journal.say("", "check", "faults end");
    this.#faults.stop();
    this.#cluster.share.errorsAllowed ||= false;
    this.#operator.hurry();
    const drained = this.#until(this.#clock.now + DRAIN_MS, () => this.#isDrained());
    if (this.journal.failed) return;
    if (!drained) return this.journal.fail("answers", `not all requests were answered: ${this.#statuses().join("; ")}`);
    const converged = this.#until(this.#clock.now + CONVERGE_MS, () => this.#isOne());
    if (this.journal.failed) return;
    if (!converged)
      return this.journal.fail("convergence", `the nodes did not become one: ${this.#statuses().join("; ")}`);
    this.#coverage.check();
    judgeEnd(this.#cluster, this.#coverage);
  }

  /** The budget is used up and nothing is open. */
  #isDrained(): boolean {
    const { share, primaries } = this.#cluster;
    const [primary] = primaries;
    if (primaries.length !== 1 || primary?.process?.workload === undefined) return false;
    return share.budget <= 0 && primary.process.workload.open === 0;
  }

  #isOne(): boolean {
    return this.#cluster.nodes.every((node) => {
      const { process } = node;
      if (process === undefined || this.#operator.isBusy(node)) return false;
      const { resource, volume } = process;
      const { state, bitmap } = volume;
      const isOne =
        state.conn === Conn.Connected && state.disk === DiskState.UpToDate && state.pdsk === DiskState.UpToDate;
      const used = (["application", "peer", "resync", "control"] as const).some((c) => resource.requests.used(c) > 0);
      return isOne && bitmap?.count === 0 && !used;
    });
  }

  #statuses(): string[] {
    return this.#cluster.nodes.map(statusLine);
  }

  /** False if the moment came first. */
  #until(moment: number, condition: () => boolean): boolean {
    let looked = 0;
    while (this.#clock.now < moment) {
      if (this.journal.failed) return false;
      if (this.#clock.now >= looked) {
        if (condition()) return true;
        looked = this.#clock.now + 1;
      }
      if (!this.#clock.step()) throw new Error("nothing is planned any more");
      if (this.#clock.steps > this.#mostSteps) {
        this.journal.fail("end", `more than ${this.#mostSteps} events: ${this.#statuses().join("; ")}`);
        return false;
      }
    }
    return condition();
  }

  report(): Report {
    return {
      seed: this.#seed,
      options: this.#options,
      violations: this.journal.violations,
      time: this.#clock.now,
      steps: this.#clock.steps,
      requests: this.#cluster.share.number,
      status: this.#statuses(),
    };
  }
}
