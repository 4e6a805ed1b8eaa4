/** The counters of `/proc/drbd` in its order: KiB for ns, nr, dw, dr and oos; numbers of requests for the others. */
const counterNames = ["ns", "nr", "dw", "dr", "al", "bm", "lo", "pe", "ua", "ap", "ep", "oos"] as const;

export type DrbdCounters = Readonly<Record<(typeof counterNames)[number], number>>;

/** One minor of `/proc/drbd`; words as the kernel prints them, this node's before the peer's. */
export interface DrbdMinor extends DrbdCounters {
  readonly minor: number;
  readonly cs: string;
  readonly ro: string;
  readonly ds: string;
  /** A, B or C; a blank while no connection is configured. */
  readonly protocol: string;
  /** `r-----` when nothing is suspended. */
  readonly ioFlags: string;
  /** How the write order is kept: `f` flush, `d` drain, `n` none, `b` barrier. */
  readonly wo: string;
  /**
   * Percent as printed, undefined unless a resync or a verify runs. The kernel reckons it in whole 4 MiB of bits: a small
   * device is at 100 from the start. `oos` is exact.
   */
  readonly done: number | undefined;
}

/** Minors without a configured resource (`cs:Unconfigured`) are left out. Throws on a line it does not understand. */
export function parseProcDrbd(text: string): ReadonlyMap<number, DrbdMinor> {
  const minors = new Map<number, DrbdMinor>();
  // Each minor's line begins a piece that reaches up to the next one's.
  for (const whole of text.split(/^(?= *\d+: cs:)/m)) {
    const found = /^ *(\d+): cs:(\w*)([^\n]*)([\s\S]*)$/.exec(whole);
    if (found === null) continue;
    const [, number, cs = "", head = "", body = ""] = found;
    if (cs === "Unconfigured") continue;
    const words = /^ ro:(\S+) ds:(\S+) (.) (\S+)/.exec(head);
    if (words === null) throw new Error(`not a line of /proc/drbd: ${whole}`);
    const [, ro = "", ds = "", protocol = "", ioFlags = ""] = words;
    const read = (name: string): number => {
      const found = new RegExp(`\\b${name}:(\\d+)`).exec(body)?.[1];
      if (found === undefined) throw new Error(`/proc/drbd has no ${name}: ${whole}`);
      return Number(found);
    };
    const counters = Object.fromEntries(counterNames.map((name) => [name, read(name)])) as DrbdCounters;
    const wo = /\bwo:(\w)/.exec(body)?.[1] ?? "";
    const percent = /(?:sync'ed|verified): *([\d.]+)%/.exec(body)?.[1];
    const done = percent === undefined ? undefined : Number(percent);
    const minor = Number(number);
    minors.set(minor, { minor, cs, ro, ds, protocol, ioFlags, wo, done, ...counters });
  }
  return minors;
}

/** What `drbdsetup-84 get-gi` and `drbdmeta get-gi` print (drbd-84 on `get-gi`): four UUIDs, then flags. */
export interface GenerationIdentifiers {
  /** 16 upper-case hex digits each. */
  readonly current: string;
  readonly bitmap: string;
  readonly history: readonly [string, string];
  readonly consistent: boolean;
  readonly wasUpToDate: boolean;
  readonly primary: boolean;
  readonly connected: boolean;
  readonly fullSync: boolean;
  readonly peerOutdated: boolean;
  readonly crashedPrimary: boolean;
}

export function parseGi(line: string): GenerationIdentifiers {
  const uuid = "([0-9A-F]{16}):";
  const match = new RegExp(`^${uuid.repeat(4)}([01](?::[01]){6})$`).exec(line.trim());
  if (match === null) throw new Error(`not what get-gi prints: ${line}`);
  const [, current = "", bitmap = "", h1 = "", h2 = "", flags = ""] = match;
  const flag = flags.split(":").map((digit) => digit === "1");
  const at = (index: number): boolean => flag[index] === true;
  return {
    ...{ current, bitmap, history: [h1, h2] },
    ...{ consistent: at(0), wasUpToDate: at(1), primary: at(2), connected: at(3) },
    ...{ fullSync: at(4), peerOutdated: at(5), crashedPrimary: at(6) },
  };
}
