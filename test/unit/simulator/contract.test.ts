import { diskContract } from "../../contract/disk-contract.ts";
import { streamContract } from "../../contract/stream-contract.ts";
import { simulatedDisk, simulatedNetwork } from "./_worlds.ts";

streamContract("simulator", () => simulatedNetwork(7));
diskContract("simulator, volatile cache", { fastZero: true }, () => simulatedDisk(true));
diskContract("simulator, write through", { fastZero: true }, () => simulatedDisk(false));
