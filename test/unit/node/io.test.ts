import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "ava";
import { openIo } from "../../../src/node/io.ts";

const ioModule = fileURLToPath(new URL("../../../src/node/io.ts", import.meta.url));

/** Opens the ports in a process of its own and prints which back end it got. */
const program = `import { openIo } from ${JSON.stringify(ioModule)};
const io = openIo({ slabBytes: 65536 });
console.log(io.backend);
io.close();`;

/** seccomp(2): system call 425, io_uring_setup, fails with an errno; then runs the rest of the command line. */
const refuse = `import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def op(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
code = op(0x20, 0, 0, 0) + op(0x15, 0, 1, 425) + op(6, 0, 0, 0x50000 | int(sys.argv[1])) + op(6, 0, 0, 0x7fff0000)
buf = ctypes.create_string_buffer(code)
class Prog(ctypes.Structure): _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
prog = Prog(4, ctypes.addressof(buf))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(prog), 0, 0) == 0
os.execvp(sys.argv[2], sys.argv[2:])`;

const node = [process.execPath, "--import=tsx", "--input-type=module", "-e", program];

function run(command: readonly string[], env: NodeJS.ProcessEnv = {}): string {
  const [file = "", ...args] = command;
  const result = spawnSync(file, args, { encoding: "utf8", timeout: 30_000, env: { ...process.env, ...env } });
  return result.status === 0 ? result.stdout.trim() : `${result.status} ${result.signal} ${result.stderr}`;
}

test("a process ends by itself after close, and the environment can ask for the fallback", (t) => {
  t.is(run(node, { FUTAGO_BACKEND: "ring" }), "io_uring");
  t.is(run(node, { FUTAGO_BACKEND: "fallback" }), "fallback (FUTAGO_BACKEND=fallback)");
});

for (const [errno, name] of [
  [1, "EPERM"],
  [38, "ENOSYS"],
] as const) {
  test(`where the kernel answers io_uring_setup with ${name}, the fallback serves and says so`, (t) => {
    t.is(run(["python3", "-c", refuse, String(errno), ...node]), `fallback (io_uring_setup: ${name})`);
  });
}

for (const prefer of ["ring", "fallback"] as const) {
  test(`${prefer}: the slab is page aligned and as large as asked for; pages given back read as zeroes`, (t) => {
    const io = openIo({ slabBytes: 1024 * 1024 + 4096, prefer });
    const { memory } = io;
    t.is(memory.bytes.length, 1024 * 1024 + 4096);
    t.is(memory.view.byteLength, memory.bytes.length);
    t.is(memory.bytes.byteOffset % 4096, 0);
    memory.bytes.fill(7);
    io.giveBack(4096, 8192);
    t.is(memory.bytes[4095], 7);
    t.true(memory.bytes.subarray(4096, 12288).every((byte) => byte === 0));
    t.is(memory.bytes[12288], 7);
    io.giveBack(4096 * 4 + 1, 4096);
    t.is(memory.bytes[4096 * 4], 7);
    t.is(memory.bytes[4096 * 5], 7);
    io.close();
  });
}
