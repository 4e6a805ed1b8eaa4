import test from "ava";
import { requestKinds as kind, NO_SLOT, RequestList, Requests } from "../../../../src/core/volume/requests.ts";

const SLAB = 8 * 1024 * 1024;

test("classes do not take from each other: applications at their end leave the peer its slots and memory (architecture: slots and memory)", (t) => {
  const requests = new Requests(SLAB);
  let taken = 0;
  while (requests.acquire("application", kind.appWrite, 4096) !== NO_SLOT) taken++;
  t.is(taken, SLAB / 2 / 4096);
  t.is(requests.used("application"), taken);
  for (const name of ["peer", "resync", "control"] as const) {
    t.not(requests.acquire(name, kind.peerWrite, 1024 * 1024), NO_SLOT);
  }
});

test("a slot has memory of its class's part of the slab; no two parts overlap", (t) => {
  const requests = new Requests(SLAB);
  const at = (["application", "peer", "resync", "control"] as const).map((name) => {
    const id = requests.acquire(name, kind.appWrite, 1);
    return requests.memory[id] ?? -1;
  });
  t.deepEqual(at, [0, SLAB / 2, (SLAB * 3) / 4, (SLAB * 7) / 8]);
});

test("every reuse of a slot has another generation: a late ack cannot meet another request (drbd-84 §2.4, block_id)", (t) => {
  const requests = new Requests(SLAB);
  const first = requests.acquire("application", kind.appWrite, 0);
  const generation = requests.generation[first];
  requests.set(first, -1);
  requests.free(first);
  const second = requests.acquire("application", kind.appRead, 0);
  t.is(second, first, "most recently freed first");
  t.not(requests.generation[second], generation);
  t.is(requests.flags[second], 0);
});

test("without memory no slot is taken", (t) => {
  const requests = new Requests(SLAB);
  t.is(requests.acquire("resync", kind.resyncRead, 2 * 1024 * 1024), NO_SLOT);
  t.is(requests.used("resync"), 0);
});

test("freeing twice is our bug and is said so; memory may go before the slot", (t) => {
  const requests = new Requests(SLAB);
  const id = requests.acquire("peer", kind.peerWrite, 4096);
  requests.freeMemory(id);
  requests.freeMemory(id);
  t.is(requests.memory[id], -1);
  requests.free(id);
  t.throws(() => requests.free(id), { message: /freed twice/ });
});

test("who found no control slot is called once, in order, when one is given back", (t) => {
  const requests = new Requests(SLAB);
  const ids: number[] = [];
  for (let id = requests.acquire("control", kind.metadata, 0); id !== NO_SLOT; ) {
    ids.push(id);
    id = requests.acquire("control", kind.metadata, 0);
  }
  const called: string[] = [];
  requests.whenControlRoom(() => {
    called.push("first");
    t.not(requests.acquire("control", kind.metadata, 0), NO_SLOT);
  });
  requests.whenControlRoom(() => called.push("second"));
  requests.free(ids[0] ?? NO_SLOT);
  t.deepEqual(called, ["first"], "the second has no room yet");
  requests.free(ids[1] ?? NO_SLOT);
  t.deepEqual(called, ["first", "second"]);
  requests.free(ids[2] ?? NO_SLOT);
  t.deepEqual(called, ["first", "second"]);
});

test("a list is first in, first out, and a slot may stand in several", (t) => {
  const requests = new Requests(SLAB);
  const [a, b] = [new RequestList(requests), new RequestList(requests)];
  for (const id of [5, 3, 9]) a.push(id);
  b.push(3);
  t.is(a.count, 3);
  t.deepEqual([a.shift(), a.shift()], [5, 3]);
  t.is(b.head, 3);
  a.push(5);
  t.deepEqual([a.shift(), a.shift(), a.shift()], [9, 5, NO_SLOT]);
  t.is(a.count, 0);
});
