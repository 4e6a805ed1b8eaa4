/** What the demo shows: what is done and why in plain words, and commands with what they really print. */
const started = performance.now();

const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s`;

export function step(title: string): void {
  console.log(`\n== ${title}  (${seconds().trim()})`);
}

export function say(text: string): void {
  for (const line of text.split("\n")) console.log(`   ${line}`);
}

/** A command on a node and the lines that it printed. */
export function show(node: string, command: string, output: string): void {
  console.log(`   ${node}$ ${command}`);
  for (const line of output.trimEnd().split("\n")) if (line !== "") console.log(`   | ${line}`);
}

/** A sentence that was found to be true; throws if it is not. */
export function check(holds: boolean, sentence: string, otherwise: string): void {
  if (!holds) throw new Error(`not so: ${sentence}: ${otherwise}`);
  console.log(`   ok: ${sentence}`);
}

/** The lines of a status that tell about a running resync; empty if none runs. */
export const progressOf = (status: string): readonly string[] =>
  status
    .split("\n")
    .filter((line) => /sync'ed:|speed:/.test(line))
    .map((line) => line.replace(/^ *# /, ""));

export const elapsed = seconds;
