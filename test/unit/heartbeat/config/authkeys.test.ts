import test from "ava";
import { parseAuthKeys } from "../../../../src/heartbeat/core/config/authkeys.ts";
import { authKeys, messages, vector } from "./helpers/files.ts";

test("the report's authkeys (A7, §14): entry 1 signs with crc", (t) => {
  const { authKeys: found, warnings } = authKeys(vector("report/authkeys"));
  t.like(found.signing, { number: 1, method: "crc", key: "" });
  t.deepEqual(warnings, []);
});

test("several keys (§14): the one that signs, and those that are accepted too", (t) => {
  const { authKeys: found } = authKeys("# rollover\nauth 3\n2 md5 KeyA\n 3\tsha1 Key#B\n0 crc\n");
  t.like(found.signing, { number: 3, method: "sha1", key: "Key#B" });
  t.deepEqual([...found.keys.keys()], [2, 3, 0]);
});

test("the file's mode must be 600 or less (§14): what others may do is named", (t) => {
  for (const mode of [0o600, 0o400, 0o100600]) t.deepEqual(messages(parseAuthKeys("auth 1\n1 crc\n", "k", mode)), []);
  for (const mode of [0o644, 0o640, 0o604, 0o660, 0o602, 0o601, 0o777, 0o100644]) {
    const [message = ""] = messages(parseAuthKeys("auth 1\n1 crc\n", "/etc/ha.d/authkeys", mode));
    t.regex(message, /^\/etc\/ha\.d\/authkeys:1:1: bad permissions 0[0-7]{3}: .*allowed: 0600/);
  }
});

test("errors name the place, what was found and what is allowed (§14)", (t) => {
  const refusal = (text: string) => messages(parseAuthKeys(text, "k", 0o600))[0];
  t.is(refusal("auth 1\n1 sha256 x\n"), "k:2:3: unknown method 'sha256'; allowed: crc, md5, sha1");
  t.is(refusal("auth 1\n1 shal x\n"), "k:2:3: unknown method 'shal'; allowed: crc, md5, sha1; did you mean 'sha1'?");
  t.is(refusal("auth 16\n"), "k:1:6: number '16' is out of range; allowed: 0..15");
  t.regex(refusal("1 crc\nauth 1\n") ?? "", /^k:2:1: 'auth 1' must stand before its entry.*first used at k:1:1$/);
  t.regex(refusal("auth 1\n1 crc # c\n") ?? "", /^k:2:7: crc takes no key/);
  t.is(refusal(""), "k:1:1: no 'auth N' line: no entry signs");
});

test("a key is one word: the rest of the line is told of and not used (heartbeat 3.0.6 drops it silently)", (t) => {
  const { authKeys: found, warnings } = authKeys("auth 1\n1 sha1 two words\n");
  t.is(found.signing.key, "two");
  t.regex(warnings.join(), /^2:12: a key is one word/);
});

test("no message shows a key", (t) => {
  const secret = "correct-horse-battery";
  for (const line of [`1 sha1 ${secret} x`, `1 crc ${secret}`, `1 sha256 ${secret}`, `x sha1 ${secret}`]) {
    const result = parseAuthKeys(`auth 1\n${line}\n`, "k", 0o644);
    const texts =
      "errors" in result ? result.errors.map((e) => e.message + e.found) : result.warnings.map((w) => w.text);
    t.false(texts.join().includes(secret), line);
  }
});
