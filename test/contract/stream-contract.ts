/** What every `Stream` and `Network` must do (src/core/ports.ts). Run over the ring, the fallback and the simulator. */
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import type { CloseReason } from "../../src/core/ports.ts";
import { connected, disconnect, type End, type NetworkWorld } from "./worlds.ts";

/** Bytes that differ from their neighbours and from a shifted copy. */
function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + Math.floor(i / 251) * 13 + seed) & 0xff);
}

type Body = (t: ExecutionContext, world: NetworkWorld) => Promise<void>;

export function streamContract(name: string, make: () => NetworkWorld | Promise<NetworkWorld>): void {
  const rule = (title: string, body: Body): void => {
    test.serial(`${name}: ${title}`, async (t) => {
      const world = await make();
      try {
        await body(t, world);
      } finally {
        await disconnect(world);
        await world.close();
      }
    });
  };
  expectationRules(rule);
  sendingRules(rule);
  closingRules(rule);
  networkRules(rule);
}

type Rule = (title: string, body: Body) => void;

function expectationRules(rule: Rule): void {
  rule("header, payload and skipped bytes are delivered in the order asked for", async (t, world) => {
    const { near, far } = await connected(world);
    const sent = pattern(16 + 1000 + 500 + 8);
    far.script.push(
      () => far.stream.expectInto(4096, 1000),
      () => far.stream.expectSkip(500),
      () => far.expectHeader(8),
    );
    far.expectHeader(16);
    near.send(sent);
    await world.until(() => far.headers.length === 2, "the second header is there");
    t.deepEqual(
      far.events.map((event) => event.at),
      ["header", "payload", "payload", "header"],
    );
    t.deepEqual(far.headers, [sent.slice(0, 16), sent.slice(1516)]);
    t.deepEqual(world.far.memory.bytes.slice(4096, 5096), sent.slice(16, 1016));
    t.is(world.far.memory.bytes[5096], 0);
  });

  rule("bytes that arrive one by one make one header", async (t, world) => {
    const { near, far } = await connected(world);
    far.expectHeader(12);
    const sent = pattern(12);
    for (const byte of sent) {
      near.send(Uint8Array.of(byte));
      await world.until(() => near.stream.queued === 0, "the byte is with the kernel");
    }
    await world.until(() => far.headers.length === 1, "the header is complete");
    t.deepEqual(far.headers, [sent]);
  });

  rule("a payload of nothing is complete at once", async (t, world) => {
    const { far } = await connected(world);
    far.port(() => far.stream.expectInto(0, 0));
    await world.until(() => far.payloads === 1, "the empty payload is reported");
    far.port(() => far.stream.expectSkip(0));
    await world.until(() => far.payloads === 2, "the empty skip is reported");
    t.is(far.events.length, 2);
  });

  rule("a payload of 1 MiB arrives in the slab and nowhere else", async (t, world) => {
    const { near, far } = await connected(world);
    const length = 1024 * 1024;
    world.near.memory.bytes.set(pattern(length), 0);
    world.far.memory.bytes.fill(0xee, length - 1, 2 * length + 4097);
    far.port(() => far.stream.expectInto(length + 4096, length));
    near.port(() => near.stream.sendMemory(0, length, 7));
    await world.until(() => far.payloads === 1, "the payload is complete");
    const received = world.far.memory.bytes.subarray(length + 4096, 2 * length + 4096);
    t.is(Buffer.compare(received, pattern(length)), 0);
    t.is(world.far.memory.bytes[length + 4095], 0xee);
    t.is(world.far.memory.bytes[2 * length + 4096], 0xee);
    await world.until(() => near.tokens.length === 1, "the memory is given back");
    t.deepEqual(near.tokens, [7]);
  });

  rule("without an expectation nothing is delivered, and the sender is held up", async (t, world) => {
    const { near, far } = await connected(world);
    const piece = pattern(1024 * 1024);
    world.near.memory.bytes.set(piece, 0);
    const pieces = 64;
    near.port(() => {
      for (let token = 0; token < pieces; token++) near.stream.sendMemory(0, piece.length, token);
    });
    t.is(near.stream.queued, pieces * piece.length);
    await world.until(() => near.tokens.length > 0, "the network is filling");
    await world.until(
      stable(() => near.tokens.length),
      "nothing moves any more",
    );
    t.true(near.stream.queued > 0);
    t.deepEqual(far.events, []);
    const again = (): void => {
      if (far.payloads < pieces) far.stream.expectInto(4096, piece.length);
    };
    for (let i = 0; i < pieces; i++) far.script.push(again);
    far.port(again);
    await world.until(() => far.payloads === pieces && near.tokens.length === pieces, "all of it has moved");
    t.is(near.stream.queued, 0);
    t.is(Buffer.compare(world.far.memory.bytes.subarray(4096, 4096 + piece.length), piece), 0);
  });

  rule("asking twice at a time is a bug of the caller", async (t, world) => {
    const { far } = await connected(world);
    far.expectHeader(4);
    t.throws(() => far.stream.expectHeader(4));
    t.throws(() => far.stream.expectSkip(4));
  });
}

/** True when `value` has not changed over many looks. */
function stable(value: () => number): () => boolean {
  let last = -1;
  let looks = 0;
  return () => {
    const now = value();
    looks = now === last ? looks + 1 : 0;
    last = now;
    return looks > 100;
  };
}

function sendingRules(rule: Rule): void {
  rule("small pieces are never refused, whatever the peer does with them", async (t, world) => {
    const { near, far } = await connected(world);
    const turns = 48;
    const perTurn = 40;
    const length = 8192;
    for (let turn = 0; turn < turns; turn++) {
      near.port(() => {
        for (let i = 0; i < perTurn; i++) {
          const at = near.stream.reserve(length);
          near.stream.out.setUint32(at, turn * perTurn + i);
          near.stream.out.setUint32(at + length - 4, turn * perTurn + i);
        }
      });
    }
    const total = turns * perTurn;
    const next = (): void => {
      if (far.headers.length < total) far.expectHeader(length);
    };
    for (let i = 0; i < total; i++) far.script.push(next);
    next();
    await world.until(() => far.headers.length === total, "all pieces have arrived");
    const numbers = far.headers.map((bytes) => new DataView(bytes.buffer));
    t.deepEqual(
      numbers.map((view) => view.getUint32(0)),
      Array.from({ length: total }, (_, i) => i),
    );
    t.deepEqual(
      numbers.map((view) => view.getUint32(length - 4)),
      Array.from({ length: total }, (_, i) => i),
    );
    t.is(near.stream.queued, 0);
  });

  rule("slab memory and small pieces leave in the order they were queued", async (t, world) => {
    const { near, far } = await connected(world);
    const slab = pattern(200_000);
    world.near.memory.bytes.set(slab, 0);
    const expected: Uint8Array[] = [];
    near.port(() => {
      for (let i = 0; i < 100; i++) {
        const piece = pattern(24, i);
        const at = near.stream.reserve(24);
        for (const [k, byte] of piece.entries()) near.stream.out.setUint8(at + k, byte);
        near.stream.sendMemory(i * 1000, 2000, i);
        expected.push(piece, slab.slice(i * 1000, i * 1000 + 2000));
      }
    });
    const total = 100 * 2024;
    far.port(() => far.stream.expectInto(0, total));
    await world.until(() => far.payloads === 1 && near.tokens.length === 100, "everything has moved");
    t.is(Buffer.compare(world.far.memory.bytes.subarray(0, total), Buffer.concat(expected)), 0);
    t.deepEqual(
      near.tokens,
      Array.from({ length: 100 }, (_, i) => i),
    );
  });

  rule("any cut of the sent bytes and any cut of the expected ones give the same bytes", async (t, world) => {
    const lengths = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 8192 })), {
      minLength: 1,
      maxLength: 40,
    });
    const kinds = fc.array(fc.constantFrom("small", "slab"), { minLength: 40, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(lengths, kinds, lengths, async (cuts, how, reads) => {
        const { near, far } = await connected(world);
        const bytes = pattern(cuts.reduce((sum, n) => sum + n, 0));
        world.near.memory.bytes.set(bytes, 0);
        far.port(() => readAll(far, bytes.length, reads));
        let at = 0;
        near.port(() => {
          for (const [i, length] of cuts.entries()) {
            if (how[i] === "slab") near.stream.sendMemory(at, length, i);
            else {
              const out = near.stream.reserve(length);
              for (let k = 0; k < length; k++) near.stream.out.setUint8(out + k, bytes[at + k] ?? 0);
            }
            at += length;
          }
        });
        await world.until(() => received(far, world) === bytes.length, "all bytes are there");
        const got = collected(far, world);
        near.port(() => near.stream.destroy());
        far.port(() => far.stream.destroy());
        await world.until(() => near.closed !== undefined && far.closed !== undefined, "both ends are closed");
        t.is(Buffer.compare(got, bytes), 0);
      }),
      { numRuns: 25 },
    );
  });
}

/** Reads `total` bytes in pieces of `lengths`, repeated: even ones as headers, odd ones into the slab one behind the other. */
function readAll(end: End, total: number, lengths: readonly number[]): void {
  let left = total;
  let i = 0;
  let at = SLAB_AT;
  const next = (): void => {
    if (left === 0) return;
    const length = Math.min(left, lengths[i % lengths.length] ?? 1);
    left -= length;
    end.script.push(next);
    if (i++ % 2 === 0) end.expectHeader(length);
    else {
      const offset = at;
      at += length;
      slabPieces.set(end, [...(slabPieces.get(end) ?? []), { offset, length }]);
      end.stream.expectInto(offset, length);
    }
  };
  next();
}

const SLAB_AT = 512 * 1024;
const slabPieces = new WeakMap<End, { offset: number; length: number }[]>();

function collected(end: End, world: NetworkWorld): Buffer {
  const pieces = slabPieces.get(end) ?? [];
  let k = 0;
  const parts = end.events.map((event) => {
    if (event.at === "header") return event.bytes;
    const piece = pieces[k++] ?? { offset: 0, length: 0 };
    return world.far.memory.bytes.slice(piece.offset, piece.offset + piece.length);
  });
  return Buffer.concat(parts);
}

const received = (end: End, world: NetworkWorld): number => collected(end, world).length;

function closingRules(rule: Rule): void {
  rule("destroy is reported as local in a later turn; the other side sees the end", async (t, world) => {
    const { near, far } = await connected(world);
    far.expectHeader(4);
    near.expectHeader(4);
    near.port(() => {
      near.stream.destroy();
      near.stream.destroy();
    });
    t.is(near.closed, undefined);
    await world.until(() => near.closed !== undefined && far.closed !== undefined, "both ends know");
    t.is(near.closed?.reason, "local");
    t.true(["eof", "reset"].includes(far.closed?.reason ?? ""));
  });

  rule("every token held comes back before the close, also in the middle of sending", async (t, world) => {
    const { near } = await connected(world);
    const tokens = Array.from({ length: 32 }, (_, i) => i);
    near.port(() => {
      for (const token of tokens) near.stream.sendMemory(0, 1024 * 1024, token);
    });
    await world.until(() => near.tokens.length > 0, "some of it is sent");
    near.port(() => near.stream.destroy());
    await world.until(() => near.closed !== undefined, "the stream is closed");
    t.deepEqual(near.tokens, tokens);
    t.is(near.events.at(-1)?.at, "closed");
    t.is(near.closed?.reason, "local");
  });

  rule("a peer that goes away in the middle of sending gives every token back", async (t, world) => {
    const { near, far } = await connected(world);
    const tokens = Array.from({ length: 64 }, (_, i) => i);
    near.expectHeader(4);
    near.port(() => {
      for (const token of tokens) near.stream.sendMemory(0, 1024 * 1024, token);
    });
    await world.until(() => near.tokens.length > 0, "some of it is sent");
    far.port(() => far.stream.destroy());
    await world.until(() => near.closed !== undefined, "the stream is closed");
    t.deepEqual(near.tokens, tokens);
    t.true(["eof", "reset"].includes(near.closed?.reason ?? ""));
  });

  rule("end sends what is queued first; then the other side sees eof", async (t, world) => {
    const { near, far } = await connected(world);
    const length = 3 * 1024 * 1024;
    near.port(() => {
      for (let i = 0; i < 3; i++) near.stream.sendMemory(0, 1024 * 1024, i);
      near.stream.end();
    });
    far.script.push(() => far.expectHeader(1));
    far.port(() => far.stream.expectSkip(length));
    await world.until(() => far.closed !== undefined, "the far side is closed");
    t.is(far.payloads, 1);
    t.is(far.closed?.reason, "eof");
    await world.until(() => near.closed !== undefined, "the near side is closed");
    t.is(near.closed?.reason, "eof");
    t.deepEqual(near.tokens, [0, 1, 2]);
  });

  rule("both may end: what one has queued still leaves after the other's end has come", async (t, world) => {
    const { near, far } = await connected(world);
    const length = 3 * 1024 * 1024;
    far.port(() => {
      far.stream.expectSkip(length);
      far.stream.end();
    });
    near.port(() => {
      for (let i = 0; i < 3; i++) near.stream.sendMemory(0, 1024 * 1024, i);
      near.stream.end();
    });
    await world.until(() => far.closed !== undefined && near.closed !== undefined, "both are closed");
    t.is(far.payloads, 1);
    t.is(far.closed?.reason, "eof");
    t.is(near.closed?.reason, "eof");
    t.deepEqual(near.tokens, [0, 1, 2]);
  });

  rule("an end in the middle of a header says what was missing", async (t, world) => {
    const { near, far } = await connected(world);
    far.expectHeader(16);
    near.port(() => {
      near.stream.reserve(10);
      near.stream.end();
    });
    await world.until(() => far.closed !== undefined, "the far side is closed");
    t.deepEqual(far.closed, { at: "closed", reason: "eof", detail: "waiting for 16 bytes of header, have 10" });
  });
}

function networkRules(rule: Rule): void {
  rule("who connected is told, from the address asked for", async (t, world) => {
    const { remote, near } = await connected(world);
    t.is(remote.address, world.near.address);
    t.true(remote.port > 0);
    t.true(near.stream.remote.startsWith(`${world.far.address}:`));
  });

  rule("nobody listening is refused", async (t, world) => {
    const port = await world.freePort();
    const failure = await connectFailure(world, { address: world.near.address, port: 0 }, port);
    t.is(failure.reason, "refused");
    t.regex(failure.detail, /ECONNREFUSED/);
  });

  rule("an address that is not ours cannot be connected from or listened on", async (t, world) => {
    const port = await world.freePort();
    const failure = await connectFailure(world, { address: "192.0.2.1", port: 0 }, port);
    t.is(failure.reason, "error");
    t.regex(failure.detail, /EADDRNOTAVAIL/);
    t.regex(await listenFailure(world, { address: "192.0.2.1", port }), /EADDRNOTAVAIL/);
  });

  rule("a second listener on the same port is told so, once, and not before listen returns", async (t, world) => {
    const local = { address: world.far.address, port: await world.freePort() };
    const ignore = (): never => t.fail() as never;
    const first = world.far.network.listen(local, ignore, ignore);
    t.regex(await listenFailure(world, local), /EADDRINUSE/);
    world.run(() => {
      first.close();
      first.close();
    });
  });

  rule("a closed listener refuses; a closed attempt reports nothing", async (t, world) => {
    const local = { address: world.far.address, port: await world.freePort() };
    const never = (): never => {
      throw new Error("reported after close");
    };
    world.run(() => world.far.network.listen(local, never, never).close());
    world.run(() => {
      world.near.network.connect({ address: world.near.address, port: 0 }, local, never, never).close();
    });
    const failure = await connectFailure(world, { address: world.near.address, port: 0 }, local.port);
    t.is(failure.reason, "refused");
  });
}

async function connectFailure(
  world: NetworkWorld,
  from: { address: string; port: number },
  port: number,
): Promise<{ reason: CloseReason; detail: string }> {
  const failures: { reason: CloseReason; detail: string }[] = [];
  world.run(() => {
    world.near.network.connect(
      from,
      { address: world.far.address, port },
      () => {
        throw new Error("connected");
      },
      (reason, detail) => failures.push({ reason, detail }),
    );
    if (failures.length > 0) throw new Error("reported before connect returned");
  });
  await world.until(() => failures.length > 0, "the attempt has failed");
  return failures[0] ?? { reason: "error", detail: "" };
}

async function listenFailure(world: NetworkWorld, local: { address: string; port: number }): Promise<string> {
  const failures: string[] = [];
  world.run(() => {
    world.far.network.listen(
      local,
      () => {
        throw new Error("connected");
      },
      (detail) => failures.push(detail),
    );
    if (failures.length > 0) throw new Error("reported before listen returned");
  });
  await world.until(() => failures.length > 0, "listening has failed");
  return failures.join();
}
