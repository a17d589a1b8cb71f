// Prints the command with which a desktop client starts a bundle that it has unpacked, as the client's own library
// makes it: desktop_command.mjs FOLDER FORM, the form as JSON.
import { readFileSync } from "node:fs";
import { getMcpConfigForManifest } from "@anthropic-ai/mcpb";

const [folder, form] = process.argv.slice(2);
const command = await getMcpConfigForManifest({
  manifest: JSON.parse(readFileSync(`${folder}/manifest.json`, "utf8")),
  extensionPath: folder,
  systemDirs: {},
  userConfig: JSON.parse(form),
  pathSeparator: "/",
});
console.log(JSON.stringify(command ?? null));
