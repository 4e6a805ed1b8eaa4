/** The clocks: one for deciding, which never jumps, and one for telling people. */
import { performance } from "node:perf_hooks";
import type { Instant } from "../core/units.ts";

/** Milliseconds, with fractions, since the process started; unaffected by changes of the system's time. */
export const monotonicNow = (): Instant => performance.now() as Instant;

/** Milliseconds since 1970, for logs and journals only. */
export const wallClockNow = (): number => Date.now();

/** The date people read, of a moment in milliseconds since 1970; of now by default. */
export const dateOf = (at: number = wallClockNow()): Date => new Date(at);
