/** Collects what is wrong and what an operator should know while one file is read. */
import {
  ConfigError,
  type ConfigErrorDetail,
  type ConfigWarning,
  nearestWord,
  type Position,
} from "../../../core/config/source.ts";

export class Findings {
  readonly errors: ConfigError[] = [];
  readonly warnings: ConfigWarning[] = [];

  /** Returns undefined, so that a reader can leave with it. */
  refuse(text: string, detail: ConfigErrorDetail): undefined {
    this.errors.push(new ConfigError("invalid", text, detail));
  }

  syntax(text: string, detail: ConfigErrorDetail): undefined {
    this.errors.push(new ConfigError("syntax", text, detail));
  }

  warn(text: string, at: Position): void {
    this.warnings.push({ at, text });
  }

  /** A warning about a word that is none of `known`. */
  unknown(text: string, at: Position, found: string, known: readonly string[]): void {
    const nearest = nearestWord(found, known);
    this.warn(nearest === undefined ? text : `${text}; did you mean '${nearest}'?`, at);
  }
}
