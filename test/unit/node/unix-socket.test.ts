import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import type { StreamHandler } from "../../../src/core/ports.ts";
import { loadSys } from "../../../src/node/native.ts";
import { prepareSocketPath } from "../../../src/node/unix-socket.ts";
import { open } from "../../contract/real-worlds.ts";
import { waitFor } from "../../contract/worlds.ts";

const folder = mkdtempSync(join(tmpdir(), "futago-"));
test.after.always(() => rmSync(folder, { recursive: true }));

const silent: StreamHandler = { onHeader() {}, onPayload() {}, onSent() {}, onClosed() {} };

test("a path of 107 bytes fits, one of 108 is refused with the limit (unix(7))", (t) => {
  const path = (length: number): string => join(folder, "x".repeat(length - folder.length - 1));
  t.is(prepareSocketPath(path(107)), undefined);
  t.regex(prepareSocketPath(path(108)) ?? "", /108 bytes are too long for a Unix socket, at most 107 fit/);
});

test("a file that is no socket is left alone and named", (t) => {
  const path = join(folder, "file");
  writeFileSync(path, "precious");
  t.is(prepareSocketPath(path), `${path} exists and is not a socket`);
  t.true(existsSync(path));
});

test("a socket that nobody listens on is removed", (t) => {
  const path = join(folder, "stale");
  const sys = loadSys();
  sys.closeFd(sys.listenUnix(path, 1));
  t.true(existsSync(path));
  t.is(prepareSocketPath(path), undefined);
  t.false(existsSync(path));
});

test("a socket that somebody listens on is refused", async (t) => {
  const path = join(folder, "living");
  const server = createServer().listen(path);
  await waitFor(() => server.listening, "the server listens");
  t.is(prepareSocketPath(path), `${path}: another process listens there`);
  t.true(existsSync(path));
  server.close();
});

for (const backend of ["ring", "fallback"] as const) {
  test(`${backend}: a client of a Unix socket is served and known by its process`, async (t) => {
    const io = open(backend);
    const path = join(folder, `${backend}.sock`);
    const pids: (number | undefined)[] = [];
    const closed: string[] = [];
    const listener = io.listenUnix(
      path,
      (stream, remote) => {
        t.deepEqual(remote, { address: path, port: 0 });
        pids.push(io.credentialsOf(stream)?.pid);
        stream.expectHeader(4);
        return {
          ...silent,
          onHeader(at) {
            stream.out.setUint32(stream.reserve(4), stream.window.getUint32(at) + 1);
            stream.expectHeader(4);
          },
          onClosed: (reason) => void closed.push(reason),
        };
      },
      (detail) => t.fail(detail),
    );
    await waitFor(() => existsSync(path), "the socket is there");
    const client = connect(path);
    const answers: Buffer[] = [];
    client.on("data", (chunk) => answers.push(chunk));
    client.write(Buffer.from([0, 0, 0, 41]));
    await waitFor(() => answers.length === 1, "the answer is there");
    t.deepEqual(answers[0], Buffer.from([0, 0, 0, 42]));
    t.deepEqual(pids, [process.pid]);
    client.destroy();
    await waitFor(() => closed.length === 1, "the end is seen");
    t.deepEqual(closed, ["eof"]);
    io.loop.run(() => listener.close());
    t.false(existsSync(path));
    io.close();
  });

  test(`${backend}: listening where somebody listens is reported, and the other one stays`, async (t) => {
    const first = open(backend);
    const second = open(backend);
    const path = join(folder, `${backend}-twice.sock`);
    const listener = first.listenUnix(
      path,
      () => silent,
      (detail) => t.fail(detail),
    );
    await waitFor(() => existsSync(path) && loadSys().probeUnix(path) === 0, "the first one listens");
    const errors: string[] = [];
    second.listenUnix(
      path,
      () => silent,
      (detail) => errors.push(detail),
    );
    await waitFor(() => errors.length === 1, "the second one is refused");
    t.deepEqual(errors, [`${path}: another process listens there`]);
    t.true(existsSync(path));
    listener.close();
    first.close();
    second.close();
  });
}
