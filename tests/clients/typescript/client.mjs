// The MCP SDK for TypeScript. The variant is its version negotiation: `legacy`, the default, or `auto`.
//
// Input and output are as in programs/job.py.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const PATIENT = { timeout: 180_000 };
const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function act(job) {
  const seen = { tools: [], texts: [], is_error: null, progress: [], asked: [], is_cancelled: false, part: "" };
  const client = new Client(
    { name: "typescript", version: "1" },
    {
      capabilities: job.action === "question" ? { elicitation: {} } : {},
      versionNegotiation: { mode: job.variant },
    },
  );
  if (job.action === "question") {
    client.setRequestHandler("elicitation/create", async (request) => {
      seen.asked.push(request.params.message);
      return { action: "accept", content: job.answer };
    });
  }
  const [command, ...args] = job.command;
  const transport = job.url
    ? new StreamableHTTPClientTransport(new URL(job.url))
    : new StdioClientTransport({ command, args, env: process.env });
  const call = async (options) => {
    const result = await client.callTool({ name: job.tool, arguments: job.arguments }, { ...PATIENT, ...options });
    seen.texts.push(result.content[0].text);
    seen.is_error = Boolean(result.isError);
  };

  await client.connect(transport, PATIENT);
  seen.tools = (await client.listTools({}, PATIENT)).tools.map((tool) => tool.name);
  switch (job.action) {
    case "list":
      break;
    case "repeat":
      await call({ timeout: job.patience * 1000 }).catch((error) => seen.texts.push(String(error)));
      await call();
      break;
    case "cancel": {
      const leaving = new AbortController();
      const calling = call({ signal: leaving.signal }).catch(() => (seen.is_cancelled = true));
      await wait(job.patience);
      leaving.abort("no longer wanted");
      await calling;
      await wait(job.linger);
      break;
    }
    default:
      await call({ onprogress: ({ progress, message }) => seen.progress.push([progress, message]) });
  }
  if (job.action === "large") {
    const { dag_run_id } = JSON.parse(seen.texts[0]);
    const end = { tool: job.tool, dag_run_id, ...job.part };
    seen.part = (await client.callTool({ name: "read_dag_result", arguments: end }, PATIENT)).content[0].text;
  }
  await client.close();
  return seen;
}

const jobs = JSON.parse(process.argv[2]);
console.log(JSON.stringify(await Promise.all(jobs.map((job) => act(job).catch((error) => ({ error: `${error.stack} ${error.cause?.stack}` }))))));
process.exit(); // the server of a failed client may still be running
