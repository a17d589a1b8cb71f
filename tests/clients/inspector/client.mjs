// MCP Inspector's command line. It also checks for schemas that some clients do not accept (`--strict`).
//
// Input and output are as in programs/job.py.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const TOOL_ERROR = 5;
const ALWAYS = ["--format", "json", "--connect-timeout", "120000"];
const INSPECTOR = fileURLToPath(new URL("node_modules/.bin/mcp-inspector", import.meta.url));
const FOLDER = mkdtempSync(join(tmpdir(), "inspector-"));
const CONFIG = join(FOLDER, "config.json");

function run(...words) {
  const all = [INSPECTOR, "--cli", "--config", CONFIG, "--server", "airflow", ...words, ...ALWAYS];
  const env = { ...process.env, HOME: FOLDER, MCP_INSPECTOR_SECRET_STORE: "memory" };
  return new Promise((resolve, reject) =>
    execFile(process.execPath, all, { env, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
      error && error.code !== TOOL_ERROR
        ? reject(new Error(`${error.code}: ${stderr}`))
        : resolve({ is_error: Boolean(error), result: JSON.parse(stdout).result }),
    ),
  );
}

const call = (tool, args) =>
  run("--method", "tools/call", "--tool-name", tool, "--tool-args-json", JSON.stringify(args));

async function act(job) {
  const seen = { tools: [], texts: [], is_error: null, progress: [], asked: [], is_cancelled: false, part: "" };
  if (job.action === "list") {
    seen.tools = (await run("--method", "tools/list", "--strict")).result.tools.map((tool) => tool.name);
    return seen;
  }
  const { is_error, result } = await call(job.tool, job.arguments);
  seen.texts.push(result.content[0].text);
  seen.is_error = is_error;
  if (job.action === "large") {
    const { dag_run_id } = JSON.parse(seen.texts[0]);
    seen.part = (await call("read_dag_result", { tool: job.tool, dag_run_id, ...job.part })).result.content[0].text;
  }
  return seen;
}

const jobs = JSON.parse(process.argv[2]);
const [{ url, command: [command, ...args] }] = jobs;
const server = url ? { type: "streamable-http", url } : { type: "stdio", command, args, env: process.env };
writeFileSync(CONFIG, JSON.stringify({ mcpServers: { airflow: server } }));
const found = [];
for (const job of jobs) {
  found.push(await act(job).catch((error) => ({ error: error.stack })));
}
rmSync(FOLDER, { recursive: true });
console.log(JSON.stringify(found));
