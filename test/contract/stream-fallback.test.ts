import { realNetwork } from "./real-worlds.ts";
import { streamContract } from "./stream-contract.ts";

streamContract("fallback", () => realNetwork("fallback"));
