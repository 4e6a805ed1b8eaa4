/** Numbers, acknowledgement, repetition, generations, UUIDs and links (heartbeat §5, §7). */
import test from "ava";
import fc from "fast-check";
import { instant, ms } from "../../../../src/core/units.ts";
import {
  acknowledge,
  nothingSent,
  remember,
  repeat,
  unacknowledged,
} from "../../../../src/heartbeat/core/wire/history.ts";
import {
  decimalOf,
  hexOf,
  hexText,
  isViolation,
  type Message,
  stringField,
  textOf,
} from "../../../../src/heartbeat/core/wire/message.ts";
import { decodePacket } from "../../../../src/heartbeat/core/wire/packet.ts";
import {
  askForMissing,
  GAP_PATIENCE,
  giveUp,
  type Incoming,
  MAX_MISSING,
  nothingReceived,
  receive,
} from "../../../../src/heartbeat/core/wire/sequence.ts";
import {
  arrive,
  type Identity,
  type Moment,
  type NodeView,
  nextTick,
  openTransport,
  send,
  type Transport,
  type TransportEffect,
  type TransportStep,
  tick,
} from "../../../../src/heartbeat/core/wire/transport.ts";
import { capturedPackets, contextFor, labKeys } from "../_captures.ts";

const at = (time: number): Moment => ({
  now: instant(time),
  unixSeconds: 1_700_000_000,
  loadavg: "0.10 0.20 0.30 1/120 4711",
});
const identity = (name: string, generation = 100): Identity => ({
  name,
  uuid: new Uint8Array(16).fill(name.charCodeAt(name.length - 1)),
  generation,
  ttl: 3,
});
const open = (name: string, generation = 100, seed = 1): Transport =>
  openTransport(identity(name, generation), ["host01", "host02"], ["192.168.1.50"], ["eth0", "eth1"], seed);
const alive = (): NodeView => ({ answers: true, deadtime: ms(5000) });
const transmitted = (step: TransportStep): readonly Message[] =>
  step.effects.flatMap((effect) => (effect.kind === "transmit" ? [effect.message] : []));
const types = (step: TransportStep): readonly (string | undefined)[] =>
  transmitted(step).map((message) => textOf(message, "t"));
const kinds = (step: TransportStep): readonly string[] => step.effects.map((effect) => effect.kind);
const delivered = (effects: readonly TransportEffect[]): readonly (string | undefined)[] =>
  effects.flatMap((effect) => (effect.kind === "deliver" ? [textOf(effect.message, "n")] : []));
const logs = (step: TransportStep): string =>
  step.effects.flatMap((effect) => (effect.kind === "log" ? [effect.text] : [])).join("\n");

/** A message as the other node would send it. */
const from = (name: string, type: string, seq: number, more: Readonly<Record<string, string>> = {}): Message => [
  stringField("t", type),
  ...Object.entries({ n: String(seq), ...more }).map(([field, value]) => stringField(field, value)),
  stringField("src", name),
  { type: 1, name: "srcuuid", value: identity(name).uuid },
  ...(type.startsWith("NS_") ? [] : [stringField("seq", hexText(seq))]),
  ...("hg" in more ? [] : [stringField("hg", "64")]),
  stringField("ts", "1"),
];

/** Lets the messages arrive one after another on eth0. */
function feed(transport: Transport, ...messages: readonly Message[]): TransportStep {
  const effects: TransportEffect[] = [];
  let next = transport;
  for (const message of messages) {
    const step = arrive(next, "eth0", message, at(1000));
    next = step.transport;
    effects.push(...step.effects);
  }
  return { transport: next, effects };
}

test("§3.4: the envelope stands in 3.0.6's order; NS_ types have neither seq nor ld", (t) => {
  const names = (message: Message | undefined): readonly string[] => (message ?? []).map((field) => field.name);
  const knowing = feed(open("host01"), from("host02", "status", 7)).transport;
  const status = send(knowing, [stringField("t", "status"), stringField("st", "up")], at(0));
  t.deepEqual(names(transmitted(status)[0]), ["t", "st", "src", "srcuuid", "seq", "hg", "ts", "ld", "ttl"]);
  const asked = send(status.transport, [stringField("t", "reqnodes"), stringField("dest", "host02")], at(0));
  t.deepEqual(names(transmitted(asked)[0]), [
    "t",
    "dest",
    "destuuid",
    "src",
    "srcuuid",
    "seq",
    "hg",
    "ts",
    "ld",
    "ttl",
  ]);
  t.deepEqual(
    [1, 2],
    [status, asked].map((step) => hexOf(transmitted(step)[0] ?? [], "seq")),
  );

  // The order of real packets of each kind; the trailing `auth` is added when the packet is written.
  for (const { payload } of capturedPackets("ucast-md5-on.pcap")) {
    const packet = decodePacket(payload, contextFor(labKeys(2)));
    if (isViolation(packet)) return t.fail(packet.violation);
    const type = textOf(packet.message, "t") ?? "";
    if (type !== "reqnodes" && type !== "status") continue;
    const ours = transmitted(type === "status" ? status : asked)[0] ?? [];
    const theirs = names(packet.message).filter((name) => !["dt", "protocol", "auth"].includes(name));
    t.deepEqual(names(ours), theirs, type);
  }
  return undefined;
});

test("§7.1: the first message sets the baseline, the next is delivered, the same again is not", (t) => {
  const step = feed(open("host01"), ...[40, 41, 41, 40, 39].map((seq) => from("host02", "x", seq)));
  t.deepEqual(delivered(step.effects), ["40", "41"]);
  t.deepEqual(step.effects[1], { kind: "restarted", node: "host02", first: true });
});

test("§7.1: a lower generation is a replay; a higher one is a restart and starts the numbers over", (t) => {
  const old = { hg: "63" };
  const young = { hg: "65" };
  const base = feed(open("host01"), from("host02", "x", 40));
  const replay = feed(base.transport, from("host02", "x", 41, old));
  t.deepEqual(delivered(replay.effects), []);
  t.regex(logs(replay), /replay attack.*generation 99, known is 100/);
  const restart = feed(
    base.transport,
    from("host02", "status", 1, young),
    from("host02", "x", 2, young),
    from("host02", "x", 41),
  );
  t.deepEqual(delivered(restart.effects), ["1", "2"]);
  t.true(restart.effects.some((effect) => effect.kind === "restarted" && !effect.first));
  t.regex(logs(restart), /generation 100, known is 101/);
});

test("a replayed packet does not keep a link alive", (t) => {
  const base = feed(open("host01"), from("host02", "x", 40));
  const late = arrive(base.transport, "eth1", from("host02", "x", 41, { hg: "63" }), at(1000));
  t.false(kinds(late).includes("link"));
});

test("§7.1: more than 250 lost messages start the sequence over; 250 are asked for", (t) => {
  const lost = (count: number): Incoming => {
    const first = receive(nothingReceived, { seq: 1, generation: 1, message: [], urgent: true }, instant(0), () => 0);
    const arrival = { seq: count + 2, generation: 1, message: [], urgent: true };
    return receive(first.incoming, arrival, instant(0), () => 0).incoming;
  };
  t.is(lost(MAX_MISSING).missing.length, 250);
  t.is(lost(MAX_MISSING + 1).missing.length, 0);
});

test("§7.3: each missing number is asked for in decimal after 50 to 250 ms and again every 250 ms, until it comes", (t) => {
  let transport = feed(open("host01"), from("host02", "x", 32), from("host02", "x", 36)).transport;
  const asked: { readonly time: number; readonly seq: number | undefined }[] = [];
  for (let time = 1000; time < 1700; time += 1) {
    const step = tick(transport, alive, at(time));
    transport = step.transport;
    for (const message of transmitted(step)) {
      t.is(textOf(message, "t"), "NS_rexmit");
      t.is(textOf(message, "dest"), "host02");
      t.is(textOf(message, "firstseq"), textOf(message, "lastseq"));
      asked.push({ time, seq: decimalOf(message, "firstseq") });
    }
  }
  for (const seq of [33, 34, 35]) {
    const times = asked.filter((request) => request.seq === seq).map((request) => request.time);
    t.true((times[0] ?? 0) >= 1050 && (times[0] ?? 0) <= 1251, String(times));
    t.true(
      times.slice(1).every((time, n) => time - (times[n] ?? 0) === 250),
      String(times),
    );
  }
  const filled = feed(transport, ...[33, 34, 35].map((seq) => from("host02", "x", seq)));
  t.deepEqual(delivered(filled.effects), ["33", "34", "35", "36"]);
  t.deepEqual(types(tick(filled.transport, alive, at(1900))), []);
});

test("§7.3: nobody is asked who is not up", (t) => {
  const { transport } = feed(open("host01"), from("host02", "x", 32), from("host02", "x", 34));
  t.deepEqual(types(tick(transport, () => ({ answers: false, deadtime: ms(5000) }), at(1300))), []);
});

test("§7.3: what cannot be repeated, by NS_nak_rexmit or because nobody answers, holds nothing back any more", (t) => {
  const gap = feed(open("host01"), from("host02", "x", 32), from("host02", "x", 34));
  t.deepEqual(delivered(gap.effects), ["32"]);
  const nak = feed(
    gap.transport,
    from("host02", "NS_nak_rexmit", 0, { dest: "host01", firstseq: "21", info: "too old" }),
  );
  t.deepEqual(delivered(nak.effects), ["34"]);
  const patience = tick(gap.transport, alive, at(1000 + GAP_PATIENCE));
  t.deepEqual(delivered(patience.effects), ["34"]);
  t.regex(logs(patience), /irretrievably lost from host02: messages 33/);
});

test("a status passes a gap, decisions wait for it", (t) => {
  const step = feed(open("host01"), ...[1, 3].map((seq) => from("host02", "x", seq)), from("host02", "status", 4));
  t.deepEqual(delivered(step.effects), ["1", "4"]);
  t.deepEqual(delivered(feed(step.transport, from("host02", "x", 2)).effects), ["2", "3"]);
});

test("§7.1: messages to another node take part in the sequence and are not delivered; the UUID decides before the name", (t) => {
  const uuid = (name: string) => ({ type: 1 as const, name: "destuuid", value: identity(name).uuid });
  const step = feed(
    open("host01"),
    from("host02", "x", 1, { dest: "host03" }),
    [...from("host02", "x", 2, { dest: "host01" }), uuid("host03")],
    [...from("host02", "x", 3, { dest: "host03" }), uuid("host01")],
    from("host02", "x", 4, { dest: "HOST01" }),
    from("host02", "x", 5),
  );
  t.deepEqual(delivered(step.effects), ["3", "4", "5"]);
  t.deepEqual(types(tick(step.transport, alive, at(1400))), []);
});

test("§7.2: one message in ten is acknowledged, to its sender, and none while something earlier is missing", (t) => {
  for (let seed = 1; seed < 40; seed++) {
    const messages = Array.from({ length: 100 }, (_, n) => from("host02", "x", n + 1));
    const acks = transmitted(feed(open("host01", 100, seed), ...messages)).filter(
      (m) => textOf(m, "t") === "NS_ackmsg",
    );
    const numbers = acks.map((message) => hexOf(message, "ackseq") ?? 0);
    t.is(numbers.length, 10);
    t.true(numbers.every((seq) => seq % 10 === (numbers[0] ?? 0) % 10));
    t.true(acks.every((message) => textOf(message, "dest") === "host02" && textOf(message, "seq") === undefined));
    const gap = feed(open("host01", 100, seed), ...messages.filter((_, n) => n !== 1));
    t.true(transmitted(gap).filter((message) => textOf(message, "t") === "NS_ackmsg").length <= 1);
  }
});

test("§7.3: a repeated message has all its original fields; not twice within 240 ms; 50 a request; too old is refused in hex", (t) => {
  let transport = feed(open("host01"), from("host02", "status", 1)).transport;
  const sent: Message[] = [];
  for (let n = 0; n < 600; n++) {
    const step = send(transport, [stringField("t", "x"), stringField("n", String(n))], at(n));
    transport = step.transport;
    sent.push(...transmitted(step));
  }
  const ask = (first: number, last: number, time: number): TransportStep => {
    const request = from("host02", "NS_rexmit", 0, { dest: "host01", firstseq: String(first), lastseq: String(last) });
    const step = arrive(transport, "eth0", request, at(time));
    transport = step.transport;
    return step;
  };
  t.deepEqual(transmitted(ask(300, 301, 1000)), sent.slice(299, 301));
  t.deepEqual(transmitted(ask(300, 302, 1239)), sent.slice(301, 302));
  t.deepEqual(transmitted(ask(300, 300, 1240)), sent.slice(299, 300));
  t.is(transmitted(ask(400, 600, 2000)).length, 50);
  t.deepEqual(transmitted(ask(601, 700, 3000)), []);
  const old = transmitted(ask(99, 100, 3000))[1] ?? [];
  t.deepEqual([textOf(old, "t"), textOf(old, "firstseq"), textOf(old, "dest")], ["NS_nak_rexmit", "64", "host02"]);
  transport = arrive(
    transport,
    "eth0",
    from("host02", "NS_ackmsg", 0, { dest: "host01", ackseq: hexText(500) }),
    at(3000),
  ).transport;
  t.deepEqual(transmitted(ask(499, 501, 4000)), sent.slice(500, 501));
  t.regex(logs(ask(5, 4, 4000)), /expected a decimal range/);
});

test("§7.2: an acknowledgement of what was never sent, or of the life before a restart, does not count", (t) => {
  let history = nothingSent;
  for (let n = 0; n < 10; n++) history = remember(history, [], instant(0));
  t.is(unacknowledged(acknowledge(history, "b", 11), ["b"]), 10);
  t.is(unacknowledged(acknowledge(acknowledge(history, "b", 7), "b", 3), ["b"]), 3);
  t.deepEqual(repeat(acknowledge(history, "b", 7), "b", 5, 8, instant(0)).repeat.length, 1);
  const restarted = feed(
    send(open("host01"), [stringField("t", "x")], at(0)).transport,
    from("host02", "status", 9),
    from("host02", "NS_ackmsg", 0, { dest: "host01", ackseq: "1" }),
    from("host02", "status", 1, { hg: "65" }),
  );
  t.is(restarted.transport.history.acknowledged.size, 0);
  t.is(unacknowledged(restarted.transport.history, ["host02"]), 0);
  const more = send(restarted.transport, [stringField("t", "x")], at(0));
  t.is(unacknowledged(more.transport.history, ["host02"]), 1);
});

test("§7.4: a known name with another UUID is accepted and said; zeros are none; our own name with another UUID is refused", (t) => {
  const as = (uuid: number, seq = uuid): Message =>
    from("host02", "x", seq).map((field) =>
      field.type === 1 ? { ...field, value: new Uint8Array(16).fill(uuid) } : field,
    );
  const changed = feed(open("host01"), as(1), as(2));
  t.regex(logs(changed), /host02 changed its uuid/);
  t.deepEqual(delivered(changed.effects), ["1", "2"]);
  t.is(logs(feed(open("host01"), as(0, 1))), "");
  const own = from("host01", "x", 1).map((field) =>
    field.type === 1 ? { ...field, value: new Uint8Array(16).fill(9) } : field,
  );
  t.regex(logs(feed(open("host01"), own)), /another node calls itself host01/);
  t.is(logs(feed(open("host01"), from("host01", "x", 1))), "");
  t.regex(logs(feed(open("host01"), from("host03", "x", 1))), /unknown node host03/);
});

test("§5: a message without src, ts or t, or without seq when it needs one, is dropped and named", (t) => {
  const whole = from("host02", "x", 1);
  for (const [name, pattern] of [
    ["t", /t: the field/],
    ["src", /src: the field/],
    ["ts", /ts: expected/],
    ["seq", /seq: expected/],
    ["hg", /hg: expected/],
  ] as const) {
    const step = feed(
      open("host01"),
      whole.filter((field) => field.name !== name),
    );
    t.deepEqual(delivered(step.effects), []);
    t.regex(logs(step), pattern);
  }
});

test("§8.2: a link is up when it hears the node and dead after the deadtime; duplicates keep it alive", (t) => {
  const first = arrive(open("host01"), "eth0", from("host02", "x", 1), at(0));
  const second = arrive(first.transport, "eth1", from("host02", "x", 1), at(4000));
  const links = (step: TransportStep) =>
    step.effects.flatMap((e) => (e.kind === "link" ? [`${e.link} ${e.up ? "up" : "dead"}`] : []));
  t.deepEqual([links(first), links(second)], [["eth0 up"], ["eth1 up"]]);
  t.is(nextTick(second.transport, alive), instant(5000));
  t.deepEqual(links(tick(second.transport, alive, at(4999))), []);
  const dead = tick(second.transport, alive, at(5000));
  t.deepEqual(links(dead), ["eth0 dead"]);
  t.deepEqual(links(arrive(dead.transport, "eth0", from("host02", "x", 1), at(6000))), ["eth0 up"]);
});

test("§16.1: what a ping node sends back is delivered as it is", (t) => {
  const echo = [
    stringField("t", "NS_st"),
    stringField("n", "echo"),
    stringField("src", "192.168.1.50"),
    stringField("ts", "1"),
  ];
  t.deepEqual(delivered(feed(open("host01"), echo, echo).effects), ["echo", "echo"]);
});

/** Two nodes over links that lose, double, delay and reorder: what is sent arrives, once, in order. */
test("§7: over links that lose up to 20 %, double and reorder, every message is delivered exactly once and in order", (t) => {
  const scenario = fc.record({
    seed: fc.nat(),
    loss: fc.integer({ min: 0, max: 20 }),
    links: fc.constantFrom(["a"], ["a", "b"]),
  });
  fc.assert(
    fc.property(scenario, ({ seed, loss, links }) => {
      let state = seed >>> 0;
      const chance = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
      const nodes = new Map(["host01", "host02"].map((name, n) => [name, open(name, 100, seed + n)]));
      const flying: { readonly due: number; readonly to: string; readonly link: string; readonly message: Message }[] =
        [];
      const got: string[] = [];
      let lost = 0;
      const apply = (name: string, step: TransportStep, time: number): void => {
        nodes.set(name, step.transport);
        got.push(...delivered(name === "host02" ? step.effects : []).filter((n) => n !== undefined));
        const to = name === "host01" ? "host02" : "host01";
        for (const message of transmitted(step)) {
          for (const link of links) {
            if (chance() * 100 < loss) lost++;
            else flying.push({ due: time + Math.floor(chance() * 60), to, link, message });
            if (chance() < 0.1) flying.push({ due: time + Math.floor(chance() * 60), to, link, message });
          }
        }
      };
      const node = (name: string): Transport => nodes.get(name) ?? open(name);
      // A first message that arrives sets the baseline.
      nodes.set(
        "host02",
        arrive(node("host02"), "a", transmitted(send(node("host01"), [stringField("t", "x")], at(0)))[0] ?? [], at(0))
          .transport,
      );
      nodes.set("host01", send(node("host01"), [stringField("t", "x")], at(0)).transport);
      for (let time = 0; time < 6000; time += 10) {
        if (time < 2000 && time % 50 === 0)
          apply(
            "host01",
            send(node("host01"), [stringField("t", "x"), stringField("n", String(time / 50))], at(time)),
            time,
          );
        // Heartbeats go on: without a later message nobody would know that the last ones were lost.
        if (time % 100 === 0) apply("host01", send(node("host01"), [stringField("t", "status")], at(time)), time);
        for (const name of nodes.keys()) apply(name, tick(node(name), alive, at(time)), time);
        const due = flying.filter((packet) => packet.due <= time);
        for (const packet of due) {
          flying.splice(flying.indexOf(packet), 1);
          apply(packet.to, arrive(node(packet.to), packet.link, packet.message, at(time)), time);
        }
      }
      t.deepEqual(
        got,
        Array.from({ length: 40 }, (_, n) => String(n)),
        `seed ${seed}, loss ${loss}`,
      );
      if (loss > 10) t.true(lost > 0);
    }),
    { numRuns: 25 },
  );
});

test("giving up nothing changes nothing", (t) => {
  t.deepEqual(giveUp(nothingReceived, () => true).incoming, nothingReceived);
  t.deepEqual(askForMissing(nothingReceived, instant(0), true).ask, []);
});
