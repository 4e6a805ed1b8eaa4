import test from "ava";
import { SystemDigests } from "../../../src/node/digests.ts";

const digests = new SystemDigests();
const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"));
const hex = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString("hex");

test("HMAC-SHA-1 is that of RFC 2202, test case 2", (t) => {
  const mac = digests.hmac("sha1", ascii("Jefe"), ascii("what do ya want for nothing?"));
  t.is(hex(mac), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
});

test("HMAC-MD5 is that of RFC 2202, test case 2", (t) => {
  const mac = digests.hmac("md5", ascii("Jefe"), ascii("what do ya want for nothing?"));
  t.is(hex(mac), "750c783e6ab0b503eaa86e310a5db738");
});

test("HMAC-SHA-256 is that of RFC 4231, test case 2", (t) => {
  const mac = digests.hmac("SHA256", ascii("Jefe"), ascii("what do ya want for nothing?"));
  t.is(hex(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
});

test("an unknown algorithm gives nothing", (t) => {
  t.is(digests.hmac("crc32c", ascii("k"), ascii("m")), undefined);
});
