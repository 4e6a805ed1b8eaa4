import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";

/** The longest path of a Unix socket that Linux takes, without its closing zero. */
const longestPath = 107;

export interface CallbackSocket {
  readonly path: string;
  /** The one connection; never settles if nobody comes. */
  readonly connected: Promise<Socket>;
  /** Ends listening and the connection, and removes the path. */
  readonly close: () => void;
}

/** Listens on a path to which QEMU, given it as a client's socket, connects as it starts. */
export async function callbackSocket(path: string): Promise<CallbackSocket> {
  if (Buffer.byteLength(path) > longestPath) throw new Error(`too long for a Unix socket: ${path}`);
  rmSync(path, { force: true });
  const server = createServer();
  let connection: Socket | undefined;
  const connected = new Promise<Socket>((resolve) => {
    server.once("connection", (socket) => {
      connection = socket;
      // Whoever reads sees the close; an error here is QEMU's end.
      socket.on("error", () => {});
      server.close();
      resolve(socket);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  const close = (): void => {
    server.close();
    connection?.destroy();
    rmSync(path, { force: true });
  };
  return { path, connected, close };
}
