/** Virtual time: what is to happen, in order of its moment and then of its being said. Nothing else moves the clock. */
interface Planned {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

const sooner = (a: Planned, b: Planned): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

export class Clock {
  /** Milliseconds since the run began. */
  now = 0;
  /** Events so far. */
  steps = 0;
  readonly #heap: Planned[] = [];
  #order = 0;

  at(moment: number, run: () => void): void {
    const event: Planned = { at: Math.max(moment, this.now), order: this.#order++, run };
    const heap = this.#heap;
    let n = heap.length;
    heap.push(event);
    while (n > 0) {
      const parent = (n - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || sooner(above, event)) break;
      heap[n] = above;
      n = parent;
    }
    heap[n] = event;
  }

  after(span: number, run: () => void): void {
    this.at(this.now + span, run);
  }

  /** Runs the next event; false if there is none. */
  step(): boolean {
    const event = this.#pop();
    if (event === undefined) return false;
    this.now = event.at;
    this.steps++;
    event.run();
    return true;
  }

  #pop(): Planned | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let n = 0;
    for (;;) {
      let child = 2 * n + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let least = left;
      if (right !== undefined && sooner(right, left)) {
        child++;
        least = right;
      }
      if (!sooner(least, last)) break;
      heap[n] = least;
      n = child;
    }
    heap[n] = last;
    return first;
  }
}
