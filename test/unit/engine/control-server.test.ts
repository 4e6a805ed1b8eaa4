import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import protobuf from "protobufjs";
import { ControlClient, ControlError } from "../../../src/cli/control-client.ts";
import type { ResourceStatus } from "../../../src/core/status.ts";
import { decodeReply, encodeRequest, FrameReader } from "../../../src/engine/control-codec.ts";
import type { ControlReply, WaitRequest } from "../../../src/engine/control-interface.ts";
import { type ControlServer, serveControl } from "../../../src/engine/control-server.ts";
import { waitSeconds, waitVerdict } from "../../../src/engine/control-wait.ts";
import { resource, ScriptedControl, volume } from "../cli/scripted-control.ts";

interface Served {
  readonly path: string;
  readonly control: ScriptedControl;
  readonly server: ControlServer;
  readonly troubles: string[];
  /** Number of times the process would have been ended. */
  downs(): number;
}

function socketPath(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), "futago-control-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "control");
}

async function serve(t: ExecutionContext, status: ResourceStatus = resource()): Promise<Served> {
  const path = socketPath(t);
  const control = new ScriptedControl(status);
  const troubles: string[] = [];
  let downs = 0;
  const onDown = (): void => {
    downs += 1;
  };
  const server = await serveControl({ path, control, onDown, onTrouble: (text) => troubles.push(text) });
  t.teardown(() => server.close());
  return { path, control, server, troubles, downs: () => downs };
}

async function client(t: ExecutionContext, path: string): Promise<ControlClient> {
  const one = await ControlClient.connect(path);
  t.teardown(() => one.close());
  return one;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

test("a request reaches the engine and its outcome comes back", async (t) => {
  const { path, control } = await serve(t);
  control.answer = async () => ({ code: -2, text: "Need access to UpToDate data" });
  const one = await client(t, path);
  const reply = await one.request({ verb: "primary", volume: undefined, force: true });
  t.deepEqual(control.requests, [{ verb: "primary", volume: undefined, force: true }]);
  t.deepEqual(reply, { kind: "result", outcome: { code: -2, text: "Need access to UpToDate data" } });
});

test("status, generation and version are answered beside a request that takes long", async (t) => {
  const { path, control } = await serve(t);
  control.answer = () => new Promise(() => {});
  control.view = {
    uuids: ["A", "B", "C", "D"],
    flags: 0x93,
    lastAgreedSectors: 2 ** 41,
    lastAgreedMaxBioBytes: 1048576,
  };
  const one = await client(t, path);
  const slow = t.throwsAsync(one.request({ verb: "secondary", volume: undefined }, undefined), {
    instanceOf: ControlError,
  });
  t.deepEqual(await one.request({ verb: "status" }), { kind: "state", status: resource(), skipped: 0 });
  t.deepEqual(await one.request({ verb: "generation", volume: 0 }), { kind: "generation", view: control.view });
  const version = await one.request({ verb: "version" });
  t.is(version.kind === "version" ? version.pid : 0, process.pid);
  one.close();
  await slow;
});

test("a watch begins with the status, then tells each change, helper calls in their place", async (t) => {
  const { path, control } = await serve(t);
  const one = await client(t, path);
  const seen: ControlReply[] = [];
  const end = one.watch((reply) => seen.push(reply));
  await until(() => seen.length === 1);
  const gone = resource({ connection: "WFConnection", peerRole: "Unknown" });
  control.change(gone);
  for (const listener of control.listeners) listener.onHelperCall("fence-peer", undefined);
  for (const listener of control.listeners) listener.onHelperResponse("fence-peer", undefined, 1024);
  await until(() => seen.length === 4);
  t.deepEqual(seen, [
    { kind: "state", status: resource(), skipped: 0 },
    { kind: "state", status: gone, skipped: 0 },
    { kind: "helperCall", helper: "fence-peer", volume: undefined },
    { kind: "helperResponse", helper: "fence-peer", volume: undefined, status: 1024 },
  ]);
  one.close();
  await end;
  await until(() => control.listeners.size === 0);
});

test("a client that does not read misses states between, is told how many, and gets the last one", async (t) => {
  const big = (n: number): ResourceStatus => resource({ reason: `${n} ${"x".repeat(200_000)}` });
  const { path, control } = await serve(t, big(0));
  const socket = connect(path);
  t.teardown(() => socket.destroy());
  socket.pause();
  socket.write(encodeRequest(1, { verb: "watch" }));
  await until(() => control.listeners.size === 1);
  for (let n = 1; n <= 50; n++) {
    control.change(big(n));
    await nextTurn();
  }
  const replies = collect(socket);
  await until(() => replies.at(-1)?.status.reason.startsWith("50 ") ?? false);
  const skipped = replies.reduce((sum, one) => sum + one.skipped, 0);
  t.true(replies.length < 51, "some states were left out");
  t.is(replies.length + skipped, 51, "each of them was counted");
});

/** The states in what the socket delivers, growing as it does. */
function collect(socket: Socket): Extract<ControlReply, { kind: "state" }>[] {
  const frames = new FrameReader();
  const states: Extract<ControlReply, { kind: "state" }>[] = [];
  socket.on("data", (chunk: Buffer) => {
    for (const frame of frames.feed(chunk)) {
      const decoded = "violation" in frame ? frame : decodeReply(frame);
      if ("reply" in decoded && decoded.reply.kind === "state") states.push(decoded.reply);
    }
  });
  socket.resume();
  return states;
}

test("the process is ended only after the answer to a successful down", async (t) => {
  const { path, control, downs } = await serve(t);
  const one = await client(t, path);
  control.answer = async () => ({ code: -12, text: "Device is held open by someone" });
  await one.request({ verb: "down", force: false });
  t.is(downs(), 0);
  control.answer = async () => ({ code: 1, text: "Success" });
  await one.request({ verb: "down", force: false });
  await until(() => downs() === 1);
  t.is(downs(), 1);
});

test("an engine's own failure is answered, not left waiting", async (t) => {
  const { path, control, troubles } = await serve(t);
  control.answer = async () => {
    throw new Error("thinko");
  };
  const one = await client(t, path);
  const reply = await one.request({ verb: "outdate", volume: 0 });
  t.deepEqual(reply, { kind: "result", outcome: { code: 162, text: "internal error: Error: thinko" } });
  t.regex(troubles.join(), /outdate failed.*thinko/s);
});

test("a request this engine does not know is refused with 162 and the connection lives on", async (t) => {
  const { path } = await serve(t);
  const socket = connect(path);
  t.teardown(() => socket.destroy());
  const frames = new FrameReader();
  const replies: unknown[] = [];
  socket.on("data", (chunk: Buffer) => {
    for (const frame of frames.feed(chunk)) if (!("violation" in frame)) replies.push(decodeReply(frame));
  });
  // id 9, field 99 with an empty message.
  socket.write(Buffer.from([5, 0x08, 9, 0x9a, 0x06, 0]));
  await until(() => replies.length === 1);
  socket.write(encodeRequest(10, { verb: "status" }));
  await until(() => replies.length === 2);
  const [refusal, status] = replies as { id: number; reply: ControlReply }[];
  t.is(refusal?.id, 9);
  t.like(refusal?.reply, { kind: "result", outcome: { code: 162 } });
  t.like(status, { id: 10, reply: { kind: "state" } });
});

test("a message that cannot be read ends the connection, and only that one", async (t) => {
  const { path, troubles } = await serve(t);
  const other = await client(t, path);
  const socket = connect(path);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.resume();
  socket.write(
    protobuf.Writer.create()
      .uint32(2 ** 30)
      .finish(),
  );
  await closed;
  t.regex(troubles.join(), /at most 1048576 bytes/);
  t.is((await other.request({ verb: "status" })).kind, "state");
});

test("the socket is for root and the engine's user alone", async (t) => {
  const { path } = await serve(t);
  t.is(statSync(path).mode & 0o777, 0o600);
});

test("a socket left by an engine that died is replaced, one that answers is not", async (t) => {
  const path = socketPath(t);
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(path, resolve));
  // The handle goes without the unlink that close() does, as at a kill -9.
  const left = `${path}.left`;
  const { renameSync } = await import("node:fs");
  renameSync(path, left);
  await new Promise<void>((resolve) => dead.close(() => resolve()));
  renameSync(left, path);
  t.true(existsSync(path));
  const control = new ScriptedControl(resource());
  const options = { path, control, onDown: () => {}, onTrouble: () => {} };
  const server = await serveControl(options);
  t.teardown(() => server.close());
  await t.throwsAsync(serveControl(options), { code: "EADDRINUSE" });
});

test("without an engine the client says unreachable", async (t) => {
  const error = await t.throwsAsync(ControlClient.connect(socketPath(t)), { instanceOf: ControlError });
  t.is(error?.code, "unreachable");
});

test("closing the server ends its clients' requests as closed and removes the socket", async (t) => {
  const { path, control, server } = await serve(t);
  control.answer = () => new Promise(() => {});
  const one = await client(t, path);
  const pending = t.throwsAsync(one.request({ verb: "outdate", volume: undefined }, undefined), {
    instanceOf: ControlError,
  });
  await until(() => control.requests.length === 1);
  await server.close();
  t.is((await pending)?.code, "closed");
  t.false(existsSync(path));
});

const wait: WaitRequest = {
  verb: "waitConnect",
  volume: undefined,
  wfcTimeout: 1,
  degrWfcTimeout: 2,
  outdatedWfcTimeout: 3,
  waitAfterSb: false,
};

test("§10.5: which timeout applies: peer Outdated, else degraded, else plain", (t) => {
  t.is(waitSeconds(wait, [volume({ peerDisk: "DUnknown" })], false), 1);
  t.is(waitSeconds(wait, [volume({ peerDisk: "DUnknown" })], true), 2);
  t.is(waitSeconds(wait, [volume({ peerDisk: "Outdated" })], true), 3);
});

test("§10.5: wait-connect ends from Connected on, wait-sync only when no volume synchronises", (t) => {
  const syncing = resource({ volumes: [volume(), volume({ volume: 1, replication: "SyncTarget" })] });
  const sync: WaitRequest = { ...wait, verb: "waitSync" };
  t.is(waitVerdict(wait, syncing), "reached");
  t.is(waitVerdict(sync, syncing), undefined);
  t.is(waitVerdict({ ...sync, volume: 0 }, syncing), "reached");
  t.is(waitVerdict(sync, resource()), "reached");
  for (const connection of ["Unconnected", "NetworkFailure", "WFConnection", "WFReportParams"] as const) {
    t.is(waitVerdict(wait, resource({ connection })), undefined, connection);
  }
});

test("§10.5: below Unconnected nobody waits, unless wait-after-sb", (t) => {
  const alone = resource({ connection: "StandAlone" });
  t.is(waitVerdict(wait, alone), "stand-alone");
  t.is(waitVerdict({ ...wait, waitAfterSb: true }, alone), undefined);
});

test("a wait ends with the state it waits for, at once or later, or with its time", async (t) => {
  const { path, control } = await serve(t, resource({ connection: "WFConnection", reason: "peer not reachable" }));
  const one = await client(t, path);
  t.deepEqual(await one.request(wait), { kind: "waited", result: "timed-out", reason: "peer not reachable" });
  const later = one.request({ ...wait, wfcTimeout: 0 });
  await until(() => control.listeners.size === 1);
  control.change(resource());
  t.deepEqual(await later, { kind: "waited", result: "reached", reason: "" });
  t.deepEqual(await one.request({ ...wait, wfcTimeout: 0 }), { kind: "waited", result: "reached", reason: "" });
  t.is(control.listeners.size, 0);
});

test("a waiting client that goes away is forgotten", async (t) => {
  const { path, control } = await serve(t, resource({ connection: "WFConnection" }));
  const one = await client(t, path);
  const lost = t.throwsAsync(one.request({ ...wait, wfcTimeout: 0 }, undefined), { instanceOf: ControlError });
  await until(() => control.listeners.size === 1);
  one.close();
  await lost;
  await until(() => control.listeners.size === 0);
  t.pass();
});
