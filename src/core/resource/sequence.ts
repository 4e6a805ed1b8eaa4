/** Steps of the control path that must happen one after another although some wait for the disk: each calls `done` when it is through. */
export type Step = (done: () => void) => void;

export class Sequence {
  readonly #steps: { readonly run: Step; readonly untilReset: boolean }[] = [];
  #running = false;
  #generation = 0;

  get idle(): boolean {
    return !this.#running && this.#steps.length === 0;
  }

  /** `untilReset`: the step belongs to the present connection and is dropped with it. */
  add(run: Step, untilReset: boolean): void {
    this.#steps.push({ run, untilReset });
    this.#advance();
  }

  /** The connection is gone: steps that belonged to it are dropped. One that is under way goes on. */
  reset(): void {
    this.#generation++;
    for (let i = this.#steps.length - 1; i >= 0; i--) {
      if (this.#steps[i]?.untilReset === true) this.#steps.splice(i, 1);
    }
  }

  /** Changes with every `reset`: what was begun before must not act on a new connection. */
  get generation(): number {
    return this.#generation;
  }

  #advance(): void {
    while (!this.#running) {
      const step = this.#steps.shift();
      if (step === undefined) return;
      this.#running = true;
      let through = false;
      step.run(() => {
        if (through) return;
        through = true;
        this.#running = false;
        this.#advance();
      });
      if (!through) return;
    }
  }
}
