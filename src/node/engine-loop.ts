/**
 * The turn: `now` is fixed once, completions are delivered to handlers, what these made ready is delivered too, and only then
 * everything asked for leaves for the kernel, at once. Knows nothing of io_uring or Node's streams: a back end enters and
 * leaves turns, and registers what must happen at their end.
 */
import { after, type Instant, type Milliseconds, ms, NEVER } from "../core/units.ts";
import { monotonicNow } from "./clock.ts";

/** What the engine does in every turn. Nothing here is called outside of a turn. */
export interface TurnHooks {
  onTurnStart(now: Instant): void;
  /** `setDeadline`'s moment has come; the deadline is unset when this is called. */
  onDeadline(now: Instant): void;
  /** Everything delivered so far has been seen: the place to act on a whole batch. May run more than once in a turn. */
  onTurnEnd(now: Instant): void;
}

/** Something with handler calls to make in this turn. */
export interface Settling {
  settle(): void;
}

/** Something with operations to hand over at the end of this turn. Calls no handler. */
export interface Flushing {
  flush(): void;
}

/** Hands what was asked for to the kernel. */
export interface TurnBackend {
  submit(): void;
}

const IDLE: TurnHooks = { onTurnStart() {}, onDeadline() {}, onTurnEnd() {} };
/** setTimeout's limit. */
const LONGEST_TIMER = 2 ** 31 - 1;

export class EngineLoop {
  /** The moment this turn began; between turns, the moment the last one began. */
  now: Instant = monotonicNow();
  /** The longest time a turn took, or a deadline was served late: how long everything else had to wait. */
  worstStall: Milliseconds = ms(0);
  turns = 0;
  #hooks: TurnHooks = IDLE;
  #backend: TurnBackend | undefined;
  #inTurn = false;
  #settling: Settling[] = [];
  #flushing: Flushing[] = [];
  #nextTurn: Settling[] = [];
  #turnScheduled = false;
  #deadline: Instant = NEVER;
  #armedFor: Instant = NEVER;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  setHooks(hooks: TurnHooks): void {
    this.#hooks = hooks;
  }

  setBackend(backend: TurnBackend): void {
    this.#backend = backend;
  }

  /** Calls `onDeadline` in a turn at or shortly after `at`; replaces the previous deadline. `NEVER` unsets it. */
  setDeadline(at: Instant): void {
    this.#deadline = at;
    if (!this.#inTurn) this.#armTimer();
  }

  /** Runs `work` within a turn: the way in for timers, signals and requests from outside. Joins the turn that is running. */
  run(work: () => void): void {
    if (this.#inTurn) {
      work();
      return;
    }
    this.enterTurn();
    try {
      work();
    } finally {
      this.leaveTurn();
    }
    this.#backend?.submit();
    this.turnIsOver();
  }

  /** `task.settle()` is called in this turn, after the handler that is running has returned. */
  settleInTurn(task: Settling): void {
    this.#settling.push(task);
    this.turnSoon();
  }

  /** `task.flush()` is called at the end of this turn. */
  flushAtEnd(task: Flushing): void {
    this.#flushing.push(task);
    this.turnSoon();
  }

  /** `task.settle()` is called at the start of the next turn, which follows soon. */
  settleInNextTurn(task: Settling): void {
    this.#nextTurn.push(task);
    this.#scheduleTurn();
  }

  /** Makes sure that something asked for between turns is handed over. */
  turnSoon(): void {
    if (!this.#inTurn) this.#scheduleTurn();
  }

  /** For back ends: begins a turn that they end with `leaveTurn`. */
  enterTurn(): void {
    this.#inTurn = true;
    this.turns++;
    this.now = monotonicNow();
    this.#hooks.onTurnStart(this.now);
    if (this.#nextTurn.length > 0) {
      const tasks = this.#nextTurn;
      this.#nextTurn = [];
      for (const task of tasks) task.settle();
    }
    if (this.#deadline <= this.now) this.#passDeadline();
  }

  /** Ends the turn; what it produced is not yet submitted. */
  leaveTurn(): void {
    try {
      do {
        this.#settle();
        this.#hooks.onTurnEnd(this.now);
      } while (this.#settling.length > 0);
      for (let i = 0; i < this.#flushing.length; i++) this.#flushing[i]?.flush();
    } finally {
      this.#flushing.length = 0;
      this.#inTurn = false;
    }
    this.#armTimer();
  }

  /** For back ends: what the turn asked for is submitted, which may have taken its time too. */
  turnIsOver(): void {
    this.#notice((monotonicNow() - this.now) as Milliseconds);
  }

  /** No deadline fires any more. Turns still run, so that what is in flight can be reported. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    setImmediate(() => {
      this.#turnScheduled = false;
      this.run(() => {});
    });
  }

  #settle(): void {
    // A task may make another one ready, so the list grows while it is walked.
    for (let i = 0; i < this.#settling.length; i++) this.#settling[i]?.settle();
    this.#settling.length = 0;
  }

  #passDeadline(): void {
    this.#notice((this.now - this.#deadline) as Milliseconds);
    this.#deadline = NEVER;
    this.#hooks.onDeadline(this.now);
  }

  #notice(stall: Milliseconds): void {
    if (stall > this.worstStall) this.worstStall = stall;
  }

  /** A timer that fires early costs one comparison; re-arming it for every later deadline would cost more. */
  #armTimer(): void {
    if (this.#closed || this.#deadline >= this.#armedFor) return;
    clearTimeout(this.#timer);
    const delay = Math.min(Math.max(Math.ceil(this.#deadline - monotonicNow()), 0), LONGEST_TIMER);
    this.#armedFor = after(monotonicNow(), ms(delay));
    this.#timer = setTimeout(() => {
      this.#armedFor = NEVER;
      if (this.#deadline <= monotonicNow()) this.run(() => {});
      else this.#armTimer();
    }, delay);
  }
}
