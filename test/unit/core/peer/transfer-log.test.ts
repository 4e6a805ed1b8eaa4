import test from "ava";
import fc from "fast-check";
import { TransferLog } from "../../../../src/core/peer/transfer-log.ts";
import { requestKinds as kind, Requests } from "../../../../src/core/volume/requests.ts";

function setUp() {
  const requests = new Requests(8 * 1024 * 1024);
  const stable: number[] = [];
  const lost: number[] = [];
  const log = new TransferLog(requests, { onStable: (id) => stable.push(id), onLost: (id) => lost.push(id) });
  const write = (): number => {
    const id = requests.acquire("application", kind.appWrite, 0);
    log.add(id);
    return id;
  };
  return { log, write, stable, lost, requests };
}

test("an epoch is retired by the ack with its number and count, oldest first (drbd-84 §8.3)", (t) => {
  const { log, write, stable } = setUp();
  const ids = [write(), write()];
  log.close(0);
  t.is(log.barrier(), 0, "the first number is 0");
  const third = write();
  log.close(0);
  t.is(log.barrier(), 1);
  t.is(log.unacknowledged, 2);
  t.is(log.acknowledge(0, 2), undefined);
  t.deepEqual(stable, ids);
  t.is(log.acknowledge(1, 1), undefined);
  t.deepEqual(stable, [...ids, third]);
  t.is(log.unacknowledged, 0);
});

test("a wrong number, a wrong count, or an ack for a barrier that was not sent is a violation and retires nothing (drbd-84 §8.3)", (t) => {
  const { log, write, stable } = setUp();
  t.regex(log.acknowledge(0, 0) ?? "", /no epoch/);
  write();
  t.regex(log.acknowledge(0, 1) ?? "", /no epoch/, "still open");
  log.close(0);
  t.regex(log.acknowledge(0, 1) ?? "", /no epoch/, "closed, but its barrier has not been sent");
  log.barrier();
  t.regex(log.acknowledge(1, 1) ?? "", /expected 0/);
  t.regex(log.acknowledge(0, 2) ?? "", /expected 1/);
  t.deepEqual(stable, []);
  t.is(log.acknowledge(0, 1), undefined);
});

test("empty epochs are not closed (drbd-84 §8.3)", (t) => {
  const { log, write } = setUp();
  log.close(0);
  t.false(log.barrierDue);
  t.is(log.closedCount, 0);
  write();
  log.close(0);
  t.true(log.barrierDue);
  t.is(log.closedCount, 1);
});

test("a write that is sent as several packets counts as many (drbd-84 §8.3: number of P_DATA)", (t) => {
  const { log, write } = setUp();
  write();
  log.addParts(31);
  log.close(0);
  log.barrier();
  t.is(log.acknowledge(0, 32), undefined);
});

test("when the connection goes every write in the log is lost, oldest first, and the number runs on (drbd-84 §8.1 step 7, §8.3)", (t) => {
  const { log, write, lost } = setUp();
  const ids = [write(), write()];
  log.close(0);
  log.barrier();
  ids.push(write());
  log.close(0);
  ids.push(write());
  const waitFor = log.closedCount + 1;
  t.false(log.isStable(waitFor - 1));
  log.lose(0);
  t.deepEqual(lost, ids);
  t.true(log.isStable(waitFor));
  t.false(log.barrierDue);
  write();
  log.close(0);
  t.is(log.barrier(), 3, "numbers 0, 1 and 2 are gone");
});

test("the oldest epoch whose barrier was sent tells since when the peer is silent (drbd-84 §1.4)", (t) => {
  const { log, write } = setUp();
  write();
  log.close(100);
  t.is(log.oldestSent(), Number.POSITIVE_INFINITY, "not sent");
  log.barrier();
  write();
  log.close(200);
  log.barrier();
  t.is(log.oldestSent(), 100);
  log.acknowledge(0, 1);
  t.is(log.oldestSent(), 200);
});

test("through thousands of epochs and reconnects every write is either stable or lost, once", (t) => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("write", "close", "ack", "lose"), { maxLength: 400 }), (steps) => {
      const { log, write, stable, lost, requests } = setUp();
      const epochs: { number: number; ids: number[] }[] = [];
      let open: number[] = [];
      const written: number[] = [];
      const close = () => {
        log.close(0);
        if (open.length > 0) epochs.push({ number: log.barrier(), ids: open });
        open = [];
      };
      const give = (ids: readonly number[]) => {
        for (const id of ids) requests.free(id);
      };
      for (const step of steps) {
        if (step === "write") {
          const id = write();
          open.push(id);
          written.push(id);
        } else if (step === "close") close();
        else if (step === "ack") {
          const epoch = epochs.shift();
          if (epoch === undefined) continue;
          t.is(log.acknowledge(epoch.number, epoch.ids.length), undefined);
          t.deepEqual(stable.splice(0), epoch.ids);
          give(epoch.ids);
        } else {
          log.lose(0);
          const all = [...epochs.splice(0).flatMap(({ ids }) => ids), ...open];
          open = [];
          t.deepEqual(lost.splice(0), all);
          give(all);
        }
        t.is(log.openWrites, open.length);
        t.is(log.unacknowledged, epochs.length);
      }
    }),
    { numRuns: 20 },
  );
});
