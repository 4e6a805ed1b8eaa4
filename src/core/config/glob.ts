/**
 * Matches one path component as glob(7) does: `*`, `?`, `[a-z]`, `[!a]`, `\x`; a leading dot is only matched by a dot.
 * For whoever implements `Files.glob`.
 */
export function matchesGlob(pattern: string, name: string): boolean {
  if (name.startsWith(".") && !pattern.startsWith(".")) return false;
  return new RegExp(`^${toRegExp(pattern)}$`, "su").test(name);
}

function toRegExp(pattern: string): string {
  const part = /\\([\s\S])|\*|\?|\[([!^]?)(\]?[^\]]*)\]|[\s\S]/gu;
  return pattern.replace(part, (whole, escaped?: string, negated?: string, set?: string) => {
    if (whole === "*") return ".*";
    if (whole === "?") return ".";
    if (set !== undefined) return `[${negated ? "^" : ""}${set.replace(/[\\\]^&[|~]/g, "\\$&")}]`;
    return literal(escaped ?? whole);
  });
}

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
