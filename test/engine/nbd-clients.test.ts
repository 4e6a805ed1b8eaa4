import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import test from "ava";
import { exerciseExport, missingClients } from "./nbd-clients.ts";
import { FileDevice, serveFile } from "./nbd-file-server.ts";

const SIZE = 64 * 1024 * 1024;

test("real clients agree with the NBD session over a file", async (t) => {
  t.timeout(300_000);
  t.deepEqual(await missingClients(), []);
  const directory = await mkdtemp(join(tmpdir(), "nbd-session-"));
  const device = await FileDevice.create(join(directory, "disk"), SIZE);
  const server = await serveFile(device, join(directory, "nbd.sock"), "r0/1");
  try {
    await exerciseExport(t, server.socketPath, "r0/1", SIZE);
    while (server.connections > 0 || device.leftovers.requests > 0) await nextTurn();
    t.deepEqual(device.leftovers, { requests: 0, clients: 0 });
    t.true(server.violations.some((text) => text.startsWith("request magic: expected 0x25609513, actual 0x0")));
  } finally {
    await server.close();
    await device.close();
    await rm(directory, { recursive: true, force: true });
  }
});
