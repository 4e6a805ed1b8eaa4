/** The edges of the wire: sockets on the loopback interface, the node's files, the named pipe (heartbeat §1, §2, §7.4, §12.1). */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava, { type ExecutionContext } from "ava";
import { textOf } from "../../../../src/heartbeat/core/wire/message.ts";
import { openFifo } from "../../../../src/heartbeat/fifo.ts";
import { nextGeneration, nodeUuid } from "../../../../src/heartbeat/node-identity.ts";
import { interfaceFacts, openUdp, type UdpMedium } from "../../../../src/heartbeat/udp.ts";
import { SystemRandom } from "../../../../src/node/random.ts";
import { SimRandom } from "../../../../src/simulator/random.ts";
import { until } from "../../../lab/command.ts";

const test = ava.serial;

async function inFolder(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "futago-heartbeat-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("§1: hb_uuid is 16 raw bytes, made once; a file of another size is refused and kept", async (t) => {
  await inFolder((folder) => {
    const uuid = nodeUuid(folder, new SimRandom(1));
    t.is(uuid.length, 16);
    t.deepEqual(nodeUuid(folder, new SimRandom(2)), uuid);
    t.deepEqual(new Uint8Array(readFileSync(join(folder, "hb_uuid"))), uuid);
    writeFileSync(join(folder, "hb_uuid"), "short");
    t.throws(() => nodeUuid(folder, new SimRandom(1)), { message: /5 bytes, expected 16/ });
    t.is(readFileSync(join(folder, "hb_uuid"), "utf8"), "short");
  });
});

test("§7.4: hb_generation starts with the time and grows by one; 15 columns and a newline; no number is refused", async (t) => {
  await inFolder((folder) => {
    t.is(nextGeneration(folder, 1_700_000_000), 1_700_000_001);
    t.is(nextGeneration(folder, 1_800_000_000), 1_700_000_002);
    t.is(readFileSync(join(folder, "hb_generation"), "latin1"), "     1700000002\n");
    writeFileSync(join(folder, "hb_generation"), "garbage\n");
    t.throws(() => nextGeneration(folder, 1), { message: /not a number: garbage/ });
  });
});

test("§12.1: messages written into the pipe come out one by one, also in pieces; what is none is named and skipped", async (t) => {
  await inFolder(async (folder) => {
    const path = join(folder, "fifo");
    const got: string[] = [];
    const trouble: string[] = [];
    const close = openFifo(
      path,
      (message) => got.push(textOf(message, "n") ?? ""),
      (text) => trouble.push(text),
    );
    try {
      t.is(statSync(path).mode & 0o777, 0o600);
      writeFileSync(path, ">>>\nt=x\nn=1\n<<<\n>>>\nt=x\nn=2\n<<<\n");
      writeFileSync(path, ">>>\nt=x\n");
      writeFileSync(path, "n=3\n<<<\nrubbish\n<<<\n>>>\nt=x\nn=4\n<<<\n");
      await until("four messages", () => got.length === 4);
      t.deepEqual(got, ["1", "2", "3", "4"]);
      t.is(trouble.length, 1);
      t.regex(trouble[0] ?? "", /expected >>>/);
    } finally {
      close();
    }
  });
});

const at = { file: "ha.cf", line: 1, column: 1 };
/** A port nobody uses: chosen at random, and another one if it is taken. */
async function freePort(body: (port: number) => Promise<void>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const port = 20_000 + Math.floor(new SystemRandom().fraction() * 20_000);
    try {
      return await body(port);
    } catch (error) {
      if (attempt === 5 || !(error instanceof Error) || !error.message.includes("EADDRINUSE")) throw error;
    }
  }
}

async function exchange(t: ExecutionContext, media: readonly UdpMedium[], links: readonly string[]): Promise<void> {
  const got: string[] = [];
  const trouble: string[] = [];
  const udp = await openUdp(
    media,
    (link, bytes) => got.push(`${link} ${Buffer.from(bytes).toString()}`),
    (text) => trouble.push(text),
  );
  try {
    await until("datagrams", () => {
      udp.send(Buffer.from("beat"));
      return links.every((link) => got.includes(`${link} beat`));
    });
    t.deepEqual(trouble, []);
  } finally {
    udp.close();
  }
}

test("§2: ucast sends from a port of its own and names the link by the sender's subnet", async (t) => {
  await freePort((port) => exchange(t, [{ kind: "ucast", interface: "lo", address: "127.0.0.2", port, at }], ["lo"]));
});

test("§2: mcast joins its group on its own port, with loop on it hears itself", async (t) => {
  await freePort((port) =>
    exchange(t, [{ kind: "mcast", interface: "lo", group: "239.192.0.42", port, ttl: 0, loop: true, at }], ["lo"]),
  );
});

test("§2: a ucast line with this host's own address is ignored; an interface that is away is reported ten times at most", async (t) => {
  await freePort(async (port) => {
    const trouble: string[] = [];
    const media: readonly UdpMedium[] = [
      { kind: "ucast", interface: "lo", address: "127.0.0.1", port, at },
      { kind: "bcast", interface: "nosuch0", port, at },
    ];
    const got: string[] = [];
    const udp = await openUdp(
      media,
      (link) => got.push(link),
      (text) => trouble.push(text),
    );
    for (let n = 0; n < 50; n++) udp.send(Buffer.from("beat"));
    udp.close();
    t.is(trouble.filter((text) => text.includes("network is unreachable")).length, 10);
    t.is(trouble.at(-1), "bcast nosuch0: further errors are not reported");
    t.deepEqual(got, []);
  });
});

test("an interface's broadcast address and subnet follow from its address and mask", (t) => {
  const facts = interfaceFacts("lo");
  t.is(facts?.broadcast, "127.255.255.255");
  t.true(facts?.contains("127.200.3.4"));
  t.false(facts?.contains("128.0.0.1"));
  t.is(interfaceFacts("nosuch0"), undefined);
});
