import test from "ava";
import { METADATA_BLOCK, MetadataIo } from "../../../../src/core/volume/metadata-io.ts";
import { requestKinds as kind, NO_SLOT, Requests } from "../../../../src/core/volume/requests.ts";
import { TestDisk } from "../resource/_ports.ts";

const EIO = 5;

function setUp() {
  const buffer = new ArrayBuffer(8 * 1024 * 1024);
  const memory = { bytes: new Uint8Array(buffer), view: new DataView(buffer) };
  const queue: (() => void)[] = [];
  const disk = new TestDisk(64 * 1024 * 1024, memory, (run) => queue.push(run));
  disk.closed = false;
  disk.holds = () => true;
  const requests = new Requests(8 * 1024 * 1024);
  const io = new MetadataIo(requests, memory, disk, 0);
  disk.onDone = (tag, result) => io.onDisk(tag, result);
  const log: string[] = [];
  const write = (at: number, name: string): void =>
    io.write(
      at,
      true,
      (bytes, offset) => {
        log.push(`fill ${name}`);
        bytes.fill(name.charCodeAt(0), offset, offset + METADATA_BLOCK);
      },
      (errno) => log.push(`done ${name} ${errno}`),
    );
  const step = (result?: number): void => {
    disk.endAll(result);
    while (queue.length > 0) for (const run of queue.splice(0)) run();
  };
  return { io, disk, requests, write, step, log };
}

test("two writes of one block do not overtake each other, and the later one is filled when it starts", (t) => {
  const { write, step, log, disk } = setUp();
  write(4096, "a");
  write(4096, "b");
  t.deepEqual(log, ["fill a"]);
  t.is(disk.held.length, 1);
  step();
  t.deepEqual(log, ["fill a", "done a 0", "fill b"]);
  step();
  t.deepEqual(log.slice(3), ["done b 0"]);
  t.is(disk.load(4096, 1)[0], "b".charCodeAt(0));
});

test("at most 32 blocks are under way, the rest follows in order", (t) => {
  const { write, step, disk, log, requests, io } = setUp();
  for (let n = 0; n < 100; n++) write(n * 4096, String(n));
  t.is(disk.held.length, 32);
  t.is(requests.used("control"), 32);
  for (let n = 0; n < 5; n++) step();
  t.deepEqual(
    log.filter((line) => line.startsWith("fill")),
    Array.from({ length: 100 }, (_, n) => `fill ${n}`),
  );
  t.true(io.idle);
  t.is(requests.used("control"), 0);
});

test("without a free slot it waits, also if none of its own will come free", (t) => {
  const { write, disk, requests } = setUp();
  const others: number[] = [];
  for (let id = requests.acquire("control", kind.barrierFlush, 0); id !== NO_SLOT; ) {
    others.push(id);
    id = requests.acquire("control", kind.barrierFlush, 0);
  }
  write(0, "a");
  t.is(disk.held.length, 0);
  requests.free(others[0] ?? NO_SLOT);
  t.is(disk.held.length, 1);
});

test("errors and short counts are reported as errno", (t) => {
  const { write, io, step, log } = setUp();
  write(0, "a");
  step(-28);
  io.read(
    0,
    () => log.push("taken"),
    (errno) => log.push(`read ${errno}`),
  );
  step(-EIO);
  t.deepEqual(log, ["fill a", "done a 28", `read ${EIO}`]);
});

test("once closed, what has not started ends as failed and nothing reaches the disk; what is under way is still reported", (t) => {
  const { io, write, step, disk, log, requests } = setUp();
  write(0, "a");
  write(0, "b");
  io.close();
  t.deepEqual(log, ["fill a", `done b ${EIO}`]);
  write(4096, "c");
  t.deepEqual(log.slice(2), [`done c ${EIO}`]);
  disk.closed = true;
  step();
  t.deepEqual(log.slice(3), ["done a 0"]);
  t.is(requests.used("control"), 0);
});

test("a disk without a volatile cache needs no flush (ports: hasVolatileCache)", (t) => {
  const { io, disk } = setUp();
  disk.hasVolatileCache = false;
  let done = -1;
  io.flush((errno) => {
    done = errno;
  });
  t.is(done, 0);
  t.deepEqual(disk.held, []);
});
