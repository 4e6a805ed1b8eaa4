import { openSync } from "node:fs";
import test from "ava";
import { closeReasonOf, EIO, errnoName, errnoOf, errnoText } from "../../../src/node/node-error.ts";

// Numbers: /usr/include/asm-generic/errno.h.
const reason = test.macro((t, errno: number, expected: string) => {
  t.is(closeReasonOf(errno), expected as never);
});
test("ECONNRESET is reset", reason, -104, "reset");
test("EPIPE is reset", reason, -32, "reset");
test("ETIMEDOUT is timeout", reason, -110, "timeout");
test("ECONNREFUSED is refused", reason, -111, "refused");
test("EHOSTUNREACH is unreachable", reason, -113, "unreachable");
test("ENETUNREACH is unreachable", reason, -101, "unreachable");
test("EADDRNOTAVAIL is an error of our own", reason, -99, "error");
test("a number nobody knows is an error", reason, -4000, "error");

test("texts carry the errno's name", (t) => {
  t.is(errnoName(-104), "ECONNRESET");
  t.is(errnoText(-104), "ECONNRESET: connection reset by peer");
  t.is(errnoText(-4000), "E4000: unknown error");
});

test("what Node throws gives its errno, what carries none is EIO", (t) => {
  const thrown = t.throws(() => openSync("/nonexistent/file", "r"));
  t.is(errnoOf(thrown), -2);
  t.is(errnoOf(Object.assign(new Error("x"), { code: "ECONNREFUSED" })), -111);
  t.is(errnoOf(Object.assign(new Error("x"), { errno: 11, code: "EAGAIN" })), -11);
  t.is(errnoOf(new Error("x")), EIO);
  t.is(errnoOf("text"), EIO);
});
