/**
 * Reads the logs of real kernels in test/vectors/kmsg: what each device said, and the state it was in when it said so.
 */
import { readdirSync, readFileSync } from "node:fs";
import { Conn, initialState, Role, type State } from "../../../../src/core/state/state.ts";
import type { UuidSet } from "../../../../src/core/state/uuids.ts";
import { connectionNames, diskNames, roleNames } from "../../../../src/core/status.ts";

const folder = new URL("../../../vectors/kmsg/", import.meta.url);

export interface Line {
  readonly file: string;
  readonly number: number;
  /** `drbd0` for a device, `r0` for a connection, as logged. */
  readonly who: string;
  readonly text: string;
}

export const captures: readonly { readonly file: string; readonly lines: readonly Line[] }[] = readdirSync(folder)
  .filter((file) => file.endsWith(".kmsg"))
  .sort()
  .map((file) => ({
    file,
    lines: readFileSync(new URL(file, folder), "utf8")
      .split("\n")
      .flatMap((line, index) => {
        const parts = /^\[ *[\d.]+\] (?:block (drbd\d+)|drbd (r\d+)): (.*?) *$/.exec(line);
        if (parts === null) return [];
        return [{ file, number: index + 1, who: parts[1] ?? parts[2] ?? "", text: parts[3] ?? "" }];
      }),
  }));

const numberOf = (names: readonly string[], name: string): number => {
  const number = names.indexOf(name);
  if (number < 0) throw new Error(`unknown name ${name}`);
  return number;
};

const fields = {
  role: ["role", roleNames],
  peer: ["peer", roleNames],
  conn: ["conn", connectionNames],
  disk: ["disk", diskNames],
  pdsk: ["pdsk", diskNames],
  aftr_isp: ["aftrIsp", ["0", "1"]],
  peer_isp: ["peerIsp", ["0", "1"]],
  user_isp: ["userIsp", ["0", "1"]],
} as const;

export interface LoggedChange {
  readonly from: Partial<State>;
  readonly to: Partial<State>;
}

/** The change a line reports, or undefined if it reports none. */
export function loggedChange(text: string): LoggedChange | undefined {
  const from: Record<string, number> = {};
  const to: Record<string, number> = {};
  for (const [, name, old, now] of text.matchAll(/(\w+)\( (\w+) -> (\w+) \)/g)) {
    const field = fields[name as keyof typeof fields];
    if (field === undefined || old === undefined || now === undefined) return undefined;
    from[field[0]] = numberOf(field[1], old);
    to[field[0]] = numberOf(field[1], now);
  }
  return Object.keys(to).length === 0 ? undefined : { from, to };
}

/**
 * Minors of a connection in the captures: r0 and r1 have minors 0 and 1, and 2 and 3 as second volumes (capture 44).
 */
export const devicesOf = (who: string): readonly string[] =>
  who === "r0" ? ["drbd0", "drbd2"] : who === "r1" ? ["drbd1", "drbd3"] : [who];

/** The device at the other end, in captures of two kernels. */
export const partnerOf = (device: string): string => `drbd${Number(device.slice(4)) ^ 1}`;

/**
 * State of every device while reading on. A capture may begin in the middle: what is unknown is taken from the line.
 */
export class States {
  readonly #states = new Map<string, State>();
  readonly #known = new Map<string, Set<string>>();

  of(device: string): State {
    return this.#states.get(device) ?? initialState;
  }

  /** True if the fields of the change were all known before. */
  knows(device: string, change: LoggedChange): boolean {
    return Object.keys(change.from).every((field) => this.#known.get(device)?.has(field) === true);
  }

  knowsAll(device: string): boolean {
    return ["role", "peer", "conn", "disk", "pdsk"].every((field) => this.#known.get(device)?.has(field) === true);
  }

  /** A resource is created: everything about its devices is known. */
  created(who: string): void {
    for (const device of devicesOf(who)) {
      this.#states.set(device, initialState);
      this.#known.set(device, new Set(["role", "peer", "conn", "disk", "pdsk"]));
    }
  }

  /** Takes what the line says of before; false if that contradicts what was known. */
  believe(device: string, change: LoggedChange): boolean {
    const known = this.#known.get(device) ?? new Set<string>();
    this.#known.set(device, known);
    const state = this.of(device);
    const contradiction = Object.entries(change.from).some(
      ([field, value]) => known.has(field) && state[field as keyof State] !== value,
    );
    for (const field of Object.keys(change.from)) known.add(field);
    this.#states.set(device, { ...state, ...change.from });
    return !contradiction;
  }

  apply(device: string, to: Partial<State>): void {
    this.#states.set(device, { ...this.of(device), ...to });
  }
}

/** `C:B:H1:H2` in a line. */
export function loggedUuids(text: string): UuidSet | undefined {
  const parts = /([0-9A-F]{16}):([0-9A-F]{16}):([0-9A-F]{16}):([0-9A-F]{16})/.exec(text);
  if (parts === null) return undefined;
  const [current, bitmap, history1, history2] = parts.slice(1).map((hex) => BigInt(`0x${hex}`));
  if (current === undefined || bitmap === undefined || history1 === undefined || history2 === undefined)
    return undefined;
  return { current, bitmap, history1, history2 };
}

export const isPrimary = (state: State): boolean => state.role === Role.Primary;
export const isConnected = (state: State): boolean => state.conn >= Conn.Connected;
