/** Throws when something that only our own bug can make false is false. Not for input, peers or disks: those get values. */
export function invariant(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`invariant broken: ${what}`);
}
