/** Runs a command in this process, as the program of a given name, and collects what it prints. */
import type { Context } from "../../../src/cli/context.ts";
import type { Program } from "../../../src/cli/programs.ts";
import { runCommand } from "../../../src/cli/run.ts";

export interface Printed {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

export async function runAs(
  program: Program,
  argv: readonly string[],
  context: Pick<Context, "env" | "cwd"> & Partial<Context>,
): Promise<Printed> {
  let out = "";
  let err = "";
  const exit = await runCommand(argv, {
    program,
    hostname: "elsewhere",
    engineCommand: ["/nonexistent"],
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    ask: async () => undefined,
    interrupted: new AbortController().signal,
    ...context,
  });
  return { exit, out, err };
}
