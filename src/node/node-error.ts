/**
 * The only place where the system's error numbers become ours: a `CloseReason` for streams, text for people, a number for disks.
 * Numbers are negative errno values, as the kernel and libuv report them.
 */
import { getSystemErrorMap } from "node:util";
import type { CloseReason } from "../core/ports.ts";

export const EIO = -5;
export const EAGAIN = -11;
export const EBUSY = -16;
export const EINVAL = -22;
export const ENFILE = -23;
export const EMFILE = -24;
export const EOPNOTSUPP = -95;
export const ECONNABORTED = -103;
export const ECONNREFUSED = -111;
export const ECANCELED = -125;

/** Everything not named here is `error`. */
const reasons: ReadonlyMap<string, CloseReason> = new Map([
  ["ECONNRESET", "reset"],
  ["EPIPE", "reset"],
  ["ETIMEDOUT", "timeout"],
  ["ECONNREFUSED", "refused"],
  ["EHOSTUNREACH", "unreachable"],
  ["ENETUNREACH", "unreachable"],
  ["EHOSTDOWN", "unreachable"],
  ["ENETDOWN", "unreachable"],
]);

/** `ECONNRESET`, or `E12345` for a number nobody knows. */
export function errnoName(errno: number): string {
  return getSystemErrorMap().get(errno)?.[0] ?? `E${-errno}`;
}

/** `ECONNRESET: connection reset by peer`. */
export function errnoText(errno: number): string {
  const known = getSystemErrorMap().get(errno);
  return known === undefined ? `E${-errno}: unknown error` : `${known[0]}: ${known[1]}`;
}

export function closeReasonOf(errno: number): CloseReason {
  return reasons.get(errnoName(errno)) ?? "error";
}

/** The negative errno of an error thrown or passed by Node; EIO for one that carries none. */
export function errnoOf(error: unknown): number {
  if (error instanceof Error && "errno" in error && typeof error.errno === "number") {
    return error.errno > 0 ? -error.errno : error.errno;
  }
  return error instanceof Error && "code" in error ? errnoNamed(String(error.code)) : EIO;
}

function errnoNamed(name: string): number {
  for (const [errno, [known]] of getSystemErrorMap()) if (known === name) return errno;
  return EIO;
}
