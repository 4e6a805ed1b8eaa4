/** Options that contradict each other (drbd-84 §10.4); the kernel's refusal code is named where it has one. */
import type { ResourceConfig } from "./effective.ts";
import { ConfigError } from "./source.ts";
import type { ResourceNode } from "./tree.ts";
import type { Findings } from "./values.ts";

export function checkValues(resource: ResourceNode, config: ResourceConfig, findings: Findings): void {
  const net = config.net.values;
  const refuse = (text: string): void => {
    findings.errors.push(new ConfigError("invalid", `in '${config.name}': ${text}`, { at: resource.at }));
  };
  const stonith = config.volumes.some((volume) => volume.disk.values.fencing === "resource-and-stonith");
  if (stonith && net.protocol === "A") refuse("'fencing resource-and-stonith' needs protocol B or C (154)");
  if (net["allow-two-primaries"] && net.protocol !== "C") refuse("'allow-two-primaries' needs protocol C (139)");
  if (net["on-congestion"] !== "block" && net.protocol !== "A") {
    refuse(`'on-congestion ${net["on-congestion"]}' needs protocol A (155)`);
  }
  if (net["cram-hmac-alg"] !== "" && net["shared-secret"] === "") {
    const text = `in '${config.name}': cram-hmac-alg without a shared-secret authenticates nobody`;
    findings.warnings.push({ at: resource.at, text });
  }
  if (net["shared-secret"] !== "" && net["cram-hmac-alg"] === "") {
    const text = `in '${config.name}': shared-secret has no effect without cram-hmac-alg`;
    findings.warnings.push({ at: resource.at, text });
  }
}
