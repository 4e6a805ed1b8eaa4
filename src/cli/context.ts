/** What a command is given instead of the process's globals, so that tests run it in place. */
import type { NodePaths } from "../engine/run-paths.ts";
import type { GivenOptions } from "./command-line.ts";
import type { Program } from "./programs.ts";

export interface Context {
  /** The name that this program was called by, as a word of its messages. */
  readonly program: Program;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  /** Folder against which relative file names are read. */
  readonly cwd: string;
  /** Program and first arguments that run the engine; the resource and options are appended. */
  readonly engineCommand: readonly string[];
  out(text: string): void;
  err(text: string): void;
  /** Prints the prompt and waits for a person's answer; undefined if standard input is no terminal. */
  ask(prompt: string): Promise<string | undefined>;
  /** Aborted when the user interrupts: what goes on for ever ends with success then. */
  readonly interrupted: AbortSignal;
}

/** A command under way: its options, and the node it works on. */
export interface Session extends Context {
  readonly given: GivenOptions;
  readonly paths: NodePaths;
}
