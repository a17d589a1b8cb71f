// MCP Inspector's command line.
//
// Told what to do, and saying what it saw, as programs/job.py has it.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const job = JSON.parse(process.argv[2]);
const inspector = fileURLToPath(new URL("node_modules/.bin/mcp-inspector", import.meta.url));
const server = job.url ? [job.url, "--transport", "http"] : job.command;
const method =
  job.action === "list"
    ? ["--method", "tools/list"]
    : ["--method", "tools/call", "--tool-name", job.tool, "--tool-args-json", JSON.stringify(job.arguments)];

const { status, stdout, stderr } = spawnSync(
  process.execPath,
  [inspector, "--cli", ...server, ...method, "--format", "json"],
  { encoding: "utf8", env: { ...process.env, MCP_INSPECTOR_SECRET_STORE: "memory" }, maxBuffer: 2 ** 26 },
);
const TOOL_ERROR = 5;
if (status !== 0 && status !== TOOL_ERROR) {
  throw new Error(`${status}: ${stderr}`);
}
const found = JSON.parse(stdout);
if (job.action === "list") {
  console.log(JSON.stringify({ tools: found.tools.map((tool) => tool.name) }));
} else {
  console.log(JSON.stringify({ text: found.content[0].text, is_error: status === TOOL_ERROR }));
}
