import test from "ava";
import { KeepAlive } from "../../../../src/core/peer/keep-alive.ts";
import { instant, ms, NEVER } from "../../../../src/core/units.ts";

/** ping-int 10 s, ping-timeout 0.5 s. */
function setUp() {
  let pings = 0;
  let silences = 0;
  const owner = { sendPing: () => pings++, onSilence: () => silences++ };
  const keepAlive = new KeepAlive(owner, ms(10_000), ms(500), instant(0));
  /** Timers until the moment. */
  const until = (moment: number): void => {
    for (let n = 0; n < 100 && keepAlive.deadline <= moment; n++) keepAlive.onTimer(keepAlive.deadline);
  };
  return { keepAlive, until, pings: () => pings, silences: () => silences };
}

test("an idle node asks after ping-int and hangs up ping-timeout later (drbd-84 §1.4)", (t) => {
  const { until, pings, silences } = setUp();
  until(9999);
  t.is(pings(), 0);
  until(10_000);
  t.is(pings(), 1);
  until(10_499);
  t.is(silences(), 0);
  until(10_600);
  t.is(silences(), 1);
});

test("who has heard something does not ask (drbd-84 §1.4)", (t) => {
  const { keepAlive, until, pings } = setUp();
  keepAlive.heard(instant(9000));
  until(18_999);
  t.is(pings(), 0);
  until(19_000);
  t.is(pings(), 1);
});

test("anything heard while a ping is out counts for the answer (drbd-84 §1.4)", (t) => {
  const { keepAlive, until, silences } = setUp();
  until(10_000);
  for (let now = 10_400; now < 20_000; now += 400) {
    keepAlive.heard(instant(now));
    until(now + 399);
    t.is(silences(), 0);
  }
  until(21_000);
  t.is(silences(), 1);
});

test("P_PING_ACK re-arms the idle timer (drbd-84 §1.4)", (t) => {
  const { keepAlive, until, pings, silences } = setUp();
  until(10_000);
  keepAlive.onPingAck(instant(10_100));
  until(20_099);
  t.is(pings(), 1);
  until(20_100);
  t.is(pings(), 2);
  t.is(silences(), 0);
});

test("who asks for a sign of life is told by the ack of that very ping", (t) => {
  const { keepAlive, until } = setUp();
  const told: string[] = [];
  until(10_000);
  keepAlive.ping(instant(10_000), () => told.push("finish"));
  keepAlive.onPingAck(instant(10_010));
  t.deepEqual(told, [], "that answered the idle timer's ping");
  keepAlive.onPingAck(instant(10_020));
  t.deepEqual(told, ["finish"]);
});

test("acks that nobody asked for answer no later ping", (t) => {
  const { keepAlive } = setUp();
  let told = 0;
  for (let n = 0; n < 5; n++) keepAlive.onPingAck(instant(1));
  keepAlive.ping(instant(2), () => told++);
  t.is(told, 0);
  keepAlive.onPingAck(instant(3));
  t.is(told, 1);
});

test("a node that was stopped reads what has come meanwhile before it judges", (t) => {
  const { keepAlive, silences } = setUp();
  keepAlive.onTimer(instant(10_000));
  keepAlive.onTimer(instant(60_000));
  t.is(silences(), 0, "the ack may lie in the socket");
  keepAlive.onPingAck(instant(60_001));
  keepAlive.onTimer(instant(60_050));
  t.is(silences(), 0);
});

test("after stop nothing is due", (t) => {
  const { keepAlive } = setUp();
  keepAlive.stop();
  t.is(keepAlive.deadline, NEVER);
});
