/**
 * Tells systemd that a service of Type=notify is ready. The protocol is a datagram to a Unix socket (sd_notify(3)), which Node cannot
 * send, so the program systemd-notify does it.
 */
import { spawn } from "node:child_process";

/**
 * Does nothing where no service manager asked (`NOTIFY_SOCKET`). Resolves to why it failed, or undefined; the service manager
 * would then wait until its timeout, so the caller says so.
 */
export function notifyReady(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
  status: string,
): Promise<string | undefined> {
  if (!env["NOTIFY_SOCKET"]) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const child = spawn("systemd-notify", ["--ready", `--pid=${pid}`, `--status=${status}`], {
      env: { ...env },
      stdio: ["ignore", "ignore", "inherit"],
    });
    child.once("error", (error) => resolve(`systemd-notify: ${error.message}`));
    child.once("exit", (code) => resolve(code === 0 ? undefined : `systemd-notify ended with exit code ${code}`));
  });
}
