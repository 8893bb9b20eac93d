// Runs one client of the published package, for `published.py`: commands come as JSON lines on standard input, and what
// happens goes out as JSON lines on standard output, every frame as it went over the line among it.
//
//   node drive.mjs FOLDER   the folder has the packages in its node_modules

import { createHash, createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.argv[2]}/package.json`);
const { GatewayClient } = await import(pathToFileURL(require.resolve("@openclaw/gateway-client")).href);
const WebSocket = require("ws");

const say = (what, more) => process.stdout.write(`${JSON.stringify({ what, ...more })}\n`);

// The client shows events and answers, and not the frames that they came in.
const { emit, send } = WebSocket.prototype;
let sockets = 0;
const number = (socket) => (socket.number ??= ++sockets);

WebSocket.prototype.emit = function (name, ...given) {
  if (name === "message") say("heard", { socket: number(this), text: String(given[0]) });
  return emit.call(this, name, ...given);
};

WebSocket.prototype.send = function (data, ...given) {
  say("said", { socket: number(this), text: String(data) });
  return send.call(this, data, ...given);
};

// What the client leaves to its host: a key of its own, and to sign with it.
function device() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const pem = { format: "pem" };
  return {
    deviceIdentity: {
      deviceId: createHash("sha256").update(raw).digest("hex"),
      publicKeyPem: publicKey.export({ type: "spki", ...pem }),
      privateKeyPem: privateKey.export({ type: "pkcs8", ...pem }),
    },
    hostDeps: {
      signDevicePayload: (key, payload) => sign(null, Buffer.from(payload), createPrivateKey(key)).toString("base64url"),
      publicKeyRawBase64UrlFromPem: () => raw.toString("base64url"),
    },
  };
}

let client;
const commands = {
  start({ options, withDevice }) {
    client = new GatewayClient({
      ...options,
      ...(withDevice ? device() : { deviceIdentity: null }),
      onHelloOk: (hello) => say("hello", { hello }),
      onEvent: (event) => say("event", { event }),
      onConnectError: ({ message, details }) => say("connect error", { message, details }),
      onReconnectPaused: (info) => say("paused", info),
      onClose: (code, reason) => say("close", { code, reason }),
      onGap: (gap) => say("gap", gap),
    });
    client.start();
  },

  request({ id, method, params }) {
    client.request(method, params).then(
      (payload) => say("answer", { id, payload }),
      ({ gatewayCode, name, message, details, retryable, retryAfterMs }) =>
        say("answer", { id, error: { code: gatewayCode ?? name, message, details, retryable, retryAfterMs } }),
    );
  },

  async stop() {
    await client.stopAndWait();
    process.exit(0);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  commands[command](given);
}
