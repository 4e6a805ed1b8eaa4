/** The state word (drbd-84 §4.2), so that tests can be written in the numbers of the reference and the captures. */
import type { State } from "../../../../src/core/state/state.ts";

const layout: readonly (readonly [keyof State, shift: number, bits: number])[] = [
  ["role", 0, 2],
  ["peer", 2, 2],
  ["conn", 4, 5],
  ["disk", 9, 4],
  ["pdsk", 13, 4],
  ["susp", 17, 1],
  ["aftrIsp", 18, 1],
  ["peerIsp", 19, 1],
  ["userIsp", 20, 1],
  ["suspNod", 21, 1],
  ["suspFen", 22, 1],
];

export const wordOf = (state: State): number =>
  layout.reduce((word, [field, shift]) => word + state[field] * 2 ** shift, 0);

export const stateOf = (word: number): State =>
  Object.fromEntries(
    layout.map(([field, shift, bits]) => [field, Math.floor(word / 2 ** shift) % 2 ** bits]),
  ) as unknown as State;
