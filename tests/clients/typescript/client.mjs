// The MCP SDK for TypeScript. The variant is how it agrees on a revision: `legacy`, its default, or `auto`.
//
// Told what to do, and saying what it saw, as programs/job.py has it.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const job = JSON.parse(process.argv[2]);
const progress = [];
const asked = [];

const capabilities = job.action === "question" ? { elicitation: {} } : {};
const client = new Client(
  { name: "typescript", version: "1" },
  { capabilities, versionNegotiation: { mode: job.variant } },
);
if (job.action === "question") {
  client.setRequestHandler("elicitation/create", async (request) => {
    asked.push(request.params.message);
    return { action: "accept", content: job.answer };
  });
}
const [command, ...args] = job.command;
const transport = job.url
  ? new StreamableHTTPClientTransport(new URL(job.url))
  : new StdioClientTransport({ command, args, env: process.env });

const say = (found) => console.log(JSON.stringify(found));
const seen = (result, more = {}) =>
  say({ text: result.content[0].text, is_error: Boolean(result.isError), progress, asked, ...more });
const call = (options) => client.callTool({ name: job.tool, arguments: job.arguments }, options);
const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

await client.connect(transport);
const { tools } = await client.listTools();
switch (job.action) {
  case "list":
    say({ tools: tools.map((tool) => tool.name) });
    break;
  case "repeat": {
    const gave_up = [];
    await call({ timeout: job.patience * 1000 }).catch((error) => gave_up.push(String(error)));
    seen(await call(), { gave_up });
    break;
  }
  case "cancel": {
    const leaving = new AbortController();
    let cancelled = false;
    const calling = call({ signal: leaving.signal }).catch(() => (cancelled = true));
    await wait(job.patience);
    leaving.abort("no longer wanted");
    await calling;
    await wait(job.linger);
    say({ cancelled });
    break;
  }
  default:
    seen(await call({ onprogress: ({ progress: number, message }) => progress.push([number, message]) }));
}
await client.close();
