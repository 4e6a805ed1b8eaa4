/** What real kernels logged of states, UUIDs and decisions is reproduced (captures of DRBD 8.4.11). */
import test from "ava";
import { changeState } from "../../../../src/core/state/change.ts";
import { compareUuids } from "../../../../src/core/state/compare.ts";
import { defaultContext } from "../../../../src/core/state/context.ts";
import { decideSync, type SyncPolicies } from "../../../../src/core/state/decide.ts";
import { sanitize } from "../../../../src/core/state/sanitize.ts";
import { Conn, changeText, DiskState, Role, type State } from "../../../../src/core/state/state.ts";
import * as uuids from "../../../../src/core/state/uuids.ts";
import { captures, devicesOf, isPrimary, type Line, loggedChange, loggedUuids, partnerOf, States } from "./_kmsg.ts";

const context = { ...defaultContext, twoPrimaries: true, agreedVersion: 101, verifyAlg: true };

const isCreation = (line: Line): boolean => line.text.startsWith("Starting worker thread");
/** Only capture 44 has second volumes: elsewhere their minors have no disk and report nothing. */
const isAbsent = (states: States, who: string, device: string): boolean =>
  who.startsWith("r") && device > "drbd1" && states.of(device).disk === DiskState.Diskless;

test("§4.6, §4.7: every logged change is a legal transition and implies nothing that the kernel did not log", (t) => {
  let seen = 0;
  for (const { lines } of captures) {
    const states = new States();
    for (const line of lines) {
      if (isCreation(line)) states.created(line.who);
      const change = loggedChange(line.text);
      if (change === undefined) continue;
      for (const device of devicesOf(line.who)) {
        if (isAbsent(states, line.who, device)) continue;
        t.true(states.believe(device, change), `${line.file}:${line.number} contradicts what was logged before`);
        const old = states.of(device);
        if (states.knowsAll(device)) {
          const negotiating = { disk: DiskState.Inconsistent, pdsk: DiskState.DUnknown, exposed: true };
          const result = changeState(old, change.to, "hard", { ...context, negotiating });
          if (!("state" in result)) t.fail(`${line.file}:${line.number} ${line.text} ${JSON.stringify(result)}`);
          else t.is(changeText(old, result.state), line.text, `${line.file}:${line.number} ${changeText(old, old)}`);
          seen++;
        }
        states.apply(device, change.to);
      }
    }
  }
  t.true(seen > 1000, `${seen} changes`);
});

/**
 * Causes from which the rest of a logged line must follow by itself; other changes are stated in full by the kernel
 * too.
 */
const consequences: readonly (readonly [string, (old: State, to: Partial<State>) => boolean])[] = [
  ["connection lost", (_, to) => to.conn !== undefined && to.conn < Conn.WFReportParams],
  ["resync starts", (_, to) => to.conn === Conn.SyncSource || to.conn === Conn.SyncTarget],
  ["resync wanted", (_, to) => to.conn === Conn.StartingSyncS || to.conn === Conn.StartingSyncT],
  ["Target waits", (_, to) => to.conn === Conn.WFSyncUUID],
  ["Ahead, Behind", (_, to) => to.conn === Conn.Ahead || to.conn === Conn.Behind],
];

for (const [name, applies] of consequences)
  test(`§4.7: the connection state alone implies the rest: ${name}`, (t) => {
    let seen = 0;
    for (const { lines } of captures) {
      const states = new States();
      for (const line of lines) {
        if (isCreation(line)) states.created(line.who);
        const change = loggedChange(line.text);
        if (change === undefined) continue;
        for (const device of devicesOf(line.who)) {
          states.believe(device, change);
          const old = states.of(device);
          const paused = change.to.userIsp !== undefined || change.to.peerIsp !== undefined;
          if (states.knowsAll(device) && !isAbsent(states, line.who, device) && !paused && applies(old, change.to)) {
            const conn = change.to.conn ?? old.conn;
            t.is(
              changeText(old, sanitize(old, { ...old, conn }, context).state),
              line.text,
              `${line.file}:${line.number}`,
            );
            seen++;
          }
          states.apply(device, change.to);
        }
      }
    }
    t.true(seen > 0);
  });

interface Handshake {
  readonly at: string;
  readonly device: string;
  readonly self: uuids.UuidSet;
  readonly peer: uuids.UuidSet;
  readonly bits: number;
  readonly peerBits: number;
  readonly peerFlags: number;
  readonly result: number;
  readonly rule: number;
  readonly state: State;
  readonly partner: State | undefined;
  /** Both states are wholly known: the capture does not begin in the middle. */
  readonly known: boolean;
  /** What the device logged next, up to its change of state or the end of the connection. */
  readonly next: readonly string[];
}

function handshakes(): Handshake[] {
  const found: Handshake[] = [];
  for (const { lines } of captures) {
    const states = new States();
    const beforeHandshake = new Map<string, State>();
    const last = new Map<string, string>();
    lines.forEach((line, index) => {
      if (isCreation(line)) states.created(line.who);
      const remember = (word: string) => line.text.startsWith(`${word} `) && last.set(`${line.who} ${word}`, line.text);
      remember("self");
      remember("peer");
      const verdict = /^uuid_compare\(\)=(-?\d+) by rule (\d+)$/.exec(line.text);
      const self = last.get(`${line.who} self`);
      const peer = last.get(`${line.who} peer`);
      if (verdict !== null && self !== undefined && peer !== undefined) {
        const state = states.of(line.who);
        const partner = partnerOf(line.who);
        const selfSet = loggedUuids(self);
        const peerSet = loggedUuids(peer);
        if (selfSet === undefined || peerSet === undefined) throw new Error(`${line.file}:${line.number}`);
        const next: string[] = [];
        for (const later of lines.slice(index + 1)) {
          if (later.who !== line.who && !devicesOf(later.who).includes(line.who)) continue;
          next.push(later.text);
          if (loggedChange(later.text)?.to.conn !== undefined) break;
        }
        found.push({
          at: `${line.file}:${line.number}`,
          device: line.who,
          self: selfSet,
          peer: peerSet,
          bits: Number(/bits:(\d+)/.exec(self)?.[1]),
          peerBits: Number(/bits:(\d+)/.exec(peer)?.[1]),
          peerFlags: Number.parseInt(/flags:([0-9A-F]+)/.exec(peer)?.[1] ?? "", 16),
          result: Number(verdict[1]),
          rule: Number(verdict[2]),
          state,
          partner: state.conn < Conn.Connected ? beforeHandshake.get(partner) : states.of(partner),
          known: states.knowsAll(line.who) && states.knowsAll(partner),
          next,
        });
      }
      const change = loggedChange(line.text);
      if (change === undefined) return;
      for (const device of devicesOf(line.who)) {
        states.believe(device, change);
        if (change.to.conn === Conn.WFReportParams) beforeHandshake.set(device, states.of(device));
        states.apply(device, change.to);
      }
    });
  }
  return found;
}

const all = handshakes();
const roleOf = (state: State | undefined): number =>
  state !== undefined && isPrimary(state) ? Role.Primary : Role.Secondary;

const inputOf = (h: Handshake) => ({
  self: h.self,
  peer: h.peer,
  crashedPrimary: false,
  peerCrashedPrimary: (h.peerFlags & uuids.UuidFlag.crashedPrimary) !== 0,
  role: roleOf(h.state),
  peerRole: roleOf(h.partner),
  resolveConflicts: false,
  agreedVersion: 101,
  wsame: true,
});

test("§5.4: every logged uuid_compare is reproduced, result and rule", (t) => {
  t.is(all.length, 159);
  for (const h of all) {
    const { result, rule } = compareUuids(inputOf(h));
    t.deepEqual({ result, rule }, { result: h.result, rule: h.rule }, h.at);
  }
});

test("§5.4: the mirror image of every logged uuid_compare gives the mirrored result", (t) => {
  for (const h of all) {
    const i = inputOf(h);
    const mirrored = compareUuids({ ...i, self: i.peer, peer: i.self, role: i.peerRole, peerRole: i.role });
    t.is(mirrored.result, Math.abs(h.result) === 100 ? h.result : 0 - h.result, h.at);
  }
});

const policies = (file: string): SyncPolicies => ({
  after0p: file.startsWith("53-") ? "discard-least-changes" : "disconnect",
  after1p: "disconnect",
  after2p: "disconnect",
  alwaysAsbp: false,
  rrConflict: "disconnect",
});

const worthComparing = (text: string): boolean =>
  /^(Becoming sync|Split-Brain|Writing the whole bitmap, full sync|No resync, but|I shall)/.test(text);

test("§5.5: two kernels' handshakes end as logged: connection state, full sync, handlers and words", (t) => {
  let seen = 0;
  for (const h of all) {
    if (h.partner === undefined || !h.known || h.at.startsWith("peer-")) continue;
    const negotiated = (state: State, flags: number): number =>
      state.disk !== DiskState.Negotiating
        ? state.disk
        : flags & uuids.UuidFlag.inconsistent
          ? DiskState.Inconsistent
          : DiskState.UpToDate;
    const becomesInconsistent = h.next.includes("Becoming sync target due to disk states.") ? 4 : 0;
    const decision = decideSync({
      ...inputOf(h),
      policies: policies(h.at),
      disk: negotiated(h.state, becomesInconsistent),
      peerDisk: negotiated(h.partner, h.peerFlags),
      sentBits: h.bits,
      bits: h.bits,
      peerBits: h.peerBits,
      peerFlags: h.peerFlags,
      discardMyData: h.at.startsWith("51-") && (h.peerFlags & uuids.UuidFlag.discardMyData) === 0,
      dryRun: false,
      mayDemote: false,
    });
    const conn = h.next.map((text) => loggedChange(text)?.to.conn).find((value) => value !== undefined);
    t.is(decision.kind === "go" ? decision.conn : Conn.Disconnecting, conn ?? h.state.conn, h.at);
    t.deepEqual(
      decision.log.map((line) => line.text).filter(worthComparing),
      h.next.filter(worthComparing).slice(0, 3),
      h.at,
    );
    const called = h.next.flatMap((text) => /helper command: \S+ (\S*split-brain) minor-\d+$/.exec(text)?.[1] ?? []);
    t.deepEqual([...decision.handlers], called, h.at);
    seen++;
  }
  t.true(seen > 120, `${seen} handshakes`);
});

test("§5.2: every logged set of UUIDs follows from the one before by the event logged with it", (t) => {
  const counts = new Map<string, number>();
  for (const { lines } of captures) {
    const sets = new Map<string, uuids.UuidSet>();
    // A promotion sets bit 0 only after the new-current that may come with it.
    const promoting = new Set<string>();
    const peers = new Map<string, uuids.UuidSet>();
    const states = new States();
    for (const line of lines) {
      const at = `${line.file}:${line.number} ${line.text}`;
      if (!/^(new current UUID|Forced to consider)/.test(line.text)) {
        for (const device of promoting) {
          const set = sets.get(device);
          if (set !== undefined) sets.set(device, uuids.setPrimaryBit(set, true));
        }
        promoting.clear();
      }
      if (isCreation(line)) states.created(line.who);
      const now = loggedUuids(line.text);
      const change = loggedChange(line.text);
      if (change !== undefined)
        for (const device of devicesOf(line.who)) {
          states.believe(device, change);
          states.apply(device, change.to);
          const set = sets.get(device);
          if (change.to.role === Role.Primary) promoting.add(device);
          if (change.to.role === Role.Secondary && set !== undefined) sets.set(device, uuids.setPrimaryBit(set, false));
        }
      if (now === undefined) continue;
      const set = sets.get(line.who);
      const primary = isPrimary(states.of(line.who));
      if (line.text.startsWith("peer ")) peers.set(line.who, now);
      // P_UUIDS with flag 8 still shows the sender's Bitmap, 4 (drbd-84 §2.4); after a resync both sets are equal
      // (§5.2).
      if (line.text.startsWith("receiver updated UUIDs to")) peers.set(line.who, { ...now, bitmap: 4n });
      const event = /^(.*?) [0-9A-F]{16}:/.exec(line.text)?.[1] ?? "";
      const peer = peers.get(line.who);
      const expected = set && eventOf(event, set, now, peer, primary);
      if (event === "self" && set !== undefined) {
        t.deepEqual(now, set, at);
      } else if (expected !== undefined && states.knowsAll(line.who)) {
        t.deepEqual(expected, now, at);
        counts.set(event, (counts.get(event) ?? 0) + 1);
      }
      if (event === "updated UUIDs") peers.set(line.who, now);
      // Logged as found on disk; the own role decides on bit 0 afterwards (drbd-84 §9.4).
      const kept = event === "attached to UUIDs" ? uuids.setPrimaryBit(now, primary) : now;
      if (event !== "peer") sets.set(line.who, kept);
    }
  }
  for (const event of ["new current UUID", "updated sync UUID", "updated sync uuid", "updated UUIDs"])
    t.true((counts.get(event) ?? 0) >= 15, `${event}: ${counts.get(event)}`);
});

/** The set after a logged event; random values are taken from the log. */
function eventOf(
  event: string,
  set: uuids.UuidSet,
  now: uuids.UuidSet,
  peer: uuids.UuidSet | undefined,
  primary: boolean,
): uuids.UuidSet | undefined {
  switch (event) {
    case "new current UUID":
      return uuids.newCurrent(set, now.current, primary);
    case "cleared bitmap UUID":
      return uuids.clearBitmapUuid(set);
    case "updated sync UUID":
      return uuids.resyncStartSource(set, now.bitmap).set;
    case "updated sync uuid":
      return uuids.resyncStartTarget(set, now.current, primary);
    case "updated UUIDs": {
      // The Source keeps its Current, the Target takes the Source's.
      const isTarget = set.bitmap === 0n && set.current !== now.current;
      return isTarget && peer !== undefined
        ? uuids.resyncFinishedTarget(set, peer, primary)
        : uuids.resyncFinishedSource(set);
    }
    default:
      return undefined;
  }
}
