import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { until } from "../lab/command.ts";
import { type EngineNode, Pair, type PairOptions, port, usualNet } from "./pair.ts";
import { CHALLENGE_BYTES, connectFrom, ScriptedPeer } from "./scripted-peer.ts";

const diskBytes = 16 * 1024 * 1024;

/** Both nodes have metadata; none is started. */
async function withPair(options: Partial<PairOptions>, body: (pair: Pair) => Promise<void>): Promise<void> {
  const pair = new Pair({ scratch: mkdtempSync(join(tmpdir(), "futago-refuse-")), diskBytes, ...options });
  try {
    await Promise.all(pair.nodes.map((node) => node.createMetadata()));
    await body(pair);
  } finally {
    await pair.close();
  }
}

/** The reason stands in the log, in the journal, and in what the operator is shown. */
async function tellsWhy(t: ExecutionContext, node: EngineNode, reason: RegExp): Promise<void> {
  t.regex(node.log, reason, `${node.name}: log`);
  // The journal is written behind the engine's back: a moment later.
  await until(`${node.name}: journal`, async () =>
    (await node.journal()).some(({ text }) => typeof text === "string" && reason.test(text)),
  );
  t.regex((await node.status()).reason, reason);
  t.regex((await node.futago("status", "r0")).stdout, reason, `${node.name}: status`);
}

const standsAlone = (node: EngineNode) => node.reaches("StandAlone", ({ connection }) => connection === "StandAlone");
const givesReason = (node: EngineNode, reason: RegExp) =>
  node.reaches(String(reason), (status) => reason.test(status.reason) && status.connection === "WFConnection");

test.serial("a wrong shared-secret: both end StandAlone and say so (drbd-84 §3.3 step 5, capture 04)", async (t) => {
  const wrong = usualNet.replace("FooFunFactory", "BarFunFactory");
  await withPair({ net: { host02: wrong } }, async (pair) => {
    await Promise.all(pair.nodes.map((node) => node.up()));
    for (const node of pair.nodes) {
      await standsAlone(node);
      await tellsWhy(t, node, /Authentication of peer failed/);
    }
  });
});

test.serial(
  "cram-hmac-alg on one side only: that side StandAlone, the other retries (drbd-84 §3.3, capture 05)",
  async (t) => {
    const open = usualNet.replace('cram-hmac-alg sha1; shared-secret "FooFunFactory";', "");
    await withPair({ net: { host02: open } }, async (pair) => {
      const { host01, host02 } = pair;
      await Promise.all(pair.nodes.map((node) => node.up()));
      await standsAlone(host01);
      await tellsWhy(t, host01, /expected P_AUTH_CHALLENGE packet, received: P_PROTOCOL/);
      await host02.reaches("retrying", ({ connection }) => connection === "WFConnection");
      t.regex(host02.log, /ProtocolError/);
    });
  },
);

test.serial("protocol C against A: both end StandAlone and say so (drbd-84 §3.4, capture 06)", async (t) => {
  await withPair({ protocol: { host02: "A" } }, async (pair) => {
    await Promise.all(pair.nodes.map((node) => node.up()));
    for (const node of pair.nodes) {
      await standsAlone(node);
      await tellsWhy(t, node, /incompatible protocol settings/);
    }
  });
});

/** `host01` runs; `host02` is played by the test. */
async function withPlayedPeer(
  net: string,
  body: (node: EngineNode, peer: ScriptedPeer, pair: Pair) => Promise<void>,
): Promise<void> {
  await withPair({ net: { host01: net, host02: net } }, async (pair) => {
    const peer = await ScriptedPeer.listen(pair.host02.address, port);
    try {
      await pair.host01.up();
      await body(pair.host01, peer, pair);
    } finally {
      peer.close();
    }
  });
}

test.serial("a peer that sends our own challenge back: StandAlone (drbd-84 §3.3 step 3)", async (t) => {
  await withPlayedPeer(usualNet, async (node, peer) => {
    const { data } = await peer.agree(node.address);
    data.socket.write(await data.read(CHALLENGE_BYTES));
    await standsAlone(node);
    await tellsWhy(t, node, /Peer presented the same challenge!/);
  });
});

test.serial("a challenge that is too short: StandAlone (drbd-84 §3.3 step 2)", async (t) => {
  await withPlayedPeer(usualNet, async (node, peer) => {
    const { data } = await peer.agree(node.address);
    await data.read(CHALLENGE_BYTES);
    data.socket.write(Buffer.concat([Buffer.from("8620ec20000000100000002000000000", "hex"), Buffer.alloc(32)]));
    await standsAlone(node);
    await tellsWhy(t, node, /AuthChallenge payload too small/);
  });
});

test.serial("versions without overlap: StandAlone, with both ranges (drbd-84 §3.2)", async (t) => {
  await withPlayedPeer(usualNet, async (node, peer) => {
    const { data } = await peer.establish(node.address);
    const features = Buffer.alloc(72);
    features.writeUInt32BE(102, 0);
    features.writeUInt32BE(110, 8);
    data.socket.write(Buffer.concat([Buffer.from("83740267fffe0048", "hex"), features]));
    await standsAlone(node);
    await tellsWhy(t, node, /incompatible DRBD dialects: I support 86-101, peer supports 102-110/);
  });
});

test.serial(
  "foreign words instead of the handshake: dropped, tried again, and the real peer is taken (drbd-84 §1.4)",
  async (t) => {
    await withPlayedPeer(usualNet, async (node, peer, pair) => {
      const { data } = await peer.establish(node.address);
      data.socket.write("GET / HTTP/1.1\r\nHost: drbd\r\n\r\n");
      const reason = /wrong magic value, expected:83740267 received:47455420/;
      await givesReason(node, reason);
      await tellsWhy(t, node, reason);
      peer.close();
      await pair.host02.up();
      await node.reaches("Connected", ({ connection }) => connection === "Connected");
      t.is((await node.status()).reason, "");
    });
  },
);

test.serial("a foreign header after the handshake: ProtocolError, and tried again (drbd-84 §1.4, §2.1)", async (t) => {
  const open = usualNet.replace('cram-hmac-alg sha1; shared-secret "FooFunFactory";', "");
  await withPlayedPeer(open, async (node, peer) => {
    const { data } = await peer.agree(node.address);
    data.socket.write(Buffer.alloc(16, 0x5a));
    const reason = /wrong magic value, expected:8620ec20 received:5a5a5a5a/;
    await givesReason(node, reason);
    await tellsWhy(t, node, reason);
    t.regex(node.log, /ProtocolError/);
  });
});

test.serial(
  "a stranger at the port is turned away, and the real peer is still taken (drbd-84 §1.2 step 3)",
  async (t) => {
    await withPair({}, async (pair) => {
      const { host01, host02 } = pair;
      await host01.up();
      const stranger = await connectFrom("127.0.0.1", host01.address, port);
      stranger.socket.write("SSH-2.0-scanner\r\n");
      await stranger.closed();
      t.regex(host01.log, /Error receiving initial packet from .*wrong magic value/);
      t.is((await host01.status()).connection, "WFConnection");
      await host02.up();
      await host01.reaches("Connected", ({ connection }) => connection === "Connected");
    });
  },
);
