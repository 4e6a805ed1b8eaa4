import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * Where downloaded packages and what is made of them stay from run to run, outside the checkout: `FUTAGO_TEST_CACHE`,
 * else `futago-test` in `XDG_CACHE_HOME`, else `/var/cache/futago-test`.
 */
export function cacheDirectory(): string {
  const base = process.env["XDG_CACHE_HOME"];
  return (
    process.env["FUTAGO_TEST_CACHE"] ?? (base === undefined ? "/var/cache/futago-test" : join(base, "futago-test"))
  );
}

const building = /^building-(\d+)-/;

/** A run that was killed leaves its unfinished directory; nobody else would remove it. */
function removeAbandoned(directory: string): void {
  for (const entry of readdirSync(directory)) {
    const pid = building.exec(entry)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) {
      rmSync(join(directory, entry), { recursive: true, force: true });
    }
  }
}

const underWay = new Map<string, Promise<string>>();

/**
 * The cached directory of that key; `build` fills an empty one when there is none. It gets its name only when it is
 * complete, so two runs at once may both build, and both find a whole one.
 */
export function cached(key: string, build: (directory: string) => Promise<void>): Promise<string> {
  const known = underWay.get(key);
  if (known !== undefined) return known;
  const wanted = findOrBuild(key, build).finally(() => underWay.delete(key));
  underWay.set(key, wanted);
  return wanted;
}

async function findOrBuild(key: string, build: (directory: string) => Promise<void>): Promise<string> {
  const directory = cacheDirectory();
  const target = join(directory, key);
  if (existsSync(target)) return target;
  mkdirSync(directory, { recursive: true });
  removeAbandoned(directory);
  const own = join(directory, `building-${process.pid}-${key}`);
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own);
  try {
    await build(own);
    renameSync(own, target);
  } catch (cause) {
    if (!existsSync(target)) throw cause;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
  return target;
}
