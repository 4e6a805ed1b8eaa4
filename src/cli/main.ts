#!/usr/bin/env node
/** The `futago` command: this process's arguments, streams and signals for `runCommand`. */
import { writeSync } from "node:fs";
import { hostname } from "node:os";
import { createInterface } from "node:readline/promises";
import { fileURLToPath } from "node:url";
import type { Context } from "./context.ts";
import { exitCodes } from "./exit-codes.ts";
import { programOf } from "./programs.ts";
import { runCommand } from "./run.ts";

/** Written at once, so that nothing is lost when the process ends. A reader that has gone (`futago dump | head`) ends it quietly. */
function write(descriptor: 1 | 2, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(descriptor, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EAGAIN") continue;
      process.exit(code === "EPIPE" ? exitCodes.ok.code : exitCodes.execution.code);
    }
  }
}

async function ask(prompt: string): Promise<string | undefined> {
  if (!process.stdin.isTTY) return undefined;
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await reader.question(prompt);
  } finally {
    reader.close();
  }
}

/** The engine lies beside this file, compiled or not. */
function engineProgram(): readonly string[] {
  const own = fileURLToPath(import.meta.url);
  const extension = own.slice(own.lastIndexOf("."));
  return [process.execPath, fileURLToPath(new URL(`../engine/main${extension}`, import.meta.url))];
}

const interrupt = new AbortController();
process.once("SIGINT", () => {
  interrupt.abort();
  // Whatever does not listen to the signal ends as by default: a second later, or at the next Ctrl-C.
  setTimeout(() => process.exit(128 + 2), 1000).unref();
});

const context: Context = {
  program: programOf(process.argv[1] ?? ""),
  env: process.env,
  hostname: hostname(),
  cwd: process.cwd(),
  engineCommand: engineProgram(),
  out: (text) => write(1, text),
  err: (text) => write(2, text),
  ask,
  interrupted: interrupt.signal,
};

try {
  const code = await runCommand(process.argv.slice(2), context);
  // `futago engine` has become the engine, which may have said how it ended.
  process.exitCode ??= code;
} catch (error) {
  context.err(`futago: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = exitCodes.internal.code;
}
