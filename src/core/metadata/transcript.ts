/**
 * What a metadata command prints, and how it asks. Commands are plain functions, so a question ends the command: the answer is given by calling
 * it again with one more `confirmed`, and it goes on behind the question, without repeating what was shown.
 */
export interface Consent {
  /** `--force`: every question counts as answered. */
  readonly force: boolean;
  /** Questions, in order, that the operator has answered with `yes`. */
  readonly confirmed: number;
}
export const unasked: Consent = { force: false, confirmed: 0 };
export const forced: Consent = { force: true, confirmed: 0 };

/** Printed after the question on a terminal; anything but `yes` declines. */
export const CONFIRM_PROMPT = "[need to type 'yes' to confirm] ";
/** Printed instead where there is no terminal to ask on. */
export const NO_TERMINAL = "stdin not a TTY, not waiting for confirmation\n";
/** Printed on stdout when declined; the exit code is 1. */
export const CANCELLED = "Operation cancelled.\n";

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The command waits for a `yes`; its text is the end of `stderr` already. Nothing has been written to the device. */
  readonly question: string | undefined;
}

export class Transcript {
  readonly #consent: Consent;
  #asked = 0;
  #stdout: string[] = [];
  #stderr: string[] = [];
  #question: string | undefined;

  constructor(consent: Consent) {
    this.#consent = consent;
  }

  out(text: string): void {
    this.#stdout.push(text);
  }

  err(text: string): void {
    this.#stderr.push(text);
  }

  /** True: go on. False: return `this.end(1)` at once. `question` may have several lines, without a newline at its end. */
  ask(question: string): boolean {
    this.err(`\n${question}\n`);
    if (this.#consent.force) {
      this.err("*** confirmation forced via --force option ***\n");
      return true;
    }
    this.#asked++;
    if (this.#asked <= this.#consent.confirmed) {
      this.#stdout = [];
      this.#stderr = [];
      return true;
    }
    this.#question = question;
    return false;
  }

  end(exitCode: number): CommandResult {
    return { exitCode, stdout: this.#stdout.join(""), stderr: this.#stderr.join(""), question: this.#question };
  }
}
