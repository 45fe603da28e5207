/**
 * Programs in JavaScript that know nothing of a proxy but what is in their
 * environment: `clients.cjs NAME HOST`. Each prints what it received.
 * NODE_PATH says where the packages are.
 */

const { Buffer } = require("node:buffer");
const { once } = require("node:events");
const process = require("node:process");

const proxy = process.env.HTTPS_PROXY;
const [name, host] = process.argv.slice(2);
const origin = `https://${host}`;

const CLIENTS = {
  /** The agent that reads the environment by itself. */
  async "undici-env"() {
    const { EnvHttpProxyAgent, fetch } = require("undici");
    const answer = await fetch(`${origin}/json`, {
      dispatcher: new EnvHttpProxyAgent(),
    });
    return await answer.text();
  },

  /** The agent that is given a URL; undici takes no password out of it. */
  async "undici-proxy"() {
    const { ProxyAgent, fetch } = require("undici");
    const { username, password } = new URL(proxy);
    const pair = `${username}:${decodeURIComponent(password)}`;
    const answer = await fetch(`${origin}/echo`, {
      method: "POST",
      body: "hello",
      dispatcher: new ProxyAgent({
        uri: proxy,
        token: `Basic ${Buffer.from(pair).toString("base64")}`,
      }),
    });
    return await answer.text();
  },

  async axios() {
    const { data } = await require("axios").get(`${origin}/json`);
    return JSON.stringify(data);
  },

  /** Before 1.16.1 it asks proxies for https URLs, in clear text. */
  async "axios-old"() {
    const { get } = require("axios-old");
    const { status, data } = await get(`${origin}/json`, {
      validateStatus: () => true,
    });
    return `${status} ${JSON.stringify(data)}`;
  },

  /** What one does about that. */
  async "axios-old-agent"() {
    const { HttpsProxyAgent } = require("https-proxy-agent");
    const { data } = await require("axios-old").get(`${origin}/json`, {
      httpsAgent: new HttpsProxyAgent(proxy),
      proxy: false,
    });
    return JSON.stringify(data);
  },

  /** Node's own fetch, where NODE_USE_ENV_PROXY counts. */
  async fetch() {
    return await (await fetch(`${origin}/json`)).text();
  },

  /** Node's own https, the same. */
  async https() {
    const request = require("node:https").get(`${origin}/json`);
    const [answer] = await once(request, "response");
    return Buffer.concat(await answer.toArray()).toString();
  },

  async websocket() {
    const { WebSocket } = require("ws");
    const { HttpsProxyAgent } = require("https-proxy-agent");
    const socket = new WebSocket(`wss://${host}/socket`, {
      agent: new HttpsProxyAgent(proxy),
    });
    await once(socket, "open");
    const received = [];
    for (const text of ["one", "two"]) {
      socket.send(text);
      const [message] = await once(socket, "message");
      received.push(message.toString());
    }
    socket.close();
    await once(socket, "close");
    return received.join(" ");
  },

  /** Asks for each event but the first once it has the one before. */
  async events() {
    const { EnvHttpProxyAgent, fetch } = require("undici");
    const dispatcher = new EnvHttpProxyAgent();
    const answer = await fetch(`${origin}/events`, { dispatcher });
    let text = "";
    for await (const chunk of answer.body) {
      text += Buffer.from(chunk).toString();
      if (!text.endsWith("\n\n")) continue;
      await fetch(`${origin}/next`, { dispatcher });
    }
    return [...text.matchAll(/data: (.*)/g)].map(([, data]) => data).join(" ");
  },

  /** Takes the words of a model as they come. */
  async anthropic() {
    const { Anthropic } = require("@anthropic-ai/sdk");
    const client = new Anthropic();
    const stream = await client.messages.create({
      model: "test",
      max_tokens: 10,
      messages: [{ role: "user", content: "hello" }],
      stream: true,
    });
    const words = [];
    for await (const event of stream) {
      if (event.type !== "content_block_delta") continue;
      words.push(event.delta.text);
      await fetch("https://api.anthropic.com/next");
    }
    return words.join("");
  },
};

CLIENTS[name]().then((text) => process.stdout.write(text));
