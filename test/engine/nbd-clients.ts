/**
 * What real NBD clients find at an export: nbdinfo, nbdcopy, qemu-img, qemu-io, fio, libnbd, and raw sockets that break the
 * protocol. Independent of who serves; the export's content is destroyed.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ExecutionContext } from "ava";

const MiB = 1024 * 1024;
const COMMAND_SECONDS = 120;

interface Run {
  readonly status: number;
  readonly output: string;
}

/** Runs a client to its end; a client that hangs is killed and fails. */
function run(command: string, ...args: string[]): Promise<Run> {
  return new Promise((resolve) => {
    const options = { timeout: COMMAND_SECONDS * 1000, killSignal: "SIGKILL", maxBuffer: 16 * MiB } as const;
    execFile(command, args, options, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ status, output: stdout + stderr });
    });
  });
}

async function succeed(t: ExecutionContext, command: string, ...args: string[]): Promise<string> {
  const { status, output } = await run(command, ...args);
  t.is(status, 0, `${command} ${args.join(" ")}\n${output}`);
  return output;
}

const uriOf = (socketPath: string, exportName: string): string => `nbd+unix:///${exportName}?socket=${socketPath}`;

async function isSame(a: string, b: string): Promise<boolean> {
  const { status } = await run("cmp", a, b);
  return status === 0;
}

interface Target {
  readonly socketPath: string;
  readonly exportName: string;
  readonly uri: string;
  readonly size: number;
  /** Scratch directory. */
  readonly directory: string;
}

interface ExportInfo {
  readonly "export-name": string;
  readonly "export-size": number;
  readonly is_read_only: boolean;
  readonly contexts: readonly string[];
  readonly block_size_minimum: number;
  readonly block_size_preferred: number;
  readonly block_size_maximum: number;
}

async function checkInfo(t: ExecutionContext, { uri, size, exportName, socketPath }: Target): Promise<void> {
  const parsed = JSON.parse(await succeed(t, "nbdinfo", "--json", uri));
  t.is(parsed.protocol, "newstyle-fixed");
  t.true(parsed.structured);
  const info: ExportInfo = parsed.exports[0];
  t.is(info["export-size"], size);
  t.false(info.is_read_only);
  t.deepEqual(info.contexts, ["base:allocation"]);
  t.true([512, 1024, 2048, 4096].includes(info.block_size_minimum), `minimum block ${info.block_size_minimum}`);
  t.is(info.block_size_preferred, 4096);
  t.is(info.block_size_maximum, 32 * MiB);
  for (const ability of ["connect", "flush", "fua", "trim", "zero", "fast-zero", "df", "cache", "write"]) {
    await succeed(t, "nbdinfo", "--can", ability, uri);
  }
  t.is((await run("nbdinfo", "--is", "read-only", uri)).status, 2);
  t.is((await run("nbdinfo", "--is", "tls", uri)).status, 2);
  t.is((await succeed(t, "nbdinfo", "--size", uri)).trim(), String(size));
  const list = JSON.parse(await succeed(t, "nbdinfo", "--list", "--json", `nbd+unix:///?socket=${socketPath}`));
  t.true(list.exports.some((entry: ExportInfo) => entry["export-name"] === exportName));
  t.not((await run("nbdinfo", uriOf(socketPath, "no-such-export"))).status, 0);
}

/** Sizes of the runs nbdinfo sees, by its own type numbers: 0 data, 3 hole and zero. */
async function checkMap(t: ExecutionContext, { uri, size }: Target): Promise<void> {
  const map: { offset: number; length: number; type: number }[] = JSON.parse(
    await succeed(t, "nbdinfo", "--map", "--json", uri),
  );
  let end = 0;
  for (const { offset, length, type } of map) {
    t.is(offset, end);
    t.true(type === 0 || type === 3, `extent type ${type}`);
    end += length;
  }
  t.is(end, size);
}

async function checkCopy(t: ExecutionContext, { uri, size, directory }: Target): Promise<void> {
  const source = join(directory, "source");
  const copy = join(directory, "copy");
  // Random data around a hole, so that nbdcopy both writes and zeroes.
  const file = await open(source, "w");
  await file.truncate(size);
  await file.write(randomBytes(8 * MiB), 0, 8 * MiB, 0);
  await file.write(randomBytes(MiB + 512), 0, MiB + 512, size - MiB - 512);
  await file.close();
  const ways = [
    [],
    ["--synchronous"],
    ["--connections=4", "--requests=32", "--request-size=1048576"],
    ["--no-extents"],
  ];
  for (const options of ways) {
    await succeed(t, "nbdcopy", "--flush", ...options, source, uri);
    await succeed(t, "nbdcopy", ...options, uri, copy);
    t.true(await isSame(source, copy), `nbdcopy ${options.join(" ")}`);
    await rm(copy);
  }
  await succeed(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", source, uri);
  await succeed(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", uri, copy);
  t.true(await isSame(source, copy), "qemu-img convert from the export");
  const other = randomBytes(4 * MiB);
  await writeFile(source, Buffer.concat([other, Buffer.alloc(size - other.length)]));
  await succeed(t, "qemu-img", "convert", "-n", "-W", "-m", "16", "-f", "raw", "-O", "raw", source, uri);
  await succeed(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", source, uri);
  await succeed(t, "nbdcopy", uri, copy);
  t.true(await isSame(source, copy), "qemu-img convert to the export");
}

async function checkQemuIo(t: ExecutionContext, { uri, size }: Target): Promise<void> {
  const commands = [
    "write -P 0x5a 0 8M",
    "write -f -P 0x11 4096 64k",
    "read -P 0x11 4096 64k",
    "read -P 0x5a 69632 1M",
    "write -z 1M 1M",
    "read -P 0 1M 1M",
    "write -zu 2M 1M",
    "read -P 0 2M 1M",
    "write -zf 3M 65536",
    "read -P 0 3M 65536",
    "discard 4M 1M",
    "flush",
    "read -P 0x5a 5M 3M",
    "aio_write -P 0x77 6M 1M",
    "aio_write -P 0x78 7M 1M",
    "aio_flush",
    "read -P 0x77 6M 1M",
    "read -P 0x78 7M 1M",
    // qemu splits and pads unaligned writes itself, from the sizes it was told.
    "write -P 0x22 1001 3001",
    "read -P 0x22 1001 3001",
    "read -P 0x5a 0 1001",
    `write -z 0 ${size}`,
    `read -P 0 ${size - MiB} 1M`,
  ];
  const output = await succeed(t, "qemu-io", "-f", "raw", ...commands.flatMap((line) => ["-c", line]), uri);
  t.notRegex(output, /failed|error/i);
  t.regex((await run("qemu-io", "-f", "raw", "-c", `read ${size} 512`, uri)).output, /Input\/output error|beyond/);
}

async function checkFio(t: ExecutionContext, { uri }: Target): Promise<void> {
  const output = await succeed(
    t,
    "fio",
    "--name=mixed",
    "--ioengine=nbd",
    `--uri=${uri}`,
    "--rw=randrw",
    "--rwmixread=40",
    "--bssplit=512/10:4k/50:20k/10:64k/20:1m/10",
    "--iodepth=16",
    "--size=48m",
    "--io_size=64m",
    "--fsync=16",
    "--verify=crc32c",
    "--verify_fatal=1",
    "--verify_backlog=64",
    "--norandommap=0",
    "--randrepeat=1",
    "--output-format=terse",
  );
  t.notRegex(output, /verify:|bad magic|error=/);
}

async function checkOddRequests(t: ExecutionContext, { socketPath, exportName, size }: Target): Promise<void> {
  const script = fileURLToPath(new URL("nbd-odd-requests.py", import.meta.url));
  const output = await succeed(t, "/usr/bin/python3", script, socketPath, exportName, String(size));
  t.is(output.match(/^ok /gm)?.length, 8, output);
}

/** `after`: how many bytes must have come before these are sent. */
interface Step {
  readonly after: number;
  readonly send: Uint8Array;
}

/** Takes the steps in turn and collects what comes, until the server closes or `enough` bytes have come. */
function talk(socketPath: string, steps: readonly Step[], enough = Number.POSITIVE_INFINITY): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    let next = 0;
    const socket: Socket = createConnection(socketPath);
    const finish = (): void => {
      socket.destroy();
      resolve(received);
    };
    const advance = (): void => {
      for (let step = steps[next]; step !== undefined && received.length >= step.after; step = steps[next]) {
        socket.write(step.send);
        next += 1;
      }
      if (received.length >= enough) finish();
    };
    socket.setTimeout(COMMAND_SECONDS * 1000, () => reject(new Error("the server neither answers nor closes")));
    socket.on("connect", advance);
    socket.on("data", (part) => {
      received = Buffer.concat([received, part]);
      advance();
    });
    // A server may close while we still write.
    socket.on("error", finish);
    socket.on("close", finish);
  });
}

const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(" ", ""), "hex");
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const IHAVEOPT = hex("49484156454f5054");
const NO_ZEROES = u32(3);
const GREETING_BYTES = 18;

async function checkMalformed(t: ExecutionContext, { socketPath, exportName }: Target): Promise<void> {
  const name = Buffer.from(exportName);
  /** Greeting, then the 10 bytes that answer NBD_OPT_EXPORT_NAME. */
  const entered = GREETING_BYTES + 10;
  const haggle = (...sent: Uint8Array[]) => talk(socketPath, [{ after: GREETING_BYTES, send: Buffer.concat(sent) }]);
  const enter = { after: GREETING_BYTES, send: Buffer.concat([NO_ZEROES, IHAVEOPT, u32(1), u32(name.length), name]) };
  const request = (sent: Uint8Array, answer = Number.POSITIVE_INFINITY) =>
    talk(socketPath, [enter, { after: entered, send: sent }], entered + answer);
  const flush = hex("25609513 0000 0003 00000000000000ab 0000000000000000 00000000");
  const answer = hex("67446698 00000000 00000000000000ab");
  t.is((await haggle(u32(0xffffffff))).length, GREETING_BYTES, "unknown client flags");
  t.is((await haggle(NO_ZEROES, Buffer.alloc(16))).length, GREETING_BYTES, "option magic");
  t.is((await haggle(NO_ZEROES, IHAVEOPT, u32(1), u32(0xffffffff))).length, GREETING_BYTES, "a name of 4 GiB");
  t.is(
    (await haggle(NO_ZEROES, IHAVEOPT, u32(1), u32(4), Buffer.from("none"))).length,
    GREETING_BYTES,
    "no such export",
  );
  t.is((await request(Buffer.alloc(28))).length, entered, "request magic");
  const unknown = hex("25609513 0000 00ff 00000000000000aa 0000000000000000 00000200");
  const told = await request(Buffer.concat([unknown, flush]), 32);
  t.deepEqual(told.subarray(entered, entered + 16), hex("67446698 00000016 00000000000000aa"), "unknown command");
  t.deepEqual(told.subarray(entered + 16), answer, "and the next request is understood");
  // Vanishing clients: in the middle of a header, of a payload, and with requests in flight.
  const write = hex("25609513 0000 0001 00000000000000aa 0000000000000000 00100000");
  for (const part of [
    flush.subarray(0, 13),
    Buffer.concat([write, Buffer.alloc(5000)]),
    Buffer.alloc(28 * 64, flush),
  ]) {
    await talk(socketPath, [enter, { after: entered, send: part }], entered);
  }
  const noise = await Promise.all(Array.from({ length: 16 }, () => haggle(NO_ZEROES, randomBytes(4096))));
  t.true(noise.every(({ length }) => length === GREETING_BYTES));
  t.deepEqual((await request(flush, 16)).subarray(entered), answer, "others are served as before");
}

/**
 * Every check against one export of `sizeBytes` (at least 64 MiB, writable, otherwise unused) at a Unix socket.
 * Needs nbdinfo, nbdcopy, qemu-img, qemu-io, fio and libnbd's Python module.
 */
export async function exerciseExport(
  t: ExecutionContext,
  socketPath: string,
  exportName: string,
  sizeBytes: number,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "nbd-clients-"));
  const uri = uriOf(socketPath, exportName);
  const target: Target = { socketPath, exportName, uri, size: sizeBytes, directory };
  const checks = { checkInfo, checkCopy, checkMap, checkQemuIo, checkFio, checkOddRequests, checkMalformed };
  try {
    for (const [name, check] of Object.entries(checks)) {
      const started = Date.now();
      await check(t, target);
      t.log(`${name}: ${Date.now() - started} ms`);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The programs `exerciseExport` needs and does not find. */
export async function missingClients(): Promise<readonly string[]> {
  const programs = [
    ["nbdinfo", "--version"],
    ["nbdcopy", "--version"],
    ["qemu-img", "--version"],
    ["qemu-io", "--version"],
    ["fio", "--enghelp=nbd"],
    ["/usr/bin/python3", "-c", "import nbd"],
  ];
  const found = await Promise.all(programs.map(([command = "", ...args]) => run(command, ...args)));
  return programs.filter((_, i) => found[i]?.status !== 0).map((program) => program.join(" "));
}
