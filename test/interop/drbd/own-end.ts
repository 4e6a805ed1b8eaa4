const closers = new Set<() => void>();
let watching = false;

/**
 * Calls `close`, which has to be synchronous, when this process exits or is ended by a usual signal; `forgetClose` takes
 * it back. SIGKILL is the kernel's business (`setpriv --pdeathsig`).
 */
export function closeAtEnd(close: () => void): void {
  closers.add(close);
  if (watching) return;
  watching = true;
  const closeAll = (): void => {
    for (const one of closers) one();
    closers.clear();
  };
  process.on("exit", closeAll);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      closeAll();
      // Others may want the signal too; alone, we end by it as if we had never listened.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    });
  }
}

export function forgetClose(close: () => void): void {
  closers.delete(close);
}
