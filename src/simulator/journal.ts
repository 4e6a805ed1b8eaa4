/**
 * What a run tells, one line per event:
 *
 *   milliseconds  who  kind  text
 *
 *   kind  op     a request of the application (`->` sent, `<-` answered)
 *         fault  something was broken, or mended
 *         do     a command of the operator (`->`) and its outcome (`<-`)
 *         state  DRBD's line about a change of state
 *         log    what the engine said
 *         uuid   why the generation UUIDs changed
 *         wire   a packet that entered the network, at its sender
 *         check  an oracle looked, and found nothing
 *         FAIL   an oracle found something
 */
export type LineKind = "op" | "fault" | "do" | "state" | "log" | "uuid" | "wire" | "check" | "FAIL";

export interface Violation {
  readonly at: number;
  readonly oracle: string;
  readonly text: string;
}

/** More violations than these say nothing new. */
const MOST_VIOLATIONS = 10;

export class Journal {
  readonly #print: ((line: string) => void) | undefined;
  readonly #now: () => number;
  readonly violations: Violation[] = [];

  constructor(now: () => number, print: ((line: string) => void) | undefined) {
    this.#now = now;
    this.#print = print;
  }

  /** Whether anybody reads: lines that cost something to make ask first. */
  get isRead(): boolean {
    return this.#print !== undefined;
  }

  say(who: string, kind: LineKind, text: string): void {
    this.#print?.(`${this.#now().toFixed(3).padStart(11)} ${who.padEnd(4)} ${kind.padEnd(5)} ${text}`);
  }

  fail(oracle: string, text: string): void {
    if (this.violations.length < MOST_VIOLATIONS) this.violations.push({ at: this.#now(), oracle, text });
    this.say("", "FAIL", `${oracle}: ${text}`);
  }

  get failed(): boolean {
    return this.violations.length > 0;
  }
}
